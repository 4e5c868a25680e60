"""Measure decoding of large images: `python -m benchmarks.decoding ARCHIVE [--project FOLDER]`.

ARCHIVE is the archive of cats and dogs (cats_and_dogs_filtered.zip). Its photographs are enlarged
to 12 megapixels, with noise, and decoded to 224 px in three ways in turn:

- `decode`: thaw.data.decoding.decode;
- `full`: the same without reducing, as before November 2026;
- `bare`: Pillow opens and loads the file, and does not resize it.

Then stage `preprocess` runs on a folder of them with threads and, for comparison, processes decode
the same files; and on photographs of 50 megapixels, to measure its memory. With the folder of a
project, the probabilities of one of its models after `decode` and `full` are compared.

Prints the results and writes benchmarks/results/decoding.json. Times are CPU time, which other work
on the machine disturbs least.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import yaml
from PIL import Image as Pillow

from benchmarks.clone import ROOT
from thaw.config.dataset import Image
from thaw.data.decoding import decode
from thaw.storage.tables import SOURCE_COLUMNS

IMAGE = Image(size=224, resampling="bicubic", colour="rgb")
MEGAPIXELS_12, MEGAPIXELS_50 = (4000, 3000), (8660, 5774)  # width and height
NOISE = 6  # largest difference of a value, as from a sensor
KINDS: dict[str, tuple[str, dict]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "JPEG, progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "PNG": ("PNG", {"compress_level": 3}),
    "WebP": ("WEBP", {"quality": 85, "method": 0}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, uncompressed": ("TIFF", {}),
}
# Photographs of 50 megapixels; memory grows with the threads, not with their number
LARGE = {"JPEG": 100, "JPEG, progressive": 10, "PNG": 10}
RESULTS = ROOT / "benchmarks/results/decoding.json"
STAGE = """
from stages import preprocess
preprocess.main()
print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""  # ru_maxrss would contain the memory of the process that starts it


def main() -> None:
    """Measure, print, and write benchmarks/results/decoding.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--images", type=int, default=100, help="for preprocess and models")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--project", type=Path, help="a folder with trained models")
    parser.add_argument("--model", default="logistic", help="its name in the project")
    chosen = parser.parse_args()
    result: dict = {"image": IMAGE.record(), "cpus": os.cpu_count()}
    result["cpu_milliseconds"] = _speeds(chosen.archive, chosen.rounds)
    print(json.dumps(result, indent=1), flush=True)
    jpeg = [_encode(p, "JPEG") for p in _enlarged(chosen.archive, chosen.images, MEGAPIXELS_12)]
    result["preprocess"] = _preprocess(jpeg)
    print(json.dumps(result["preprocess"], indent=1), flush=True)
    result["memory"] = {kind: _memory(chosen.archive, kind, count) for kind, count in LARGE.items()}
    print(json.dumps(result["memory"], indent=1), flush=True)
    if chosen.project:
        result["probabilities"] = _probabilities(chosen.project, chosen.model, jpeg)
        print(json.dumps(result["probabilities"], indent=1))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def _photographs(archive: Path, count: int) -> Iterator[bytes]:
    with zipfile.ZipFile(archive) as opened:
        names = sorted(n for n in opened.namelist() if "validation" in n and n.endswith(".jpg"))
        for number in np.random.default_rng(0).permutation(len(names))[:count]:
            yield opened.read(names[number])


def _enlarged(archive: Path, count: int, size: tuple[int, int]) -> Iterator[Pillow.Image]:
    random = np.random.default_rng(0)
    noise = random.integers(-NOISE, NOISE + 1, (max(size), max(size), 3), dtype="int8")
    for content in _photographs(archive, count):
        small = Pillow.open(io.BytesIO(content)).convert("RGB")
        shape = size if small.width >= small.height else size[::-1]
        smooth = np.asarray(small.resize(shape, Pillow.Resampling.LANCZOS), "int16")
        noisy = smooth + noise[: shape[1], : shape[0]]
        yield Pillow.fromarray(noisy.clip(0, 255).astype("uint8"))


def _encode(picture: Pillow.Image, kind: str) -> bytes:
    name, options = KINDS[kind]
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()


def _full(content: bytes) -> np.ndarray:
    with mock.patch("thaw.data.decoding.draft", return_value=None):
        return decode(content, IMAGE)


def _reduced(content: bytes) -> np.ndarray:
    return decode(content, IMAGE)


def _bare(content: bytes) -> None:
    with Pillow.open(io.BytesIO(content)) as picture:
        picture.load()


def _speeds(archive: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Return CPU milliseconds for each kind of file, and ratios of speeds."""
    pictures = list(_enlarged(archive, 4, MEGAPIXELS_12))
    files = {kind: [_encode(picture, kind) for picture in pictures] for kind in KINDS}
    files["JPEG, small"] = list(_photographs(archive, 100))
    ways: dict[str, Callable] = {"decode": _reduced, "full": _full, "bare": _bare}
    table = {}
    for kind, contents in files.items():
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                started = time.thread_time()
                for content in contents:
                    way(content)
                seconds[name].append((time.thread_time() - started) / len(contents))
        cost = {name: statistics.median(each) * 1000 for name, each in seconds.items()}
        table[kind] = {name: round(each, 2) for name, each in cost.items()} | {
            "times_as_fast_as_full": round(cost["full"] / cost["decode"], 2),
            "share_of_bare_speed": round(cost["bare"] / cost["decode"], 2),
        }
    return table


