"""Fifty clients of `thaw serve` at once: `python -m benchmarks.serve [MODEL]`, or `make load-test`.

Starts the server on a loopback port, in a process of its own. Sends it images one by one from one
client, then from many clients, each sending the next as soon as it has an answer. Images are those
of data/raw, or generated photographs where there are none. Prints images a second, the median and
the 95th percentile of the latency, and errors; writes them to results/.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import httpx
import numpy as np

from benchmarks.clone import ROOT
from benchmarks.photograph import photograph
from thaw.data.class_folders import IMAGES

RESULTS = ROOT / "benchmarks/results"
DISTINCT = 200
"""Images, sent over and over."""


def main() -> int:
    """Measure, print and write; 1 if a client had an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", metavar="MODEL", help="default: as thaw serve")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60, help="of load; default: 60")
    parser.add_argument("--alone", type=float, default=20, help="seconds of one client")
    parser.add_argument("--explain", action="store_true", help="ask for maps and neighbours too")
    chosen = parser.parse_args()
    files, kind = images()
    given = [chosen.model] if chosen.model else []
    command = [sys.executable, "-m", "thaw.cli.main", "serve", *given, "--port", "0"]
    began = time.monotonic()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        found = None
        for line in server.stdout:
            print(line, end="", flush=True)
            if found := re.search(r"serving (\S+) at (http://\S+)", line):
                break
        if found is None:
            return 1
        name, address = found.groups()
        start = time.monotonic() - began
        url = f"{address}/predict{'?explain=true' if chosen.explain else ''}"
        alone = asyncio.run(load(url, files, 1, chosen.alone))
        before = os.times()
        many = asyncio.run(load(url, files, chosen.clients, chosen.seconds))
        after = os.times()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
    said = {"alone": figures(alone, 1), "together": figures(many, chosen.clients)}
    said["ratio"] = round(said["together"]["images_a_second"] / said["alone"]["images_a_second"], 2)
    own = sum(after[:2]) - sum(before[:2])
    for key in ("alone", "together"):
        print(f"{key}: {', '.join(f'{k} {v}' for k, v in said[key].items())}")
    print(f"together, of alone: {said['ratio']} of the images a second")
    result = {
        "model": name,
        "images": kind,
        "explain": chosen.explain,
        "seconds_to_start": round(start, 1),
        **said,
        "seconds_of_the_clients_own_processor_time": round(own, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {p: version(p) for p in ("fastapi", "keras", "tensorflow-cpu", "uvicorn")},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"serve-{name}{'-explained' if chosen.explain else ''}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{path.relative_to(ROOT)}: written")
    return 1 if said["alone"]["errors"] or said["together"]["errors"] else 0


def images() -> tuple[list[tuple[str, bytes]], str]:
    """Names and contents, and what they are."""
    raw = Path("data/raw")
    found = sorted(p for p in raw.rglob("*") if p.suffix.lower() in IMAGES)
    if not found:
        random = np.random.default_rng(0)
        return [(f"{n}.jpg", photograph(random)) for n in range(DISTINCT)], "generated photographs"
    numbers = np.unique(np.linspace(0, len(found) - 1, DISTINCT).astype(int))
    return [(found[n].name, found[n].read_bytes()) for n in numbers], "of data/raw"


async def load(url: str, files: list, clients: int, seconds: float) -> dict:
    """Send images from `clients` at once for so long.

    Returns:
        latencies: seconds of each answer; errors: what went wrong; seconds: until the last answer.
    """
    latencies, errors = [], []
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(timeout=300, limits=limits) as client:
        started = time.perf_counter()

        async def one(number: int) -> None:
            while time.perf_counter() - started < seconds:
                name, content = files[number % len(files)]
                number += clients
                began = time.perf_counter()
                try:
                    answer = await client.post(url, files={"images": (name, content)})
                    if answer.status_code != 200 or "class" not in answer.json()["images"][0]:
                        errors.append(f"{answer.status_code} {answer.text[:200]}")
                        continue
                except httpx.HTTPError as error:
                    errors.append(repr(error))
                    continue
                latencies.append(time.perf_counter() - began)

        await asyncio.gather(*(one(number) for number in range(clients)))
        took = time.perf_counter() - started
    for error in sorted(set(errors)):
        print(f"error, {errors.count(error)} times: {error}", file=sys.stderr)
    return {"latencies": latencies, "errors": errors, "seconds": took}


def figures(of: dict, clients: int) -> dict:
    """What is printed and written of a load."""
    ordered = sorted(of["latencies"]) or [float("nan")]
    return {
        "clients": clients,
        "images": len(of["latencies"]),
        "errors": len(of["errors"]),
        "images_a_second": round(len(of["latencies"]) / of["seconds"], 2),
        "p50_seconds": round(statistics.median(ordered), 3),
        "p95_seconds": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
    }


if __name__ == "__main__":
    sys.exit(main())
