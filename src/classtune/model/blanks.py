"""Blanks that nobody sees decide nothing: a tokenizer that counts several as one, and none at a text's ends.

Whoever made a table leaves traces in them. TweetEval's irony lost the hashtag that told its label, and what stood round
it stayed: 64 % of its ironic training tweets end in two blanks, 4 % of the others, and none of its test tweets. A
network that sees blanks had 0.44 macro F1 on those, and a network that does not 0.68.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, normalizers
from transformers import PreTrainedTokenizerFast

_PROBE, _FOLDED = "  a \t  b\u00a0 c ", "a b c"


def fold_blanks(tokenizer: Any) -> Any:
    """The tokenizer, or one with its tokens, whose own first step folds blanks: whoever reads its files does so too.

    Line breaks inside a text stay. A tokenizer to which blanks are alike anyway, as BERT's, is returned as it is; so is
    one without the fast library's steps.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or tokenizer(_PROBE)["input_ids"] == tokenizer(_FOLDED)["input_ids"]:
        return tokenizer
    steps = [normalizers.Replace(Regex(r"[^\S\n]+"), " "), normalizers.Strip()]
    own = backend.normalizer
    backend.normalizer = normalizers.Sequence([*steps, own] if own else steps)
    if type(tokenizer) is PreTrainedTokenizerFast:
        return tokenizer
    # A class of its own builds its steps anew when it is loaded, and would forget these.
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        padding_side=tokenizer.padding_side,
        **tokenizer.special_tokens_map,
    )
