"""Words that say nothing a command could act on: options that it lacks, and empty words."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from classtune.errors import SettingsError

_TEXTS = ("text", "texts")  # arguments that may be empty here: who reads the text says so


class Command(TyperCommand):
    """A command that says of an option that it lacks how the setting of that name is told (``--lr`` → ``--set``), and
    that takes no empty word for an option or a place: a shell gives one for a variable that is not set."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises what the parser raises, with a word more, and SettingsError for empty words."""
        given = list(args)  # the parser uses them up
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except Exception as error:
            # typer brings the parser, in one version as click and in another as its own.
            if type(error).__name__ == "NoSuchOption" and (hint := self._hint(str(vars(error)["option_name"]))):
                vars(error).update(message=f"{vars(error)['message']}. Did you mean {hint}?", possibilities=None)
            raise
        words, _, _ = self.make_parser(ctx).parse_args(given)  # as they were given: of "" a path makes "."
        told = {
            one.opts[-1] if one.param_type_name == "option" else one.metavar or one.name: words.get(one.name)
            for one in self.params
            if one.param_type_name == "option" or one.name not in _TEXTS
        }
        if empty := [
            flag for flag, value in told.items() if value == "" or (isinstance(value, list | tuple) and "" in value)
        ]:
            raise SettingsError(
                [f"{flag}: is given an empty word. Give it a value, or leave it out." for flag in empty]
            )
        return rest

    def _hint(self, option: str) -> str | None:
        """How the setting is told that an option names; None where it names none, or the command takes no settings."""
        flags = {str(parameter.name): parameter.opts[0] for parameter in self.params}
        if "assignments" not in flags:
            return None
        from classtune.config import setting_meant

        setting = setting_meant(option.lstrip("-").replace("-", "_"))
        if setting is None:
            return None
        return flags.get(setting, f"--set {setting}=…")
