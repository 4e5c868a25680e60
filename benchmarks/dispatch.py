"""Measure how fast one driver feeds workers of a cluster: `python -m benchmarks.dispatch`.

The workers only sleep, for as long as a node of 900 images/s would compute. Each process stands for
many nodes. Prints the keys per second that the driver hands out without any sleep, the nodes that
it could feed, and the share of full speed of 100 nodes. `--images 100000` then runs MobileNetV2
over generated images of 32 px in two workers, with the store on `rclone serve s3`, and prints the
driver's memory and what it sends. Writes benchmarks/results/dispatch.json.
"""

import argparse
import hashlib
import json
import os
import pickle
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from thaw.config.runtime import Local, Ray
from thaw.runtime import ray_workers
from thaw.runtime.ray_workers import WorkerPool, ray_cluster

RESULTS = Path("benchmarks/results/dispatch.json")
SPEED = 900  # images/s of a node of 64 cores
SHARD = 256  # keys of a task: 8 batches of 32
NODES = 100
PROCESSES = 2


class Sleeper:
    """A worker that sleeps in place of the network.

    Args:
        weights: ignored.
        speed: in images/s; None: return at once.
    """

    recipe: dict[str, str] = {}

    def __init__(self, weights: str, speed: float | None) -> None:
        self.speed = speed

    def __call__(self, address: str, keys: list[str], rows: list) -> str:
        """Return the name of a shard."""
        if self.speed:
            time.sleep(len(keys) / self.speed)
        return f"{'0' * 32}-{'0' * 8}"


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--images", type=int, default=0)
    chosen = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    os.environ["PYTHONPATH"] = os.getcwd()  # for workers, which import this module
    task = next(_tasks(1))
    sent = len(pickle.dumps((task, "0" * 41)))
    results["bytes_per_1000_images"] = round(1000 * sent / SHARD)
    with ray_cluster(_ray(PROCESSES)):
        rate, cpu = _rate(None, 2, chosen.seconds)
        results["keys_per_second"] = round(rate)
        results["nodes"] = round(rate / SPEED)
        results["driver_cpu_ms_per_task"] = round(1000 * cpu * SHARD / rate, 2)
        # two tasks for each of the nodes
        rate, _ = _rate(SPEED / 2, 2 * NODES // PROCESSES, chosen.seconds)
        results["keys_per_second_of_100_nodes"] = round(rate)
        results["share_of_100_nodes"] = round(rate / NODES / SPEED, 3)
    if chosen.images:
        results["features"] = _features(chosen.images)
    print(json.dumps(results, indent=1))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _ray(workers: int) -> Ray:
    return Ray(kind="ray", address=None, workers=workers, threads=1)


def _tasks(count: int) -> Iterator[tuple]:
    for task in range(count):
        keys = [hashlib.sha256(f"{task} {key}".encode()).hexdigest() for key in range(SHARD)]
        shard = f"{keys[0][:32]}-{task:08x}"
        rows = [(shard, row, SHARD) for row in range(SHARD)]
        yield f"s3://bucket/thaw/frozen/{keys[1][:32]}", keys, rows


def _rate(speed: float | None, tasks_each: int, seconds: float) -> tuple[float, float]:
    """Return keys/s after a warm-up, and the driver's processor seconds for a second.

    Args:
        speed: of a task, in images/s.
        tasks_each: tasks sent to a process at a time.
        seconds: to measure.
    """
    ray_workers.WORKER_TASKS = tasks_each
    pool = WorkerPool(_ray(PROCESSES), Sleeper, b"", {"speed": speed}, {})
    tasks = list(_tasks(1000)) * 1000
    begin, cpu, done = 0.0, 0.0, -2 * tasks_each * PROCESSES  # the first tasks warm up
    for _ in pool.run(iter(tasks)):
        done += 1
        if done == 0:
            begin, cpu = time.perf_counter(), time.process_time()
        elif done > 0 and time.perf_counter() - begin > seconds:
            break
    spent, used = time.perf_counter() - begin, time.process_time() - cpu
    for worker in pool._workers:
        pool._ray.kill(worker)
    return done * SHARD / spent, used / spent


def _features(count: int) -> dict:
    """Return the driver's memory and what it sends while two workers compute features."""
    import psutil

    from tests.faults.servers import s3
    from tests.faults.test_ray import s3_environment
    from thaw.config.backbone import Backbone
    from thaw.models.backbones.applications import build_application, named_tensors
    from thaw.models.backbones.filling import filler
    from thaw.models.backbones.frozen import FrozenBackbone
    from thaw.storage.arrays import ArrayFolder
    from thaw.storage.store import Store

    backbone = Backbone(
        application="MobileNetV2",
        weights="random",
        digest=None,
        preprocessing="own",
        precision="bfloat16",
        batch_size=32,
    )
    shape = (32, 32, 3)
    memory = []

    class Watched(Store):
        """A store that notes memory and traffic at each shard."""

        def register(self, shard: str, keys: list[str]) -> None:
            super().register(shard, keys)
            if len(self._uploaded) % max(1, count // SHARD // 10) == 0:
                memory.append(round(psutil.Process().memory_info().rss / 2**20))

    with tempfile.TemporaryDirectory() as folder, s3() as remote:
        write_images(f"{folder}/images", count, shape)
        os.environ |= {**s3_environment(remote), "DVC_ROOT": folder}
        np.savez(f"{folder}/w.npz", **named_tensors(build_application("MobileNetV2", 32)))
        frozen = FrozenBackbone(backbone, f"{folder}/w.npz", shape, None)
        images = ArrayFolder(f"{folder}/images")
        store = Watched("frozen", frozen.recipe)
        started = time.perf_counter()
        sent = _count_sent()
        with filler(_ray(2), frozen, images) as fill:
            fill(store, images.keys, "features")
        spent = time.perf_counter() - started
        assert not store.missing(images.keys)
        sample = images.keys[: 2 * SHARD]
        os.environ["THAW_STORE"] = f"{folder}/local"
        local = frozen.store()
        with filler(Local(kind="local"), frozen, images) as fill:
            fill(local, sample, "features here")
        same = all((local[key] == store[key]).all() for key in sample)
    return {
        "images": count,
        "images_per_second": round(count / spent, 1),
        "driver_mib": memory,
        "sent_bytes_per_1000_images": round(1000 * sum(sent) / count),
        "same_as_local": same,
    }


def _count_sent() -> list[int]:
    """Return a list that gets the size of every task and result from now on."""
    run, sent = WorkerPool.run, []

    def counting(self: WorkerPool, tasks: Iterator[tuple]) -> Iterator[tuple]:
        for task, result in run(self, tasks):
            sent.append(len(pickle.dumps((task, result))))
            yield task, result

    WorkerPool.run = counting  # type: ignore[method-assign, assignment]
    return sent


def write_images(folder: str, count: int, shape: tuple[int, ...]) -> None:
    """Write images of noise as stage preprocess does."""
    from thaw.data.decoding import pixel_sha256
    from thaw.storage.arrays import write_array_folder

    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), "uint8")
    row_of = {pixel_sha256(image): row for row, image in enumerate(pixels)}
    write_array_folder(folder, row_of, lambda key: pixels[row_of[key]], {})


if __name__ == "__main__":
    from benchmarks.dispatch import main as run  # workers import Sleeper by the module's name

    run()
