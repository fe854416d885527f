"""The settings by area: a function takes the area that it needs, and `Settings`, which is all of them, fits everywhere.

A setting is documented where it is declared; that text is its flag's help and its row in docs/settings.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Pooling = Literal["auto", "last", "first", "mean", "last+mean"]


class Area(BaseModel):
    """Some of the settings. Frozen: settings in force never change under way."""

    # Validators are built when first needed: most areas are only ever a part of `Settings`.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, defer_build=True)


class BackboneSettings(Area):
    """Which pretrained models a run may use."""

    model: str = Field(
        "auto",
        description="Backbones: names from `classtune models`, Hub ids or folders, joined by commas. `auto`: "
        "minilm-l6, and smollm2-135m where it can gain.",
    )


class ChoiceSettings(BackboneSettings):
    """Which candidates compete, and how one is chosen."""

    candidates: Literal["all", "one"] = Field(
        "all",
        description="`all`: TF-IDF, a probe and a fine-tuned tail of each backbone compete, and what is chosen ships. "
        "`one`: one fine-tuned network and nothing else.",
    )
    effort: Literal["fast", "balanced", "best"] = Field(
        "balanced",
        description="`fast`: the smallest backbone, no fine-tuning. `best`: every backbone, whatever it takes, "
        "with one and with two trained blocks.",
    )
    keep: str | None = Field(
        None,
        description="Ship this candidate of the comparison instead of the chosen one. All are trained and compared all "
        "the same; with `effort = fast` none is fine-tuned.",
    )
    max_ms: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Choose among what answers a text within so many milliseconds on this machine."
    )
    tune: str | None = Field(
        None,
        description="Search the settings of fine-tuning for so long, such as `90s`, `10m` or `1h`, on training rows.",
    )
    hugging_face: bool = Field(
        False,
        description="Stay within one network in Hugging Face's own form, so that `pipeline` gives the same scores.",
    )


class ModelSettings(BackboneSettings):
    """What is made of a backbone: its blocks, pooling, head and LoRA."""

    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="`random` starts the backbone from nothing."
    )
    depth: Literal["auto", "all"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="Blocks kept: a number, `all`, or `auto` (chosen by probes on training rows)."
    )
    trainable: Literal["auto", "head", "all", "lora"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="What is trained beside the head: the last N blocks, `head` (none), `all`, or `lora`. `auto`: "
        "2 blocks of a small network, 1 of a large one.",
    )
    pooling: Pooling = Field(
        "auto",
        description="How token states become one vector. `auto`: probes choose; with `candidates = one` as the "
        "backbone's Hugging Face class does.",
    )
    head_start: Literal["probe", "random"] = Field(
        "probe", description="What the head starts from: the solution of a linear probe, or random numbers."
    )
    head_bias: bool = Field(False, description="A bias in the head. Hugging Face decoder classifiers have none.")
    causal_mask: bool = Field(True, description="`false` lets every token of a decoder see the whole text.")
    dropout: Fraction = Field(0.0, description="Dropout in the trained blocks and before the head.")
    lora_rank: Annotated[int, Field(ge=1)] = Field(16, description="Rank of the LoRA matrices.")
    lora_alpha: Annotated[float, Field(gt=0)] = Field(16.0, description="Scale of the LoRA matrices.")
    lora_blocks: Literal["all"] | Annotated[int, Field(ge=1)] = Field(
        "all",
        description="LoRA on `all` blocks, or on the last N: then the trunk below is stored, and training is fast.",
    )


class TextSettings(Area):
    """How texts become tokens."""

    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Cut texts to this many tokens, and say how many were cut. Unset: too long a text is an error.",
    )
    padding: Literal["none", "longest"] | Annotated[int, Field(ge=1)] = Field(
        "none", description="Pad every text to the `longest` training text or to a length. `none`: real tokens only."
    )
    pool_padding: bool = Field(False, description="Padded positions count in pooling, as in the tutorial.")
    truncate: Literal["head", "tail", "both"] = Field(
        "head", description="What of a long text is kept when it is cut: its `head`, its `tail`, or half of `both`."
    )
    long_texts: Literal["cut", "windows"] = Field(
        "cut",
        description="`windows`: a long text is read in overlapping windows of `max_tokens`, pooled to one answer.",
    )
    blanks: Literal["fold", "keep"] = Field(
        "fold",
        description="`fold`: several blanks count as one, and none at the ends. `keep`: as the tokenizer has it.",
    )
    window_overlap: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.25, description="Share of a window that the next one holds too."
    )


class RowSettings(Area):
    """How rows are read, and which train, validate and test."""

    split: Literal["grouped", "llms-from-scratch", "llms-from-scratch-imdb"] = Field(
        "grouped",
        description="`grouped`: stratified, copies kept together. `llms-from-scratch`: the tutorial's own rows; "
        "`llms-from-scratch-imdb`: those of its second task.",
    )
    split_by: str = Field(
        "near",
        description="What never crosses a split: `exact` copies (they look the same, but for case and blanks), "
        "`near` copies too, or rows alike in a column.",
    )
    quoting: bool | None = Field(
        None,
        description="Quotes in delimited text: `true` as pandas reads them, `false` as characters. Unset: found out.",
    )
    validation: Fraction = Field(0.1, description="Share of rows for validation, where no file is given.")
    test: Fraction = Field(0.2, description="Share of rows for the test, where no file is given.")
    balance: Literal["none", "undersample"] = Field("none", description="`undersample`: as many rows of each class.")


class LossSettings(Area):
    """What training makes small."""

    class_weights: Literal["none", "balanced"] = Field(
        "none", description="`balanced`: rare classes weigh more in the loss."
    )
    loss: Literal["auto", "cross-entropy", "focal"] = Field(
        "auto", description="`focal` makes rare and hard texts count more. `auto` is cross-entropy."
    )
    focal_gamma: Annotated[float, Field(ge=0)] = Field(2.0, description="How strongly `focal` favours hard texts.")
    label_smoothing: Fraction = Field(
        0.05, description="Share of a row's target that is spread over all labels: less overconfidence."
    )


class BatchSettings(Area):
    """In which batches the rows are passed, and how often."""

    epochs: Annotated[int, Field(ge=1)] = Field(5, description="Passes over the training rows, at most.")
    least_steps: Count = Field(
        300, description="Few rows are passed more often than `epochs`, until so many optimizer steps are made."
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(16, description="Texts per batch.")
    drop_last: bool = Field(False, description="Leave out the last batch of an epoch where it is not full.")
    accumulate: Annotated[int, Field(ge=1)] = Field(1, description="Batches per optimizer step.")


class OptimizerSettings(Area):
    """The optimizer, and its learning rate over the steps."""

    learning_rate: Annotated[float, Field(gt=0)] = Field(3e-4, description="AdamW's highest learning rate.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.1, description="AdamW's weight decay.")
    warmup: Fraction = Field(0.1, description="Share of the steps over which the learning rate rises.")
    schedule: Literal["constant", "linear", "cosine"] = Field("cosine", description="Learning rate after warm-up.")
    clip: Annotated[float, Field(ge=0)] = Field(1.0, description="Largest gradient norm; 0 leaves gradients alone.")


class EvaluationSettings(Area):
    """When a training is judged, when it stops, and which weights it keeps."""

    patience: Count = Field(
        0, description="Stop after this many epochs without a better validation loss (calibrated); 0 never stops."
    )
    keep_best: bool = Field(True, description="Keep the weights of the best validation loss rather than the last.")
    average: bool = Field(
        True, description="The mean of the weights over the last steps is judged too, and kept where it is better."
    )
    evaluate_every: Count = Field(0, description="Steps between evaluations within an epoch; 0: after each epoch only.")
    evaluate_batches: Annotated[int, Field(ge=1)] = Field(
        5, description="Batches of each split in an evaluation within an epoch."
    )
    epoch_metrics: Literal["loss", "accuracy"] = Field(
        "loss",
        description="After an epoch: validation `loss` alone, or also `accuracy` of both splits as the tutorial does.",
    )


class TrunkSettings(Area):
    """The pass through the trunk: its store, and the sample that chooses the depth."""

    cache: bool = Field(
        True, description="Run the trunk once and train on stored activations. `false` gives the same losses, slower."
    )
    store_limit_mb: Count | None = Field(
        None, description="Largest store in memory; beyond, a memory-mapped file. Unset: a quarter of free memory."
    )
    store: Literal["auto", "float32", "float16"] = Field(
        "auto",
        description="Precision of stored activations; `auto`: half where float32 does not fit and no answer changes.",
    )
    probe_tokens: Annotated[int, Field(ge=1000)] = Field(
        32_000, description="Tokens of the training texts that choose the depth, at most."
    )


class DecisionSettings(Area):
    """How scores become answers."""

    calibration: Literal["auto", "none", "temperature", "vector", "isotonic"] = Field(
        "auto", description="How scores become probabilities, fitted on held-out rows; `auto` cross-validates."
    )
    deploy_prior: dict[str, Fraction] | None = Field(
        None, description="Share of each label where the classifier will be used, such as `{spam = 0.134}`."
    )
    cost: str | None = Field(
        None, description="What mistakes cost, such as `fn=10,fp=1`: answers are then those of least expected cost."
    )
    precision: dict[str, Fraction] = Field({}, description="Least precision of a label, such as `{spam = 0.99}`.")
    recall: dict[str, Fraction] = Field({}, description="Least recall of a label, such as `{spam = 0.95}`.")
    max_error: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Largest error among answered texts, with 95 % confidence; doubtful texts get no answer."
    )


class RunSettings(Area):
    """What holds for a whole run."""

    keep_texts: bool = Field(
        True, description="Keep texts in the bundle: of training for `explain`, of testing for `export`."
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(123, description="The one seed of everything random.")
    device: str = Field("auto", description="`cpu`, `cuda`, `mps`, or `auto`.")
    shard: bool = Field(
        False,
        description="Under torchrun: each process holds a share of the frozen blocks' weights, for a backbone too "
        "large for one GPU.",
    )


# For what takes several areas. They add no setting, and name the areas in the order that `Settings` does.


class NetworkSettings(RunSettings, TextSettings, ModelSettings):
    """What a network is made from."""


class SplitSettings(RunSettings, RowSettings):
    """What divides the rows: random where not by the tutorial, so with a seed."""


class TrainingSettings(RunSettings, EvaluationSettings, OptimizerSettings, BatchSettings, LossSettings):
    """What the training loop takes."""