def _cpu_seconds() -> float:
    """Return the CPU time of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _stage(files: list[bytes]) -> tuple[float, float, float]:
    """Run stage preprocess in an empty folder. Return its seconds, CPU seconds and peak MB."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "data/raw"
        raw.mkdir(parents=True)
        lines = [",".join(SOURCE_COLUMNS)]
        for number, content in enumerate(files):
            # each file has an end of its own, so that none is taken for another
            (raw / f"{number}.img").write_bytes(content + number.to_bytes(4, "big"))
            row = {"path": f"{number}.img", "label": "ab"[number % 2]}
            lines.append(",".join(row.get(column, "") for column in SOURCE_COLUMNS))
        (raw / "index.csv").write_text("\n".join(lines) + "\n")
        section = {"image": IMAGE.model_dump(), "on_bad_image": "stop"}
        (Path(folder) / "params.yaml").write_text(yaml.safe_dump({"dataset": section}))
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "THAW_STORE": str(Path(folder) / "store"),
        }
        started, before = time.perf_counter(), _cpu_seconds()
        command = [sys.executable, "-c", STAGE]
        output = subprocess.run(
            command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        seconds = time.perf_counter() - started
        peak = int(output.split("VmHWM:")[1].split()[0]) / 1024
        return seconds, _cpu_seconds() - before, peak


def _preprocess(files: list[bytes]) -> dict[str, float]:
    """Return the cost of stage preprocess with its threads, and of decoding in processes."""
    seconds, cpu, memory = _stage(files)
    _, start, _ = _stage(files[:1])
    before = _cpu_seconds()
    started = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_reduced, files))
    processes = time.perf_counter() - started
    return {
        "images": len(files),
        "seconds": round(seconds, 2),
        "seconds_of_processes": round(processes, 2),
        "cpu_milliseconds": round(1000 * (cpu - start) / (len(files) - 1), 1),
        "cpu_milliseconds_of_processes": round(1000 * (_cpu_seconds() - before) / len(files), 1),
        "cpu_seconds_of_start": round(start, 2),
        "peak_mb": round(memory),
    }


def _memory(archive: Path, kind: str, count: int) -> dict[str, int]:
    """Return the peak MB of stage preprocess on photographs of 50 megapixels."""
    several = [_encode(picture, kind) for picture in _enlarged(archive, 2, MEGAPIXELS_50)]
    return {"images": count, "peak_mb": round(_stage(several * (count // 2))[2])}


def _probabilities(project: Path, name: str, files: list[bytes]) -> dict[str, str | float]:
    """Return the differences of a model's probabilities from those after full decoding.

    For comparison, 1 is added to or subtracted from random values, so that the pixels differ by as
    much on average.
    """
    import thaw

    full, reduced = (np.stack([way(content) for content in files]) for way in (_full, _reduced))
    difference = np.abs(reduced.astype(int) - full).mean()
    random = np.random.default_rng(0)
    ones = (random.random(full.shape) < difference) * random.choice([-1, 1], full.shape)
    noisy = (full + ones).clip(0, 255).astype("uint8")
    with contextlib.chdir(project):
        model = thaw.load_model(name)
        expected, actual, control = (
            model.predict(list(pixels)).filter(like="probability of").to_numpy()
            for pixels in (full, reduced, noisy)
        )
    return {
        "model": name,
        "images": len(files),
        "pixels_mean": round(float(difference), 4),
        "mean": round(float(np.abs(actual - expected).mean()), 5),
        "max": round(float(np.abs(actual - expected).max()), 4),
        "mean_of_noise": round(float(np.abs(control - expected).mean()), 5),
        "max_of_noise": round(float(np.abs(control - expected).max()), 4),
    }


if __name__ == "__main__":
    main()
