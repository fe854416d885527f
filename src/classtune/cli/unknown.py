"""Options that say nothing a command could act on: those that it lacks, and those that are given an empty word."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from classtune.errors import SettingsError


class Command(TyperCommand):
    """A command that says of an option that it lacks how the setting of that name is told (``--lr`` → ``--set``), and
    that takes no empty word for an option: a shell gives one for a variable that is not set."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises what the parser raises, with a word more, and SettingsError for options with an empty word."""
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except Exception as error:
            # typer brings the parser, in one version as click and in another as its own.
            if type(error).__name__ == "NoSuchOption" and (hint := self._hint(str(vars(error)["option_name"]))):
                vars(error).update(message=f"{vars(error)['message']}. Did you mean {hint}?", possibilities=None)
            raise
        told = {one.opts[-1]: ctx.params.get(one.name) for one in self.params if one.param_type_name == "option"}
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
