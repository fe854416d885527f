"""An option that no command has, but that is a setting's name, here or in other libraries: what to write instead."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command that says of an option that it lacks how the setting of that name is told (``--lr`` → ``--set``)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises what the parser raises, with a word more."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # typer brings the parser, in one version as click and in another as its own.
            if type(error).__name__ == "NoSuchOption" and (hint := self._hint(str(vars(error)["option_name"]))):
                vars(error).update(message=f"{vars(error)['message']}. Did you mean {hint}?", possibilities=None)
            raise

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
