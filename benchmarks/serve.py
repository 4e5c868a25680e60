"""Load `thaw serve` with fifty clients: `python -m benchmarks.serve [MODEL]`, or `make load-test`.

Starts the server on a loopback port, in its own process. One client sends images one by one, then
many clients do, each sending the next after it has an answer. The images are those of data/raw, or
generated photographs if there are none. Prints images/s, the median and the 95th percentile of the
latency, and errors; writes them to benchmarks/results.
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
from thaw.data.formats import READ

RESULTS = ROOT / "benchmarks/results"
DISTINCT = 200  # different images, which are sent repeatedly


def main() -> int:
    """Measure, print and write the results; return 1 if a client had an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", metavar="MODEL", help="default: that of thaw serve")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60, help="seconds of load; default: 60")
    parser.add_argument("--alone", type=float, default=20, help="seconds of one client")
    parser.add_argument("--explain", action="store_true", help="ask for maps and neighbours too")
    chosen = parser.parse_args()
    files, kind = images()
    model = [chosen.model] if chosen.model else []
    command = [sys.executable, "-m", "thaw.cli.main", "serve", *model, "--port", "0"]
    began = time.monotonic()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        ready = None
        for line in server.stdout:
            print(line, end="", flush=True)
            if ready := re.search(r"serving (\S+) at (http://\S+)", line):
                break
        if ready is None:
            return 1
        name, address = ready.groups()
        start = time.monotonic() - began
        url = f"{address}/predict{'?explain=true' if chosen.explain else ''}"
        alone = asyncio.run(load(url, files, 1, chosen.alone))
        before = os.times()
        many = asyncio.run(load(url, files, chosen.clients, chosen.seconds))
        after = os.times()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
    results = {"alone": figures(alone, 1), "together": figures(many, chosen.clients)}
    rates = [results[key]["images_a_second"] for key in ("together", "alone")]
    results["ratio"] = round(rates[0] / rates[1], 2)
    own = sum(after[:2]) - sum(before[:2])
    for key in ("alone", "together"):
        print(f"{key}: {', '.join(f'{k} {v}' for k, v in results[key].items())}")
    print(f"ratio of images/s, together to alone: {results['ratio']}")
    result = {
        "model": name,
        "images": kind,
        "explain": chosen.explain,
        "seconds_to_start": round(start, 1),
        **results,
        "seconds_of_the_clients_own_processor_time": round(own, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {p: version(p) for p in ("fastapi", "keras", "tensorflow-cpu", "uvicorn")},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"serve-{name}{'-explained' if chosen.explain else ''}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{path.relative_to(ROOT)}: written")
    return 1 if results["alone"]["errors"] or results["together"]["errors"] else 0


def images() -> tuple[list[tuple[str, bytes]], str]:
    """Return the name and content of each image, and where they come from."""
    raw = Path("data/raw")
    files = sorted(p for p in raw.rglob("*") if p.suffix.lower() in READ)
    if not files:
        random = np.random.default_rng(0)
        return [(f"{n}.jpg", photograph(random)) for n in range(DISTINCT)], "generated photographs"
    numbers = np.unique(np.linspace(0, len(files) - 1, DISTINCT).astype(int))
    return [(files[n].name, files[n].read_bytes()) for n in numbers], "of data/raw"


async def load(url: str, files: list, clients: int, seconds: float) -> dict:
    """Send images from `clients` at once for `seconds`.

    Returns:
        latencies: seconds of each answer; errors: their texts; seconds: until the last answer.
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


def figures(measured: dict, clients: int) -> dict:
    """Return the figures of a load that are printed and written."""
    ordered = sorted(measured["latencies"]) or [float("nan")]
    return {
        "clients": clients,
        "images": len(measured["latencies"]),
        "errors": len(measured["errors"]),
        "images_a_second": round(len(measured["latencies"]) / measured["seconds"], 2),
        "p50_seconds": round(statistics.median(ordered), 3),
        "p95_seconds": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
    }


if __name__ == "__main__":
    sys.exit(main())
