"""The settings of `classtune serve`: where it listens, who may ask, and how much at once.

What each does stands in options.py, which is also its flag's help. Knows no HTTP and no models.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from classtune.errors import SettingsError, did_you_mean
from classtune.server.options import DECLARED, KEYS_VARIABLE, MOST_CHARACTERS

_Count = Annotated[int, Field(ge=1)]
_Seconds = Annotated[float, Field(gt=0)]


def _declared(name: str) -> Any:
    default, description = DECLARED[name]
    return Field(default, description=description)


class ServeSettings(BaseModel):
    """All settings of a server. Frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    host: str = _declared("host")
    port: Annotated[int, Field(ge=0, le=65535)] = _declared("port")
    keys: Path | None = _declared("keys")
    insecure: bool = _declared("insecure")
    allow_host: str | None = _declared("allow_host")
    cors: str | None = _declared("cors")
    watch: _Seconds | None = _declared("watch")
    at_least_as_good: str | None = _declared("at_least_as_good")
    page: bool = _declared("page")
    feedback: Path | None = _declared("feedback")
    runtime: str = _declared("runtime")
    device: str = _declared("device")
    threads: _Count | None = _declared("threads")
    max_body: _Count = _declared("max_body")
    max_texts: _Count = _declared("max_texts")
    max_characters: Annotated[int, Field(ge=1, le=MOST_CHARACTERS)] = _declared("max_characters")
    queue: _Count = _declared("queue")
    timeout: _Seconds = _declared("timeout")
    grace: _Seconds = _declared("grace")


def listed(value: str | None) -> list[str]:
    """What stands in a list with commas."""
    return [part.strip() for part in (value or "").split(",") if part.strip()]


def serve_settings(values: Mapping[str, Any]) -> ServeSettings:
    """Settings in force: ``values`` over the defaults. Raises SettingsError with every problem found."""
    fields = ServeSettings.model_fields
    problems = [f"setting {name!r} is unknown. {did_you_mean(name, fields)}" for name in values if name not in fields]
    try:
        settings = ServeSettings(**{name: value for name, value in values.items() if name in fields})
    except ValidationError as error:
        for fault in error.errors():
            name = str(fault["loc"][0])
            wanted = fault["msg"].removeprefix("Input ")
            flag = f"--{name.replace('_', '-')}"
            problems.append(f"{flag} {fault['input']}: {wanted}. {fields[name].description}")
        raise SettingsError(problems) from None
    if settings.queue < settings.max_texts:
        problems.append(
            f"--queue {settings.queue:,}: a request of --max-texts {settings.max_texts:,} would never fit. "
            "Make the queue longer."
        )
    if settings.at_least_as_good is not None and settings.watch is None:
        problems.append(
            f"--at-least-as-good {settings.at_least_as_good}: new versions are taken up with --watch alone. "
            "Pass it too."
        )
    if problems:
        raise SettingsError(problems)
    return settings


def read_keys(settings: ServeSettings) -> tuple[str, ...]:
    """The keys that open the server, from the file and from the environment; none where there is neither.

    Raises SettingsError for a file that cannot be read or holds no key, so that a slip never opens the server.
    """
    keys = os.environ.get(KEYS_VARIABLE, "").split()
    if settings.keys is not None:
        try:
            lines = settings.keys.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--keys {settings.keys}: cannot be read ({error}). Name a file of keys.") from None
        listed = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not listed:
            raise SettingsError(f"--keys {settings.keys}: holds no key. Write one a line.")
        keys += listed
    return tuple(keys)


def check_exposure(settings: ServeSettings, keys: tuple[str, ...]) -> None:
    """Raise SettingsError where strangers could reach the server and nothing would stop them."""
    if keys or settings.insecure or all(ipaddress.ip_address(each).is_loopback for each in _addresses(settings.host)):
        return
    raise SettingsError(
        f"--host {settings.host}: whoever reaches this machine could use the server. Pass --keys FILE (or set "
        f"{KEYS_VARIABLE}), listen on 127.0.0.1, or pass --insecure if that is what you want."
    )


def open_socket(settings: ServeSettings) -> socket.socket:
    """The port, taken before the slow work starts. Raises SettingsError where it cannot be had."""
    family = socket.AF_INET6 if ":" in _addresses(settings.host)[0] else socket.AF_INET
    # Named as TCP, or asyncio does not know it as such, leaves Nagle's algorithm on, and answers come 40 ms late.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option lets two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"--host {settings.host} --port {settings.port}: cannot be listened on ({error.strerror}). "
            "Pass another --port, or stop what uses it."
        ) from None
    return listener


def _addresses(host: str) -> list[str]:
    try:
        entries = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(f"--host {host}: is no address of this machine ({error.strerror}).") from None
    return [str(entry[4][0]).partition("%")[0] for entry in entries]
