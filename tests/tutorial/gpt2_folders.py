"""Random GPT-2 folders of Hugging Face's format; the fixture made of them is in gpt2_fixture.py."""

from __future__ import annotations

from pathlib import Path

# Sizes that differ as the four sizes of GPT-2 do.
BLOCKS = {"gpt2": 2, "gpt2-medium": 3, "gpt2-large": 4, "gpt2-xl": 5}


def save_gpt2(folder: Path, blocks: int, *, tokenizer: object = None) -> Path:
    """A GPT-2 of width 16; without a ``tokenizer`` of its own, its tokens are bytes."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

    if tokenizer is None:
        letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"]
        own = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
        own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<|endoftext|>", model_max_length=1024)
    words = len(tokenizer)  # type: ignore[arg-type]
    torch.manual_seed(blocks)
    config = GPT2Config(
        vocab_size=words,
        n_embd=16,
        n_layer=blocks,
        n_head=2,
        n_positions=1024,
        eos_token_id=words - 1,
        initializer_range=0.2,  # of so few numbers; with the usual 0.02 all texts look alike
    )
    GPT2Model(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))  # type: ignore[attr-defined]
    return folder
