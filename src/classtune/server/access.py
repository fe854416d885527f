"""Who may ask: whoever shows a key, by a name that is the server's own, and no web page of somebody else.

A server without keys on this machine is open to every program here, and browsers are such programs: any page could
post work to it, and with a name that its owner lets point at this machine (DNS rebinding) read the answers. So the
name that was asked for (Host) and the page that asks (Origin) are looked at before anything else.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from classtune.server.dialects.refusals import Refusal
from classtune.server.settings import ServeSettings, listed

# Asked by whoever watches over servers, who should hold no key and often asks by an address.
OPEN_PATHS = frozenset({"/health", "/ready", "/ping"})
_BEARER = b"Bearer"
_PASSWORD = b'Basic realm="classtune: any name, and a key as the password", charset="UTF-8"'
_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::\d*)?")
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """keys: one must be shown, if there are any. hosts: names by which the server is asked; None: any.

    origins: web pages of other places that may ask, such as https://example.com; ``*`` for all. api: paths of the API,
    whose clients show a key as a bearer. Everything else is for browsers, which ask for a password: a key is one.
    """

    keys: Sequence[str]
    hosts: frozenset[str] | None
    origins: frozenset[str]
    api: Collection[str]

    @classmethod
    def of(cls, settings: ServeSettings, keys: Sequence[str], api: Collection[str]) -> Access:
        """Without a key or ``--insecure``: asked by this machine's own names and those of ``--allow-host`` only."""
        named = listed(settings.allow_host)
        own = [one.lower() if one.count(":") > 1 and one[0] != "[" else _name(one) for one in (settings.host, *named)]
        hosts = None if not named and (keys or settings.insecure) else frozenset([*_LOCAL, *own]) - {""}
        return cls(keys, hosts, frozenset(listed(settings.cors)), api)

    def refusal(self, headers: Mapping[bytes, bytes], method: str, path: str) -> tuple[Refusal, bytes | None] | None:
        """Why a request is refused, and what it is to show (WWW-Authenticate); None: it may go on."""
        if path in OPEN_PATHS:
            return None
        host = headers.get(b"host", b"")
        if self.hosts is not None and (name := _name(host.decode("latin-1"))) not in self.hosts:
            sentence = f"This server is not asked by the name {name[:100]!r}. Its owner can allow it: --allow-host."
            return Refusal(403, "forbidden", sentence), None
        origin = headers.get(b"origin")
        at_home = origin is None or origin.partition(b"://")[2] == host
        if origin is not None and not (at_home or {"*", origin.decode("latin-1")} & self.origins):
            sentence = "Web pages of other places may not ask this server. Its owner can allow one: --cors."
            return Refusal(403, "forbidden", sentence), None
        # At the root both meet: a client posts its texts, and a browser asks for the page.
        api = path in self.api and not (path == "/" and method in ("GET", "HEAD"))
        if self._shows_key(headers.get(b"authorization", b""), api, at_home):
            return None
        refusal = Refusal(401, "unauthorized", "Show a key: Authorization: Bearer KEY.")
        return refusal, _BEARER if api else _PASSWORD

    def _shows_key(self, authorization: bytes, api: bool, at_home: bool) -> bool:
        """Whether a key is shown that opens; every key is compared, each in constant time."""
        kind, _, key = authorization.partition(b" ")
        wanted = b"bearer"
        # A browser sends the password along whichever site asks: never to the API, and not for another site's page.
        if kind.lower() == b"basic" and not api and at_home:
            wanted, key = b"basic", _password(key)
        fits = [hmac.compare_digest(key.strip(), known.encode()) for known in self.keys]
        return not self.keys or (any(fits) and kind.lower() == wanted)


def _name(host: str) -> str:
    """The name in a Host header, without its port and brackets; what is no such header is its own name."""
    name = host.strip().lower()
    found = _HOST.fullmatch(name)
    return name if found is None else found[1] or found[2]


def _password(shown: bytes) -> bytes:
    """What stands behind the user's name, which may be any."""
    try:
        return base64.b64decode(shown, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
