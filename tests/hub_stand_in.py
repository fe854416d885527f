"""A stand-in for the Hugging Face Hub on 127.0.0.1: as much of its HTTP interface as its own client uses.

Models are served from folders ``ROOT/OWNER/NAME`` and taken into them. It can break a transfer off, refuse a
repository as gated, and knows nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_of_a_stand_in"
LARGE = (".safetensors", ".bin")  # kept as LFS files, as on the Hub


@dataclass
class Hub:
    """What is served, and what happened. breaks: file name → how often its transfer breaks off in the middle."""

    root: Path
    url: str = ""
    gated: set[str] = field(default_factory=set)
    breaks: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)  # "GET /path", with the range that was asked for
    made: dict[str, dict[str, Any]] = field(default_factory=dict)  # repositories that were created
    large: dict[str, bytes] = field(default_factory=dict)  # uploads by their sha256


@contextmanager
def hub_at(root: Path) -> Iterator[Hub]:
    """Serve until the end of the block."""
    hub = Hub(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)  # else half a second to stop
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def _get(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        self._note()
        if parts[:2] == ["api", "models"]:
            repository, rest = "/".join(parts[2:4]), parts[4:]
            if self._refused(repository):
                return
            if rest[:1] == ["tree"]:
                self._json([_entry(path, self.hub.root / repository) for path in _files(self.hub.root / repository)])
            else:
                names = [{"rfilename": path.name} for path in _files(self.hub.root / repository)]
                told = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": names, "tags": []}
                self._json({**told, "private": False, "downloads": 0})
        elif len(parts) > 4 and parts[2] == "resolve":
            repository = "/".join(parts[:2])
            if not self._refused(repository):
                self._file(self.hub.root / repository / "/".join(parts[4:]))
        else:
            self._error(404, "EntryNotFound", "no such page")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._note()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._error(401, None, "Invalid username or password.")
        path = urlsplit(self.path).path
        for part, answer in (
            ("/api/validate-yaml", self._validate),
            ("/api/repos/create", self._create),
            ("/info/lfs/objects/batch", self._batch),
            ("/preupload/", self._preupload),
            ("/commit/", self._commit),
        ):
            if part in path:
                return answer(body)
        return self._error(404, None, "no such page")

    def do_PUT(self) -> None:
        self._note()
        digest = urlsplit(self.path).path.rpartition("/")[2]
        content = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(content).hexdigest() == digest
        self.hub.large[digest] = content
        self._json({})

    # -- answers

    def _note(self) -> None:
        wanted = self.headers.get("Range")
        self.hub.requests.append(f"{self.command} {self.path}" + (f" {wanted}" if wanted else ""))

    def _refused(self, repository: str) -> bool:
        if repository in self.hub.gated:
            self._error(403, "GatedRepo", f"Access to model {repository} is restricted.")
            return True
        if not (self.hub.root / repository).is_dir():
            self._error(404, "RepoNotFound", "Repository not found")
            return True
        return False

    def _file(self, path: Path) -> None:
        if not path.is_file():
            return self._error(404, "EntryNotFound", f"{path.name} does not exist")
        content = path.read_bytes()
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{_etag(path)}"')
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if self.hub.breaks.get(path.name, 0) > 0:
            self.hub.breaks[path.name] -= 1
            self.wfile.write(content[start : start + (len(content) - start) // 2])
            self.wfile.flush()
            self.close_connection = True
            return None
        self.wfile.write(content[start:])
        return None

    def _validate(self, _: bytes) -> None:
        self._json({"errors": [], "warnings": []})

    def _preupload(self, body: bytes) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(body)["files"]
        ]
        self._json({"files": files})

    def _create(self, body: bytes) -> None:
        told = json.loads(body)
        repository = "/".join(filter(None, [told.get("organization"), told["name"]]))
        (self.hub.root / repository).mkdir(parents=True, exist_ok=True)
        self.hub.made[repository] = told
        self._json({"url": f"{self.hub.url}/{repository}", "name": repository, "id": repository})

    def _batch(self, body: bytes) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/upload/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, body: bytes) -> None:
        repository = "/".join(urlsplit(self.path).path.split("/")[3:5])
        for line in map(json.loads, filter(None, body.split(b"\n"))):
            value = line["value"]
            if line["key"] in ("file", "lfsFile"):
                path = self.hub.root / repository / value["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                large = line["key"] == "lfsFile"
                path.write_bytes(self.hub.large[value["oid"]] if large else base64.b64decode(value["content"]))
        url = f"{self.hub.url}/{repository}/commit/{COMMIT}"
        self._json({"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": "", "pullRequestUrl": None})

    def _json(self, document: Any) -> None:
        self._send(200, json.dumps(document).encode(), {"X-Repo-Commit": COMMIT})

    def _error(self, status: int, code: str | None, message: str) -> None:
        told = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._send(status, json.dumps({"error": message}).encode(), told)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _etag(path: Path) -> str:
    """git's id of a small file, sha256 of a large one."""
    content = path.read_bytes()
    if path.name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path: Path, root: Path) -> dict[str, Any]:
    size = path.stat().st_size
    entry = {"type": "file", "path": path.relative_to(root).as_posix(), "size": size, "oid": _etag(path)}
    if path.name.endswith(LARGE):
        entry["lfs"] = {"oid": _etag(path), "size": size, "pointerSize": 134}
    return entry
