"""Expected durations of stages, from a real measurement of VGG16 on small images."""

import json
import zipfile
from pathlib import Path

import pytest
from dvc.utils.serialize import dump_yaml

from tests.pipeline.conftest import draw
from tests.thaw.report.conftest import parameters
from thaw.cli.durations import Duration, duration, estimator, split_counts, total


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def project(tmp_path, monkeypatch, cache) -> dict:
    """Return the parameters of a project of 30 images that has not run, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    draw(tmp_path / "photos", {"disc": 20, "square": 10})
    values = parameters(
        "models=vgg16",
        "dataset=folder",
        "dataset.source.path=photos",
        "dataset.image.size=32",
        "+network@networks.cnn=small_cnn",
    )
    dump_yaml("params.yaml", values)
    return values


def test_a_backbone_is_measured_once_and_its_stages_take_longer_for_more_images(project, capsys):
    few = estimator(project)
    assert 6 < few("features@vgg16").seconds < 20
    assert "measuring the speed of vgg16" in capsys.readouterr().out
    many = estimator(project, split_counts(1_000_000, project))
    for stage in ("features@vgg16", "finetune@finetuned", "evaluate@finetuned", "preprocess"):
        assert many(stage).seconds > 100 * few(stage).seconds, stage
    assert "measuring" not in capsys.readouterr().out
    network = estimator(project)("train_network@cnn")
    assert str(network) == "not known"
    assert total([network, Duration(61.0)]) == "more than 1 min (1 of 2 stages not known)"


def test_a_stage_that_has_run_takes_as_long_as_the_last_time(project):
    Path("logs").mkdir()
    runs = [("features vgg16", 90.0, 0), ("features vgg16", 75.0, 0), ("features vgg16", 1.0, 130)]
    with open("logs/runs.jsonl", "w") as log:
        for stage, seconds, code in runs:
            line = {"stage": stage, "started": "2026-11-28", "seconds": seconds, "exit": code}
            log.write(json.dumps(line) + "\n")
    assert str(estimator(project)("features@vgg16")) == "about 1 min 20 s, as last time"


def test_images_are_counted_in_archives_and_not_known_if_they_are_missing(project):
    in_folder = estimator(project)("features@vgg16")
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for file in Path("photos").rglob("*.png"):
            archive.write(file)
    project["dataset"]["source"]["path"] = "photos.zip"
    assert estimator(project)("features@vgg16") == in_folder
    project["dataset"]["source"]["path"] = "nowhere"
    assert estimator(project)("features@vgg16") == Duration(None)


def test_durations_are_rounded_to_what_an_estimate_can_promise():
    shown = {0.2: "1 s", 44.6: "45 s", 61: "1 min", 76: "1 min 20 s", 599: "10 min", 3000: "50 min"}
    assert {seconds: duration(seconds) for seconds in shown} == shown
    assert duration(9000) == "2.5 h"
