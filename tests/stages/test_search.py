"""The stage `search`: reproducible, resumable, and blind to validation and test images."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stages import search, train_subnet
from tests.fixtures.training import ROOT, swap_held_out_labels, term
from tests.stages.test_training import BACKBONE, LOGISTIC, TOP, record
from thaw.config.subnet import validate_head
from thaw.storage.arrays import ArrayFolder, write_array_folder
from thaw.storage.store import store_root

DENSE = {**TOP, "losses": {"main": term()}, "epochs": 6, "keep": "best", "patience": 3}
TUNED = {
    "kind": "tuned",
    "features": "base",
    "search": {"trials": 6, "folds": 3, "seconds": None},
    "heads": {"logistic": LOGISTIC, "dense": DENSE},
    "space": {
        "logistic": {"C": {"low": 0.001, "high": 10.0, "log": True}},
        "dense": {
            "units": [[], [16]],
            "optimizer": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}},
        },
    },
}
COUNT = 48  # images; two thirds are for training


@pytest.fixture
def searched(workplace, monkeypatch, tmp_path):
    """Make a project whose subnet `mine` is a search on pixels as features, with its own store."""

    def make(**changes) -> None:
        subnets = {"mine": {**TUNED, **changes}}
        workplace(8, 3, 2, count=COUNT, subnets=subnets, backbones={"base": BACKBONE})
        monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
        pixels, random = ArrayFolder("data/images"), np.random.default_rng(1)
        noisy = {key: pixels[key] / 99 + random.normal(size=pixels.shape) for key in pixels.keys}
        recipe = {"weights": "random"}
        write_array_folder("data/features/base", pixels.keys, noisy.__getitem__, recipe)

    return make


def outputs() -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in [Path("data/searches/mine.yaml"), *Path("results/searches/mine").iterdir()]
    }


def run(afresh) -> dict[str, bytes]:
    afresh()
    search.main("mine")
    return outputs()


@pytest.fixture
def first(searched, afresh, once) -> dict[str, bytes]:
    """Return the outputs of a search in a new project. It is done once, and copied later."""
    searched()
    once("search", lambda: run(afresh), "data/searches", "results/searches", "store")
    return outputs()


def test_the_winner_is_trained_and_recorded_like_any_subnet(first):
    assert set(first) == {
        "data/searches/mine.yaml",
        "results/searches/mine/trials.csv",
        "results/searches/mine/importance.csv",
    }
    winner = yaml.safe_load(first["data/searches/mine.yaml"])
    train_subnet.main("mine")
    settings = record("mine")["settings"]
    assert settings == {**validate_head(winner, "winner").model_dump(), "seed": 0}
    assert settings["kind"] in ("dense", "logistic")
    trials = pd.read_csv("results/searches/mine/trials.csv")
    best = trials.loc[trials[trials["state"] == "complete"]["log_loss"].idxmin()]
    assert best["model"] == settings["kind"]
    assert trials["model"].tolist()[:2] == ["dense", "logistic"] and len(trials) == 6


def test_a_search_gives_the_same_bytes_with_an_empty_and_with_a_full_store(
    first, afresh, monkeypatch, tmp_path
):
    assert run(afresh) == first, "replayed from the store"
    for score in (store_root() / "search").iterdir():
        score.write_text("[0.1]")
    assert run(afresh) == first, "damaged scores are computed again"
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "another store"))
    assert run(afresh) == first


def test_more_trials_continue_a_search(searched, first, afresh):
    six = pd.read_csv("results/searches/mine/trials.csv")
    searched(search={**TUNED["search"], "trials": 8})
    run(afresh)
    eight = pd.read_csv("results/searches/mine/trials.csv")
    assert len(eight) == 8 and eight[six.columns].head(6).equals(six)


def test_validation_and_test_images_have_no_part_in_a_search(first, afresh):
    rows = swap_held_out_labels()
    features = ArrayFolder("data/features/base")
    used = set(rows.loc[rows["split"] == "train", "pixel_sha256"])
    changed = {key: features[key] + (key not in used) for key in features.keys}
    write_array_folder("data/features/base", changed, changed.__getitem__, {"weights": "random"})
    for score in (store_root() / "search").iterdir():
        score.unlink()
    assert run(afresh) == first


def test_a_killed_search_resumes_and_gives_the_same_bytes(first, tmp_path):
    for name in first:
        Path(name).unlink()
    command = [sys.executable, "-c", "from stages import search; search.main('mine')"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "THAW_STORE": str(tmp_path / "resumed"), "PYTHONPATH": path}

    def start() -> subprocess.Popen:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    killed = start()
    while not killed.stdout.readline().startswith("trial 3"):
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not Path("data/searches/mine.yaml").exists()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "resumed/search").glob("*.json")}
    assert 8 <= len(done) < 18, "four trials of two or three folds"
    assert start().wait() == 0
    assert outputs() == first
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())


def test_a_search_of_logistic_heads_starts_no_tensorflow(searched):
    heads, space = ({"logistic": TUNED[key]["logistic"]} for key in ("heads", "space"))
    searched(heads=heads, space=space)
    code = (
        "import sys; from stages import search; search.main('mine'); "
        "assert 'tensorflow' not in sys.modules"
    )
    path = {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **path}, check=True)
