"""How a request is refused, in the words of the dialect that it speaks."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Refusal(Exception):
    """A request that gets no answer. kind: what Text Embeddings Inference calls the error."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class ErrorResponse(BaseModel):
    """Text Embeddings Inference's error."""

    error: str
    error_type: str


class VllmError(BaseModel):
    """What is wrong, as vLLM (and OpenAI) says it."""

    message: str
    type: str
    param: None
    code: int


class VllmErrorResponse(BaseModel):
    """vLLM's error."""

    error: VllmError


def refused(refusal: Refusal, path: str) -> dict[str, Any]:
    """The error in the words of the dialect that was spoken."""
    if path.endswith("/classify") or path.startswith("/v1/"):
        return {"error": {"message": str(refusal), "type": refusal.kind, "param": None, "code": refusal.status}}
    return {"error": str(refusal), "error_type": refusal.kind}
