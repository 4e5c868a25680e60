"""The pipeline killed and interrupted in every stage, to the same bytes as if nothing had happened.
THAW_FAULT_SEED chooses other moments."""

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

import pytest
import yaml

from tests.pipeline.conftest import Project, draw
from tests.pipeline.test_pipeline import overrides

SEED = int(os.environ.get("THAW_FAULT_SEED", "0"))
WHOLE = [
    "dataset=folder",
    "dataset.source.path=photos",
    "dataset.image.size=32",
    "backbones.vgg16.weights=random",
    "backbones.vgg16.batch_size=4",  # so that a pass, and 8 in a shard, are soon done
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
    """`dvc ARGUMENTS` in a session of its own, heard line by line."""

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
        self._reader = threading.Thread(target=self._hear, daemon=True)
        self._reader.start()

    def _hear(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def wait_for(self, there: Callable[[str], bool], seconds: float = 300) -> bool:
        """Until what it said fulfils a condition; false if it ended before."""
        deadline = time.monotonic() + seconds
        while not there(self.said):
            if self.process.poll() is not None:
                self._reader.join()
                return there(self.said)
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)
        return True

    def end(self, number: int) -> float:
        """Send a signal to all its processes; the seconds until they are gone."""
        started = time.monotonic()
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            os.killpg(self.process.pid, number)
        self.process.wait(60)
        took = time.monotonic() - started
        self._reader.join()
        return took

    def stage(self) -> int:
        """The process of the stage that runs: the deepest."""
        pid = self.process.pid
        while below := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(below[0])
        return pid


def made(project: Project) -> dict[str, str]:
    """The digest of every artifact that dvc.lock records, those outside DVC's cache too."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    return {
        out["path"]: out["md5"]
        for stage in lock["stages"].values()
        for out in stage.get("outs", ())
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A function that makes a project with its own, empty store, and its folder of photographs."""

    def make(name: str) -> Project:
        folder = tmp_path_factory.mktemp(name)
        (folder / "project").mkdir()
        project = Project(folder / "project", folder / "store")
        draw(project.folder / "photos", COUNTS)
        return project

    return make


@pytest.fixture(scope="module")
def undisturbed(fresh):
    """What a run that nothing interrupts makes, and the seconds that its stages take."""
    project = fresh("undisturbed")
    said = project.dvc("exp", "run", *overrides(*WHOLE))
    log = [json.loads(line) for line in (project.folder / "logs/runs.jsonl").open()]
    names = [stage for stage in project.ran(said) if not stage.startswith("scan")]
    seconds = {line["stage"].replace(" ", "@"): line["seconds"] for line in log}
    return made(project), {name: seconds[name] for name in names}


def test_killed_in_every_stage_the_artifacts_are_the_same_bytes(fresh, undisturbed):
    artifacts, seconds = undisturbed
    moments = random.Random(SEED)
    project = fresh("killed")
    project.dvc("exp", "run", *overrides(*WHOLE), "conf")
    kills = 0
    stages = {stage: took for stage, took in seconds.items() if stage != "conf"}  # has run
    for stage, took in stages.items():
        for _ in range(2):
            run = Repro(project, "repro", stage)
            marker = f"Running stage '{stage}'"
            if not run.wait_for(lambda said, marker=marker: marker in said):
                assert run.process.returncode == 0, run.said
                break  # done before the kill came
            time.sleep(moments.uniform(0, took))
            if moments.random() < 0.5:
                run.end(signal.SIGKILL)
            else:  # the stage alone, as the kernel does where memory is short
                os.kill(run.stage(), signal.SIGKILL)
                run.process.wait(60)
            kills += 1
    assert kills > len(stages)
    said = project.dvc("repro")
    assert made(project) == artifacts
    assert not list(project.folder.glob("**/*.part")), said
    print(f"{kills} kills in {len(stages)} stages")


@pytest.mark.parametrize("stage", TRAININGS)
def test_a_killed_training_goes_on_from_its_last_epochs(fresh, undisturbed, stage):
    artifacts, _ = undisturbed
    project = fresh("training")
    project.dvc("exp", "run", *overrides(*WHOLE), "conf")
    run = Repro(project, "repro", stage)
    assert run.wait_for(lambda said: _epoch(said, stage) > 6 and _kept(project))
    run.end(signal.SIGKILL)
    before = _epoch(run.said, stage)
    said = project.dvc("repro", stage)
    went_on = int(re.search(r"going on after epoch (\d+)", said)[1])
    print(f"killed in epoch {before}, went on after {went_on}")
    assert 1 <= went_on < before
    out = f"models/{stage.split('@')[1]}"
    assert made(project)[out] == artifacts[out]


def test_a_killed_extraction_goes_on_from_its_last_images(fresh, undisturbed):
    artifacts, _ = undisturbed
    project = fresh("extraction")
    project.dvc("exp", "run", *overrides(*WHOLE), "conf")
    run = Repro(project, "repro", "features@vgg16")
    store = Path(project.environment["THAW_STORE"])
    assert run.wait_for(lambda _: len(list(store.glob("frozen/*/*.keys"))) > 1)
    run.end(signal.SIGKILL)
    new, total = re.findall(
        r"(\d+) of (\d+) images are new", project.dvc("repro", "features@vgg16")
    )[-1]
    assert int(new) <= int(total) - 2 * 32, "two shards of 8 passes of 4 images were on disk"
    out = "data/features/vgg16"
    assert made(project)[out] == artifacts[out]


@pytest.mark.parametrize("changed", ["subnets.fc256.learning_rate=0.002", "seed=1"])
def test_other_parameters_never_go_on_from_a_kept_state(fresh, changed):
    project = fresh("stale")
    project.dvc("exp", "run", *overrides(*WHOLE), "conf")
    stage = "train_subnet@fc256"
    run = Repro(project, "repro", stage)
    assert run.wait_for(lambda said: _epoch(said, stage) > 3 and _kept(project))
    run.end(signal.SIGKILL)
    said = project.dvc("exp", "run", *overrides(*WHOLE, changed), stage)
    assert "going on" not in said


@pytest.mark.parametrize("stage", ["features@vgg16", *TRAININGS])
def test_ctrl_c_is_one_line_and_two_seconds(fresh, undisturbed, stage):
    project = fresh("interrupted")
    project.dvc("exp", "run", *overrides(*WHOLE), "conf")
    run = Repro(project, "repro", stage)
    store = Path(project.environment["THAW_STORE"])
    if stage in TRAININGS:
        assert run.wait_for(lambda said: _epoch(said, stage) > 1 and _kept(project))
    else:
        assert run.wait_for(lambda _: list(store.glob("frozen/*/*.keys")))
    took = run.end(signal.SIGINT)
    print(f"{stage}: {took:.2f} s")
    assert "Traceback" not in run.said
    (line,) = [line for line in run.said.splitlines() if line.startswith("thaw: ")]
    assert re.fullmatch(
        r"thaw: interrupted\. Kept: [\d,]+ of [\d,]+ .+\. The same command goes on from there\.",
        line,
    )
    assert took < 2
    assert not list((project.folder / "models").glob("*")) or stage == "finetune@finetuned"


def _epoch(said: str, stage: str) -> int:
    """The last epoch that a training says it began."""
    said = said.partition(f"Running stage '{stage}'")[2]
    return max((int(n) for n in re.findall(r"Epoch (\d+)/", said)), default=0)


def _kept(project: Project) -> bool:
    return bool(list(Path(project.environment["THAW_STORE"]).glob("training/*/state.npz")))
