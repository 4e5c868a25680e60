"""Kill and interrupt the pipeline in every stage; the artifacts are the same bytes as without.

THAW_FAULT_SEED changes the times of the kills.
"""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.pipeline.conftest import Project, draw
from tests.pipeline.test_pipeline import overrides

SEED = int(os.environ.get("THAW_FAULT_SEED", "0"))
RUN = [
    "dataset=folder",
    "dataset.source.path=photos",
    "dataset.image.size=32",
    "backbones.vgg16.weights=random",
    "backbones.vgg16.batch_size=4",  # so that a shard of 8 batches is soon written
    "+network@networks.small_cnn=small_cnn",
    "networks.small_cnn.epochs=60",
    "networks.small_cnn.patience=null",
    "subnets.fc256.epochs=60",
    "subnets.fc256.patience=40",
    "subnets.gap256.epochs=3",
    "finetunes.finetuned.epochs=12",
    "finetunes.finetuned.augmented_views=3",
    "finetunes.finetuned.augmentation.shear=0.1",
    "evaluate.bootstrap=100",
]
COUNTS = {"disc": 90, "square": 90}
TRAININGS = ["train_network@small_cnn", "train_subnet@fc256", "finetune@finetuned"]


class Repro:
    """`dvc ARGUMENTS` in its own session, with its output line by line."""

    def __init__(self, project: Project, *arguments: str):
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=project.folder,
            env={**project.environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, condition: Callable[[str], bool], seconds: float = 300) -> bool:
        """Wait until the output fulfils a condition. Return False if the command ended before."""
        deadline = time.monotonic() + seconds
        while not condition(self.output):
            if self.process.poll() is not None:
                self._reader.join()
                return condition(self.output)
            assert time.monotonic() < deadline, self.output
            time.sleep(0.01)
        return True

    def end(self, number: int) -> float:
        """Send a signal to all its processes, and return the seconds until they have ended."""
        started = time.monotonic()
        with contextlib.suppress(ProcessLookupError):  # it has already ended
            os.killpg(self.process.pid, number)
        self.process.wait(60)
        took = time.monotonic() - started
        self._reader.join()
        return took

    def stage(self) -> int:
        """Return the id of the running stage's process, the deepest one."""
        pid = self.process.pid
        while below := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(below[0])
        return pid


def artifacts_of(project: Project) -> dict[str, str]:
    """Return the MD5 of every artifact in dvc.lock, also of those that DVC does not cache."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    return {
        out["path"]: out["md5"]
        for stage in lock["stages"].values()
        for out in stage.get("outs", ())
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Return a function that makes a project with an empty store and a folder of photographs."""

    def make(name: str) -> Project:
        folder = tmp_path_factory.mktemp(name)
        (folder / "project").mkdir()
        project = Project(folder / "project", folder / "store")
        draw(project.folder / "photos", COUNTS)
        return project

    return make


@pytest.fixture(scope="module")
def undisturbed(fresh):
    """Return the artifacts of an uninterrupted run, and the seconds of its stages."""
    project = fresh("undisturbed")
    output = project.dvc("exp", "run", *overrides(*RUN))
    log = [json.loads(line) for line in (project.folder / "logs/runs.jsonl").open()]
    names = [stage for stage in project.ran(output) if not stage.startswith("scan")]
    seconds = {line["stage"].replace(" ", "@"): line["seconds"] for line in log}
    return artifacts_of(project), {name: seconds[name] for name in names}


def test_artifacts_are_the_same_bytes_after_kills_in_every_stage(fresh, undisturbed):
    artifacts, seconds = undisturbed
    chance = random.Random(SEED)
    project = fresh("killed")
    project.dvc("exp", "run", *overrides(*RUN), "conf")
    kills = 0
    stages = {stage: took for stage, took in seconds.items() if stage != "conf"}  # has run
    for stage, took in stages.items():
        for _ in range(2):
            run = Repro(project, "repro", stage)
            marker = f"Running stage '{stage}'"
            if not run.wait_for(lambda output, marker=marker: marker in output):
                assert run.process.returncode == 0, run.output
                break  # it ended before the kill
            time.sleep(chance.uniform(0, took))
            if chance.random() < 0.5:
                run.end(signal.SIGKILL)
            else:  # only the stage, as the kernel does when memory is short
                os.kill(run.stage(), signal.SIGKILL)
                run.process.wait(60)
            kills += 1
    assert kills > len(stages)
    output = project.dvc("repro")
    assert artifacts_of(project) == artifacts
    assert not list(project.folder.glob("**/*.part")), output
    print(f"{kills} kills in {len(stages)} stages")


