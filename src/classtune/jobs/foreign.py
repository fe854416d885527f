"""A word on texts in languages that the backbones of a run were not trained on, before the run: which model to try."""

from __future__ import annotations

from collections.abc import Sequence

from classtune.config import backbone_names
from classtune.config.areas import ChoiceSettings
from classtune.data.languages import language_shares
from classtune.judging.comparison import LEXICAL_IN_WORDS
from classtune.sources import models
from classtune.sources.registry import MULTILINGUAL


def about_languages(texts: Sequence[str], settings: ChoiceSettings, *, seed: int) -> str:
    """What to say of texts in languages that no backbone of the settings knows; empty where there is nothing to say.

    Only of backbones that classtune knows by name: what another one was trained on is its user's to know.
    """
    known, names = models(), backbone_names(settings)
    if not all(name in known and known[name].languages for name in names):
        return ""
    spoken = {code for name in names for code in known[name].languages}
    foreign = {code: share for code, share in language_shares(texts, seed=seed).items() if code not in spoken}
    if not foreign:
        return ""
    told = " and ".join(f"{100 * share:.0f} % {_name(code)}" for code, share in foreign.items())
    were = "was" if len(names) == 1 else "were"
    subject, language = " and ".join(names), " and ".join(map(_name, sorted(spoken)))
    advice = (
        f"Try --model {MULTILINGUAL}, of the Hugging Face Hub (100 languages, 0.5 GB)."
        if set(foreign) <= set(known[MULTILINGUAL].languages)
        else f"Try a Hub model of it with --model, and look at {LEXICAL_IN_WORDS}, which knows every language."
    )
    return f"The texts are {told}, by a look at some, and {subject} {were} trained on {language} alone. {advice}"


def _name(code: str) -> str:
    """``Italian``; a language that has no name here is its code."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    return str(LANGUAGES.get(code, code)).capitalize()
