"""A team with a remote: which clone has, runs and transfers what."""

import json
from pathlib import Path

import pytest

from tests.faults import servers
from tests.faults.conftest import Clone

KINDS = ["folder", "ssh", "webdav", "s3", "http"]
PULLS = ("--pull", "--allow-missing")
ANOTHER = "subnets.logistic.C=0.5"
# without `best`, since the validation results of these small models do not change
DEPENDENTS = ["train_subnet@logistic", "evaluate@logistic"]


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def names_of(clone: Clone) -> set[str]:
    """Return the outputs of dvc.lock whose object is in the clone's cache."""
    return {out for out, md5 in clone.outs().items() if clone.object(md5).exists()}


@pytest.mark.parametrize("kind", KINDS)
def test_no_clone_runs_again_what_another_clone_has_run(kind, trained, tmp_path):
    with getattr(servers, kind)() as remote:
        first = trained.copy(tmp_path / "first")
        first.use(remote)
        assert "pushed" in first.dvc("push")

        second = Clone(tmp_path / "second", of=first)
        second.use(remote, url=False)
        second.dvc("pull")
        assert second.repro() == []
        assert second.ran(second.dvc("exp", "run", "-S", ANOTHER)) == DEPENDENTS
        (name,) = second.dvc("exp", "list", "--name-only").split()
        second.dvc("push")

        third = Clone(tmp_path / "third", of=first)
        third.use(remote, url=False)
        third.dvc("pull")
        if kind == "http":  # plain HTTP cannot list, so DVC keeps no run cache there (issue 9470)
            second.dvc("push", "--run-cache")  # skips the run cache without a message
            third.dvc("pull", "--run-cache")
            assert third.ran(third.dvc("exp", "run", "-S", ANOTHER)) == DEPENDENTS
        else:
            second.dvc("push", "--run-cache")
            third.dvc("pull", "--run-cache")
            output = third.dvc("exp", "run", "--pull", "-S", ANOTHER)
            # metrics are in Git, so DVC cannot fetch them from the remote
            assert third.ran(output) == DEPENDENTS[1:]
        assert third.outs()["models/logistic"] == second.outs()["models/logistic"]
        assert third.outs()["models/logistic"] != first.outs()["models/logistic"]

        # an experiment is shared by Git, its artifacts by the remote
        second.dvc("exp", "push", "origin", name)
        fourth = Clone(tmp_path / "fourth", of=first)
        fourth.use(remote, url=False)
        assert name in fourth.dvc("exp", "list", "origin")
        fourth.dvc("exp", "pull", "origin", name)
        fourth.dvc("exp", "apply", name)
        assert fourth.outs() == second.outs()
        assert (fourth.folder / "models/logistic/model.npz").exists()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_changing_a_subnet_downloads_only_the_features(kind, trained, tmp_path, capsys):
    with getattr(servers, kind)() as remote:
        first = trained.copy(tmp_path / "first")
        first.use(remote)
        first.dvc("push")
        whole = size(remote.folder)

        training = Clone(tmp_path / "training", of=first)
        training.use(remote, url=False)
        output = training.dvc("exp", "run", *PULLS, "-S", ANOTHER, "train_subnet@logistic")
        assert training.ran(output) == DEPENDENTS[:1]
        read = {"data/features/mobile", "data/split.csv"}
        assert names_of(training) - {"models/logistic"} == read
        distinct = {f.read_bytes() for f in (first.folder / "data/features/mobile").iterdir()}
        features = sum(map(len, distinct))
        fetched = size(training.cache / "files") - size(training.folder / "models")
        assert features < fetched < 1.2 * features + 20_000, (
            "only the listing and the split in addition"
        )

        # evaluation shows test images, so it reads the decoded images, but not data/raw; it counts
        # the backbone's parameters, so it reads the weights
        both = Clone(tmp_path / "both", of=first)
        both.use(remote, url=False)
        assert both.ran(both.dvc("exp", "run", *PULLS, "-S", ANOTHER)) == DEPENDENTS
        assert "data/raw" not in names_of(both)
        assert {"data/images", "data/weights/mobile.npz"} <= names_of(both)
        with capsys.disabled():
            print(
                f"\n{kind}: {whole:,} bytes in the remote; to train another subnet "
                f"{fetched:,} are downloaded ({features:,} are features); to evaluate it too, "
                f"{size(both.cache / 'files'):,} are in the cache afterwards"
            )


def test_the_best_model_is_selected_among_those_that_are_not_here(trained, tmp_path):
    with servers.folder() as remote:
        another = ("-S", "+subnet@subnets.other=logistic", "-S", "subnets.other.features=mobile")
        first = trained.copy(tmp_path / "first")
        first.use(remote)
        first.dvc("exp", "run", *another)
        first.commit("another")
        first.dvc("push")

        second = Clone(tmp_path / "second", of=first)
        second.use(remote, url=False)
        second.dvc("exp", "run", *PULLS, *another, "-S", ANOTHER)
        output = second.dvc("repro", *PULLS, "--force", "--single-item", "best")
        assert second.ran(output) == ["best"]
        best = json.loads((second.folder / "results/best.json").read_text())
        assert {row["model"] for row in best["ranking"]} == {"logistic", "other"}


def test_two_clones_may_push_at_the_same_time(trained, tmp_path):
    """Neither loses anything: an object is the same whichever clone pushes it."""
    with servers.s3() as remote:
        clones = [trained.copy(tmp_path / name) for name in ("first", "second")]
        for clone, other in zip(clones, ("0.5", "0.6"), strict=True):
            clone.use(remote)
            clone.dvc("exp", "run", "-S", f"subnets.logistic.C={other}")
            clone.commit("another")
        pushing = [clone.start("push", "--run-cache") for clone in clones]
        for process in pushing:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
        for number, clone in enumerate(clones):
            fresh = Clone(tmp_path / f"fresh{number}", of=clone)
            fresh.use(remote, url=False)
            fresh.dvc("pull")
            assert fresh.repro() == []
            assert fresh.outs() == clone.outs()


def test_two_runs_in_one_clone_do_no_damage(trained, tmp_path):
    """Each runs, or ends with a message of DVC: the repository is locked, or the queue lost one.

    The next run succeeds.
    """
    clone = trained.copy(tmp_path / "clone")
    running = [clone.start("exp", "run", "-S", f"subnets.logistic.C={c}") for c in ("0.5", "0.6")]
    done = 0
    for process in running:
        output, _ = process.communicate(timeout=300)
        assert "Traceback" not in output
        assert process.returncode == 0 or "ERROR: " in output
        done += process.returncode == 0
    # whatever happened, the next run succeeds and the cache is intact
    clone.dvc("exp", "run", "-S", "subnets.logistic.C=0.7")
    assert clone.repro() == []
    assert "up to date" in clone.dvc("status")
    listed = clone.dvc("exp", "list", "--name-only").split()
    assert len(listed) >= 1 + done