@pytest.mark.parametrize("stage", TRAININGS)
def test_a_killed_training_resumes_from_its_last_checkpoint(fresh, undisturbed, stage):
    artifacts, _ = undisturbed
    project = fresh("training")
    project.dvc("exp", "run", *overrides(*RUN), "conf")
    run = Repro(project, "repro", stage)
    assert run.wait_for(lambda output: _epoch(output, stage) > 6 and _has_checkpoint(project))
    run.end(signal.SIGKILL)
    saved = _saved_epoch(project)
    output = project.dvc("repro", stage)
    resumed = int(re.search(r"resuming the interrupted training after epoch (\d+)", output)[1])
    print(f"killed in epoch {_epoch(run.output, stage)}, resumed after epoch {resumed}")
    assert 1 <= resumed == saved
    assert _first_epoch(output, stage) == saved + 1
    out = f"models/{stage.split('@')[1]}"
    assert artifacts_of(project)[out] == artifacts[out]


def test_a_killed_extraction_keeps_its_finished_images(fresh, undisturbed):
    artifacts, _ = undisturbed
    project = fresh("extraction")
    project.dvc("exp", "run", *overrides(*RUN), "conf")
    run = Repro(project, "repro", "features@vgg16")
    store = Path(project.environment["THAW_STORE"])
    assert run.wait_for(lambda _: len(list(store.glob("frozen/*/*.keys"))) > 1)
    run.end(signal.SIGKILL)
    new, total = re.findall(
        r"(\d+) of (\d+) images are new", project.dvc("repro", "features@vgg16")
    )[-1]
    assert int(new) <= int(total) - 2 * 32, "two shards of 8 batches of 4 images were on disk"
    out = "data/features/vgg16"
    assert artifacts_of(project)[out] == artifacts[out]


@pytest.mark.parametrize("changed", ["subnets.fc256.optimizer.learning_rate=0.002", "seed=1"])
def test_other_parameters_never_resume_from_a_checkpoint(fresh, changed):
    project = fresh("stale")
    project.dvc("exp", "run", *overrides(*RUN), "conf")
    stage = "train_subnet@fc256"
    run = Repro(project, "repro", stage)
    assert run.wait_for(lambda output: _epoch(output, stage) > 3 and _has_checkpoint(project))
    run.end(signal.SIGKILL)
    output = project.dvc("exp", "run", *overrides(*RUN, changed), stage)
    assert "resuming" not in output


@pytest.mark.parametrize("stage", ["features@vgg16", *TRAININGS])
def test_ctrl_c_ends_a_run_within_two_seconds_with_one_line(fresh, undisturbed, stage):
    project = fresh("interrupted")
    project.dvc("exp", "run", *overrides(*RUN), "conf")
    run = Repro(project, "repro", stage)
    store = Path(project.environment["THAW_STORE"])
    if stage in TRAININGS:
        assert run.wait_for(lambda output: _epoch(output, stage) > 1 and _has_checkpoint(project))
    else:
        assert run.wait_for(lambda _: list(store.glob("frozen/*/*.keys")))
    took = run.end(signal.SIGINT)
    print(f"{stage}: {took:.2f} s")
    assert "Traceback" not in run.output
    (line,) = [line for line in run.output.splitlines() if line.startswith("thaw: ")]
    assert re.fullmatch(
        r"thaw: interrupted\. Kept: [\d,]+ of [\d,]+ .+\. Run the same command again to continue\.",
        line,
    )
    assert took < 2
    assert not list((project.folder / "models").glob("*")) or stage == "finetune@finetuned"


def _epoch(output: str, stage: str) -> int:
    """Return the last epoch that a training has begun."""
    output = output.partition(f"Running stage '{stage}'")[2]
    return max((int(n) for n in re.findall(r"Epoch (\d+)/", output)), default=0)


def _first_epoch(output: str, stage: str) -> int:
    """Return the first epoch that a training printed."""
    output = output.partition(f"Running stage '{stage}'")[2]
    return int(re.search(r"Epoch (\d+)/", output)[1])


def _has_checkpoint(project: Project) -> bool:
    return bool(_checkpoints(project))


def _checkpoints(project: Project) -> list[Path]:
    return list(Path(project.environment["THAW_STORE"]).glob("training/*/state.npz"))


def _saved_epoch(project: Project) -> int:
    """Return the last epoch in a project's checkpoint.

    What a killed process printed is no measure of it: a loaded machine prints an epoch late.
    """
    (checkpoint,) = _checkpoints(project)
    with np.load(checkpoint) as file:
        return json.loads(str(file["progress"]))["epoch"]
