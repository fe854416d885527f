"""`classtune serve`: load the bundles, take the port, answer until told to stop, and stop gracefully."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from classtune.errors import require
from classtune.server.settings import ServeSettings, check_exposure, open_socket, read_keys


def serve(folders: Sequence[Path], settings: ServeSettings, gate: Any = None) -> None:
    """Serve the bundles until SIGINT or SIGTERM; requests under way then finish, within ``settings.grace`` seconds.

    gate: what a new version must pass where bundles are watched; see `classtune.server.registry.Gate`.
    Raises SettingsError where it must not or cannot listen, BundleError for bundles that cannot be used,
    UserError where an extra is not installed.
    """
    require("serve", "serve", "fastapi", "uvicorn", "prometheus_client")
    if settings.page:
        require("--page", "ui", "gradio")
    keys = read_keys(settings)
    check_exposure(settings, keys)
    listener = open_socket(settings)
    gc.disable()  # imports and loading leave hardly any garbage, and looking for it is a fifth of their time
    try:
        import torch
        import uvicorn

        from classtune.inference.runtimes import load_exported
        from classtune.server.app import create_app
        from classtune.server.connections import bounded_connections, most_connections
        from classtune.server.middleware import log
        from classtune.server.registry import ModelRegistry

        if settings.threads:
            torch.set_num_threads(settings.threads)
        load = partial(load_exported, runtime=settings.runtime, device=settings.device)
        registry = ModelRegistry(folders, load=load, gate=gate)
        app = create_app(registry, settings, keys)
        if settings.page:
            from classtune.server.page.app import mount_page
            from classtune.server.queued import QueuedRegistry

            api = app.state.api
            mount_page(
                app,
                QueuedRegistry(registry, api.batcher, settings.timeout),
                feedback=settings.feedback,
                judged=lambda name, right: api.metrics.judged(name, right=right),
            )
        gc.freeze()  # what is loaded stays: never walked again, no answer is held up by it
        gc.enable()

        class Server(uvicorn.Server):
            """Says when it listens, and when it begins to stop."""

            stopped_by: str | None = None

            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets)
                host, port = listener.getsockname()[:2]
                url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
                log("listening", url=url, models={bundle.name: bundle.version for bundle in registry}, keys=len(keys))

            def handle_exit(self, sig: int, frame: Any) -> None:
                # It may come in the middle of a line of the log: a line written here would wait for that one for ever.
                app.state.api.stopping = True
                self.stopped_by = signal.Signals(sig).name
                super().handle_exit(sig, frame)

            async def shutdown(self, sockets: Any = None) -> None:
                log("stopping", signal=self.stopped_by)
                await super().shutdown(sockets)

        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            http=bounded_connections(most_connections(), log),
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(settings.grace)),
        )
        _tell_of_uvicorn(log)
        with _survived_signals(), _watching(registry, settings.watch, log):
            Server(config).run(sockets=[listener])
        log("stopped")
    finally:
        gc.enable()
        listener.close()


@contextlib.contextmanager
def _survived_signals() -> Iterator[None]:
    """uvicorn raises the signal that stopped it once more when it is done; a graceful stop is no failure."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda *_: None) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def _watching(registry: Any, every: float | None, log: Any) -> Iterator[None]:
    """A thread that looks for new versions of the bundles."""
    if every is None:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every):
            try:
                registry.refresh(log)
            except Exception as error:  # the old version answers on, and the next look may go better
                log("watch_failed", level="error", error=repr(error))

    thread = threading.Thread(target=watch, name="classtune-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(5)


def _tell_of_uvicorn(log: Any) -> None:
    """uvicorn's warnings and errors as lines of our log."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            log("server", level=record.levelname.lower(), message=record.getMessage(), error=error and repr(error))

    for name in ("uvicorn", "asyncio"):  # asyncio says when no connection can be accepted
        logger = logging.getLogger(name)
        logger.handlers = [Handler(logging.WARNING)]
        logger.propagate = False
