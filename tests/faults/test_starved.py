"""Full disks, too little memory, missing permissions: one line, and the next run resumes."""

import functools
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.test_interrupted import COUNTS, RUN, artifacts_of
from tests.pipeline.conftest import Project, draw
from tests.pipeline.test_pipeline import overrides
from thaw.data.download.fetch import fetch

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux",
    reason="needs root on Linux, to mount a small file system",
)


@pytest.fixture
def mount():
    """Return a function that mounts a small empty file system, or changes its options."""
    mounted = []

    def mount(folder: Path, options: str) -> None:
        if folder in mounted:
            options = f"remount,{options}"
        else:
            folder.mkdir(exist_ok=True)
            mounted.append(folder)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        subprocess.run(command, check=True)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project", tmp_path / "store")
    draw(project.folder / "photos", COUNTS)
    project.dvc("exp", "run", *overrides(*RUN), "conf")
    return project


def message(output: str) -> str:
    assert "Traceback" not in output, output
    (line,) = [line for line in output.splitlines() if line.startswith("thaw: ")]
    return line


@needs_root
def test_a_full_disk_is_reported_and_the_next_run_resumes(project, mount, tmp_path):
    store = tmp_path / "store"
    mount(store, "size=700k")  # 180 images of 3 KB fit, but not all of their features of 1 KB
    stage = "features@vgg16"
    output = message(project.dvc("repro", stage, fails=True))
    assert re.match(
        rf"thaw: the disk has no space left for {store}.*Free some, or set THAW_STORE", output
    )
    assert "Run the same command again to continue." in output
    assert not list(store.glob("**/*.part")) and not list(project.folder.glob("**/*.part"))
    mount(store, "size=100m")
    before = len(list(store.glob("frozen/*/*.keys")))
    new, total = re.findall(r"(\d+) of (\d+) images are new", project.dvc("repro", stage))[-1]
    assert before > 0 and int(new) <= int(total) - before * 32
    undisturbed = Project(_folder(tmp_path / "other"), tmp_path / "another store")
    draw(undisturbed.folder / "photos", COUNTS)
    undisturbed.dvc("exp", "run", *overrides(*RUN), stage)
    assert artifacts_of(project) == artifacts_of(undisturbed)


@needs_root
def test_a_full_disk_during_a_download_is_reported_as_such(mount, tmp_path, monkeypatch):
    content = bytes(range(256)) * 8192
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "photos.zip").write_bytes(content)
    mount(tmp_path / "store", "size=512k")
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = ("photos.zip", hashlib.sha256(content).hexdigest())
        url = f"http://127.0.0.1:{server.server_port}/photos.zip"
        with pytest.raises(OSError, match="No space left on device"):
            fetch(*source, url)
        mount(tmp_path / "store", "size=10m")
        assert fetch(*source, url).read_bytes() == content
        server.shutdown()


@needs_root
def test_a_full_disk_leaves_no_incomplete_output(project, mount, tmp_path):
    data = project.folder / "data"
    kept = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
    (project.folder / "data").rename(project.folder / "before")
    mount(data, "size=120k")
    for name, content in kept.items():
        (data / name).write_bytes(content)
    output = message(project.dvc("repro", "preprocess", fails=True))
    assert output.startswith("thaw: the disk has no space left")
    assert not (data / "images").exists() and not list(data.glob("*.part"))


@needs_root
def test_a_read_only_store_is_reported(project, mount, tmp_path):
    store = tmp_path / "store"
    mount(store, "size=100m")
    project.dvc("repro", "preprocess")
    mount(store, "ro")
    output = message(project.dvc("repro", "features@vgg16", fails=True))
    assert output.startswith(f"thaw: {store}/frozen cannot be written")
    assert "set THAW_STORE to a folder of yours" in output
    mount(store, "rw")
    project.dvc("repro", "features@vgg16")


def test_too_little_memory_is_reported(project):
    large = overrides(*RUN, "dataset.image.size=1024")
    project.dvc("exp", "run", *large, "download")
    limit = 600 * 2**20  # 180 images take 566 MB, before they are written

    done = subprocess.run(
        [sys.executable, "-m", "thaw.runtime.stage", f"{ROOT}/stages/preprocess.py"],
        cwd=project.folder,
        env=project.environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
    )
    assert message(done.stderr).startswith("thaw: memory ran out. Lower batch_size or threads")
    line = json.loads((project.folder / "logs/runs.jsonl").read_text().splitlines()[-1])
    assert line["exit"] == done.returncode == 1
    assert not (project.folder / "data/images").exists()
    project.dvc("repro", "preprocess")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
