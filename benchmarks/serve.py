"""`classtune serve` as its clients see it: time of one short text, many clients at once, and the first answer.

The peer is one `transformers.pipeline` with the uncut model behind FastAPI, its calls one after the other: together,
from FastAPI's threads, they would only take each other's processor.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import Figure, command, main, note, seconds
from predict import messages
from train_sms import sms_network

SHORT = "Hey, are you coming to the party tonight? Call me when you get there"


def measure(args: argparse.Namespace) -> list[Figure]:
    if args.peer:
        be_the_peer(args.peer)
    folder = args.bundle or sms_network()
    line = [command(), "serve", str(folder), "--port", "0"]
    starts = [first_answer(line) for _ in range(args.repeats)]
    note(f"first answer after {', '.join(f'{start:.2f}' for start in starts)} s")
    with server(line) as ours:
        alone = one_text(ours, folder, args.calls)
        note(f"one text: {alone}")
        with server([sys.executable, __file__, "--peer", str(folder)]) as theirs:
            rounds = [
                {
                    name: asyncio.run(many_clients(port, args.clients, args.seconds))
                    for name, port in (("classtune", ours), ("pipeline", theirs))
                }
                for _ in range(args.repeats)
            ]
    for round_ in rounds:
        note(f"{args.clients} clients: {round_}")
    faster = [round_["classtune"]["texts_per_second"] / round_["pipeline"]["texts_per_second"] for round_ in rounds]
    spread = [round_["classtune"]["p99"] / round_["classtune"]["p50"] for round_ in rounds]
    clients = f"{args.clients} clients"
    return [
        Figure(
            "serve: one short text over HTTP, bare forward", alone["http"] / alone["forward"], "x", 1.5, 1.15, alone
        ),
        Figure(
            f"serve: {clients}, throughput against a pipeline behind FastAPI, uncut model",
            statistics.median(faster),
            "x",
            4,
            10,
            {"ratios": faster, "rounds": rounds},
        ),
        Figure(f"serve: {clients}, p99 / p50", statistics.median(spread), "x", 5, 3, {"ratios": spread}),
        Figure("serve: cold start to first answer", statistics.median(starts), "s", 6, 3, {"starts": starts}),
    ]


@contextmanager
def server(line: list[str]) -> Iterator[int]:
    """A server's port; it writes where it listens as a line of JSON on standard error."""
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    drain = None
    try:
        for line_ in process.stderr:
            if '"listening"' in line_:
                break
        else:
            raise SystemExit(f"{' '.join(line)}: did not start")
        # Nobody reads on: like a log file, and not a full pipe.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield int(json.loads(line_)["url"].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()
        if drain:
            drain.wait()
        process.stderr.close()


def first_answer(line: list[str]) -> float:
    """Seconds from the command to its first answer."""
    start = time.perf_counter()
    with server(line) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        ask(connection, SHORT)
        spent = time.perf_counter() - start
        connection.close()
    return spent


def one_text(port: int, folder: Path, calls: int) -> dict[str, Any]:
    """Median seconds of one text over HTTP and of the same network's forward pass on its tokens here, in turns."""
    import torch

    from classtune.inference.predictor import load_predictor

    predictor, _ = load_predictor(folder)
    encoder, network = predictor.encoder, predictor.whole
    batch = encoder.batch(encoder.encode([SHORT]))
    connection = http.client.HTTPConnection("127.0.0.1", port)
    bare, over_http = [], []
    with torch.inference_mode():
        for _ in range(calls + 3):
            bare.append(seconds(lambda: network(batch)))
            over_http.append(seconds(lambda: ask(connection, SHORT)))
    connection.close()
    tokens = batch.values.shape[1]
    return {"http": statistics.median(over_http[3:]), "forward": statistics.median(bare[3:]), "tokens": tokens}


def ask(connection: http.client.HTTPConnection, text: str) -> Any:
    connection.request("POST", "/predict", json.dumps({"inputs": text}), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    document = json.load(answer)
    assert answer.status == 200, document
    return document


async def many_clients(port: int, clients: int, duration: float) -> dict[str, Any]:
    """Texts answered each second and how long they took, with ``clients`` asking one text after the other."""
    texts = itertools.cycle([text for text in messages(2000) if len(text) <= 100])
    times: list[float] = []
    end = time.perf_counter() + duration

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.perf_counter()) < end:
            body = json.dumps({"inputs": next(texts)}).encode()
            head = "POST /predict HTTP/1.1", "Host: localhost", "Content-Type: application/json"
            writer.write("\r\n".join([*head, f"Content-Length: {len(body)}\r\n\r\n"]).encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            times.append(time.perf_counter() - start)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    spent = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    return {"texts_per_second": len(times) / spent, "texts": len(times), "p50": cuts[49], "p99": cuts[98]}


def be_the_peer(folder: Path) -> None:
    """Serve the bundle's uncut model as its documentation would: a pipeline behind FastAPI. Does not return."""
    import socket

    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel
    from transformers import pipeline

    from classtune.bundle import read_record
    from classtune.config import resolve
    from classtune.model.backbone import load_backbone, quiet_transformers
    from classtune.sources import fetch_model

    record = read_record(folder)
    settings = resolve(None, {"model": record["settings"]["model"], "depth": "all", "device": "cpu"})
    uncut = load_backbone(fetch_model(settings.model, notify=note), record["labels"], settings)
    with quiet_transformers():
        classify = pipeline(
            "text-classification",
            model=uncut.classifier.eval(),
            tokenizer=uncut.encoder.tokenizer,
            device="cpu",
            top_k=None,
        )

    class Question(BaseModel):
        inputs: str

    app = FastAPI()

    async def predict(question: Question) -> Any:
        return classify(question.inputs)

    predict.__annotations__ = {"question": Question, "return": Any}  # a local class, which FastAPI would not find
    app.post("/predict")(predict)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as uvicorn has it for sockets of its own
        note(json.dumps({"event": "listening", "url": f"http://127.0.0.1:{listener.getsockname()[1]}"}))
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
    raise SystemExit


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, help="a bundle of one network; unset: sms_network() of train_sms.py")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=15, help="how long the clients ask each server in a round")
    parser.add_argument("--calls", type=int, default=50, help="calls with one text")
    parser.add_argument(
        "--repeats", type=int, default=3, help="cold starts, and rounds of clients, medians of which count"
    )
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)


if __name__ == "__main__":
    main(__doc__, measure, options)
