"""The options of `classtune serve`, as the command line shows it. Light: `--help` reads this and nothing heavier."""

from __future__ import annotations

from typing import Any

KEYS_VARIABLE = "CLASSTUNE_SERVE_KEYS"

# Of a text, however much a server is told to take: to cut one into tokens takes up to 250 bytes for each.
MOST_CHARACTERS = 1_000_000

# Setting → its default and what it does; settings.py gives each its type and limits.
DECLARED: dict[str, tuple[Any, str]] = {
    "host": ("127.0.0.1", "Address to listen on. Requires an API key on non-local addresses."),
    "port": (8080, "Port to listen on; 0: any that is free."),
    "keys": (None, f"File of API keys, one a line; each request must show one. Or set {KEYS_VARIABLE}."),
    "insecure": (False, "Listen on a non-local address without an API key."),
    "allow_host": (None, "Further names by which it may be asked (Host), with commas between."),
    "cors": (None, "Web pages that may ask it, such as https://example.com, with commas between; *: all."),
    "watch": (None, "Look every so many seconds for a new version of a bundle, and serve it."),
    "at_least_as_good": (None, "With --watch: a new version that is worse on this table is not served."),
    "page": (False, "Also a page in the browser; needs the extra `ui`. With keys, one is its password."),
    "feedback": (None, "File of JSON lines for what people say was right on the page; `train` reads it."),
    "runtime": ("torch", "What runs the model: torch, or for an exported bundle onnx or openvino."),
    "device": ("auto", "Where torch runs the model: cpu, cuda, mps, or auto."),
    "threads": (None, "Processor threads of the model; unset: as torch chooses."),
    "max_body": (2_000_000, "Largest request, in bytes."),
    "max_texts": (1024, "Most texts of one request."),
    "max_characters": (100_000, f"Longest text, in characters; at most {MOST_CHARACTERS:,}."),
    "queue": (4096, "Texts that may wait for the model; more are refused with code 429."),
    "timeout": (30.0, "Seconds until a request is given up."),
    "grace": (30.0, "Seconds that requests under way get to finish when the server stops."),
}
