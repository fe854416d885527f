"""What each piece of a text adds to its score: integrated gradients, and occlusion as the plain second opinion.

Both speak of the log-odds of one label, so that a weight of 0.7 doubles the odds. The one module of this room that
knows what is within a model; it runs transformers' own forward code, as the proof of the split does
(`model/proof.py`). Integrated gradients are some twenty lines here and need no extra; the tests hold them against
captum.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classtune.errors import DataError
from classtune.explain.words import Piece, without, words_of
from classtune.model.backbone import quiet_transformers
from classtune.model.batches import BATCH_TOKENS, Batch, length_sorted_batches
from classtune.model.head import pool
from classtune.model.network import Network
from classtune.model.pairs import plain_ids
from classtune.model.slicing import run_part
from classtune.model.tokens import TokenIds

Method = Literal["integrated-gradients", "occlusion"]

# Points of the path that are looked at, at most, and the share of the whole that the weights may miss.
STEPS = 96
LARGEST_GAP = 0.05


@dataclass(frozen=True)
class Attribution:
    """pieces: tokens (integrated gradients) or words (occlusion). weights: what each adds to the log-odds [pieces].

    label: number of the label. score: log-odds of the label. baseline_score: log-odds of no text at all, that is with
    a neutral token in the place of every one; the weights of integrated gradients sum to the difference, but for `gap`.
    """

    pieces: list[Piece]
    weights: NDArray[np.float64]
    label: int
    score: float
    baseline_score: float

    @property
    def gap(self) -> float:
        """How far the weights miss their sum (completeness), as a share of it; meant for integrated gradients."""
        whole = self.score - self.baseline_score
        return float(abs(self.weights.sum() - whole) / max(abs(whole), 1e-6))


def attribute(
    network: Network,
    text: str,
    label_index: int,
    method: Method = "integrated-gradients",
    steps: int = STEPS,
    *,
    run: Callable[[Batch], Tensor] | None = None,
) -> Attribution:
    """What each token (integrated gradients) or word (occlusion) of a text adds to the log-odds of a label.

    Integrated gradients (Sundararajan et al., 2017), from a neutral token in the place of every one that came from the
    text to the text itself, along a straight line of embeddings; ``steps``: points of it that are looked at, at most.
    Occlusion (Zeiler and Fergus, 2014): how far the log-odds fall when the word is left out of the text. run: what
    gives the logits of its batches, such as the fast layers of a predictor; None: the network as transformers runs it.
    Raises DataError for a text that is empty or too long.
    """
    network.classifier.eval()
    if network.own_head is not None:
        network.own_head.eval()
    if method == "occlusion":
        return _occlusion(network, text, label_index, run)
    return _integrated_gradients(network, text, label_index, steps)


def by_word(text: str, attribution: Attribution) -> tuple[list[Piece], NDArray[np.float64]]:
    """The words of a text and their weights [words]: a token counts for the word that its first visible sign is in."""
    words = words_of(text)
    ends = np.array([word.end for word in words])
    weights = np.zeros(len(words))
    for piece, weight in zip(attribution.pieces, attribution.weights, strict=True):
        if piece.end > piece.start:
            visible = piece.start + len(piece.text) - len(piece.text.lstrip())
            weights[min(int(np.searchsorted(ends, visible, side="right")), len(words) - 1)] += weight
    return words, weights


def _integrated_gradients(network: Network, text: str, label_index: int, steps: int) -> Attribution:
    (ids,) = network.encoder.encode([text])
    pieces = _pieces(network, text, ids)
    batch = network.encoder.batch([ids]).to(network.device)
    kinds = _inputs(batch)[3]
    with torch.no_grad():
        start, end = _ends(network, batch, pieces)
    at_once = max(1, BATCH_TOKENS // len(ids))

    def look(positions: list[float]) -> Iterator[tuple[float, NDArray[np.float64]]]:
        """The score at positions 0 … 1 of the path, and what each token adds to its slope [tokens]."""
        for place in range(0, len(positions), at_once):
            position = torch.tensor(positions[place : place + at_once], dtype=end.dtype, device=end.device)
            with torch.enable_grad():
                points = (start + position[:, None, None] * (end - start)).requires_grad_()
                mask, types = (one if one is None else one.expand(len(points), -1) for one in (batch.mask, kinds))
                scores = _score(network, points, mask, batch.last.expand(len(points)), types, label_index)
                (slope,) = torch.autograd.grad(scores.sum(), points)
            slopes = (slope * (end - start)).sum(2).cpu().double().numpy()
            yield from zip(scores.tolist(), slopes, strict=True)

    weights, first, last = integrate(look, steps)
    return Attribution(pieces, weights, label_index, last, first)


def integrate(
    look: Callable[[list[float]], Iterable[tuple[float, NDArray[np.float64]]]], steps: int
) -> tuple[NDArray[np.float64], float, float]:
    """The integral of slopes [parts] over 0 … 1, and the score at both ends.

    look: score and slopes at each of a list of positions. Adaptive Simpson rule: language models change their mind in
    leaps along the path, and the score tells where the slopes miss one; there the path is halved, until `LARGEST_GAP`
    is reached or ``steps`` positions were looked at.
    """
    known: dict[float, tuple[float, NDArray[np.float64]]] = {}

    def add(intervals: list[tuple[float, float]]) -> None:
        needed = {p for low, high in intervals for p in (low, (low + high) / 2, high)} - known.keys()
        known.update(zip(sorted(needed), look(sorted(needed)), strict=True))

    def area(interval: tuple[float, float]) -> NDArray[np.float64]:
        low, high = interval
        ends, middle = known[low][1] + known[high][1], known[(low + high) / 2][1]
        return np.asarray((high - low) / 6 * (ends + 4 * middle))

    def missed(interval: tuple[float, float]) -> float:
        return abs(float(area(interval).sum()) - (known[interval[1]][0] - known[interval[0]][0]))

    intervals = list(itertools.pairwise(np.linspace(0, 1, 5).tolist()))
    add(intervals)
    whole = known[1.0][0] - known[0.0][0]
    while sum(map(missed, intervals)) > LARGEST_GAP * abs(whole) and len(known) < steps:
        intervals.sort(key=missed)
        split = [intervals.pop() for _ in range(4)]
        halves = [half for low, high in split for half in ((low, (low + high) / 2), ((low + high) / 2, high))]
        add(halves)
        intervals += halves
    return np.sum([area(interval) for interval in intervals], axis=0), known[0.0][0], known[1.0][0]


def _occlusion(network: Network, text: str, label_index: int, run: Callable[[Batch], Tensor] | None) -> Attribution:
    words = words_of(text)
    shorter = [without(text, [word]) for word in words]
    variants = network.encoder.encode([text, *filter(None, shorter)])
    scores = np.empty(len(variants))
    with torch.inference_mode():
        batch = network.encoder.batch(variants[:1]).to(network.device)
        start, _ = _ends(network, batch, _pieces(network, text, variants[0]))
        nothing = _score(network, start, *_inputs(batch)[1:], label_index).item()
        for rows in length_sorted_batches([len(item) for item in variants]):
            batch = network.encoder.batch([variants[row] for row in rows]).to(network.device)
            logits = run(batch) if run else _logits(network, *_inputs(batch))
            scores[rows] = _log_odds(network, logits, label_index).cpu().numpy()
    rest = iter(scores[1:])  # a text of one word has nothing left to score
    falls = [scores[0] - (next(rest) if other else nothing) for other in shorter]
    return Attribution(words, np.array(falls), label_index, float(scores[0]), nothing)


def _ends(network: Network, batch: Batch, pieces: list[Piece]) -> tuple[Tensor, Tensor]:
    """Embeddings [1, tokens, width] of nothing in the place of every token from the text, and of the text itself."""
    embedding = network.base.get_input_embeddings()
    from_text = torch.tensor([piece.end > piece.start for piece in pieces], device=network.device)[None, :, None]
    end = embedding(_inputs(batch)[0])
    return torch.where(from_text, embedding(batch.values.new_tensor(neutral_token(network))), end), end


def neutral_token(network: Network) -> int:
    """The token that says least: a space, where a space is a token; else the mask; else padding.

    A chat model's padding is the end of a turn, and says much.
    """
    tokenizer = network.encoder.tokenizer
    space: list[int] = tokenizer(" ", add_special_tokens=False)["input_ids"]
    vocabulary = tokenizer.get_vocab()
    spelt = [vocabulary.get(sign) for sign in ("\u0120", "\u2581")]  # by its bytes, in SentencePiece
    return next(
        (int(token) for token in [*space, *spelt, tokenizer.mask_token_id] if token is not None),
        network.encoder.pad_id,
    )


def _pieces(network: Network, text: str, ids: TokenIds) -> list[Piece]:
    """The part of the text that each token id stands for. Of a text that was cut, the ids are its ends."""
    tokenizer = network.encoder.tokenizer
    if not tokenizer.is_fast:
        raise DataError(f"{network.source}: its tokenizer does not tell where tokens stand. Take method 'occlusion'.")
    spans = network.encoder.spans(text)
    assert len(spans) == len(ids)
    return [Piece(text[start:end], start, end) for start, end in spans]


def _inputs(batch: Batch) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Token ids, mask, last positions and token types of a batch."""
    ids, types = plain_ids(batch.values)
    return ids, batch.mask, batch.last, types


def _score(
    network: Network, values: Tensor, mask: Tensor | None, last: Tensor, types: Tensor | None, label_index: int
) -> Tensor:
    """Log-odds of a label [texts], differentiable."""
    return _log_odds(network, _logits(network, values, mask, last, types), label_index)


def _log_odds(network: Network, logits: Tensor, label_index: int) -> Tensor:
    """Log-odds of a label [texts]: against all others, or, where a text may have several, against its absence."""
    logits = logits.cpu().double()  # not every device has numbers of 64 bits
    chosen = logits[:, label_index]
    # Hugging Face's word for sigmoids in the place of a softmax.
    if getattr(network.classifier.config, "problem_type", None) == "multi_label_classification":
        return chosen
    others = [index for index in range(logits.shape[1]) if index != label_index]
    return chosen - logits[:, others].logsumexp(1)


def _logits(network: Network, values: Tensor, mask: Tensor | None, last: Tensor, types: Tensor | None) -> Tensor:
    """Token ids [texts, tokens] or embeddings [texts, tokens, width] → logits [texts, labels], differentiable."""
    entry = "inputs_embeds" if values.is_floating_point() else "input_ids"
    if not network.whole:
        hidden = run_part(network.base, entry, values, mask, types)
        logits: Tensor = network.head(pool(hidden, last, network.pooling))
        return logits
    mask = torch.ones(values.shape[:2], dtype=torch.long, device=values.device) if mask is None else mask
    with quiet_transformers():  # it notes that padding cannot be seen in embeddings; here there is none
        typed = {} if types is None else {"token_type_ids": types}
        whole: Tensor = network.classifier(**{entry: values, "attention_mask": mask, **typed}).logits
    return whole
