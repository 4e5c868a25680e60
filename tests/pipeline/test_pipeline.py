"""The real pipeline on small generated pictures, driven as a user drives it."""

import contextlib
import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from dvc.utils.serialize import dump_yaml

from tests.pipeline.conftest import Project, draw
from thaw.composition import compose

SMALL = [
    "dataset=folder",
    "dataset.source.path=photos",
    "dataset.image.size=32",
    "backbones.vgg16.weights=random",
    "subnets.fc256.epochs=3",
    "subnets.gap256.epochs=3",
    "finetunes.finetuned.epochs=2",
    "evaluate.bootstrap=100",
]
"""VGG16 with random weights at its smallest size: every stage is real, and quick."""
WALK = [override for override in SMALL if "gap256" not in override] + ["~subnet@subnets.gap256"]
"""Without one of the two dense heads, which have the same stages."""


def overrides(*chosen: str) -> list[str]:
    return [argument for override in chosen for argument in ("-S", override)]


def check_code_dependencies(project: Project, said: str) -> None:
    """Assert that each stage of a run depends on exactly the packages of ours that it imported.

    Args:
        said: what the run wrote with PYTHONPROFILEIMPORTTIME=1.
    """
    described = yaml.safe_load((project.folder / "dvc.yaml").read_text())
    (code,) = [part["code"] for part in described["vars"]]
    for run in said.split("Running stage '")[1:]:
        name = run.split("'")[0].split("@")[0]
        stage = described["stages"][name].get("do", described["stages"][name])
        listed = {dep[7:-1] for dep in stage["deps"] if dep.startswith("${code.")}
        if name in ("download", "train_network"):  # the one module that a parameter selects
            listed |= {"sources" if name == "download" else "networks"}
        modules = set(re.findall(r"\| +(thaw\.[a-z_]+)", run))
        imported = {module.split(".")[1] for module in modules} - {"cli", "api"}
        if name == "conf":  # composes, by the resolvers, only after an edit of conf/
            imported |= {"resolvers"}
        assert imported == listed & set(code), name


def plan(project: Project) -> list[str]:
    """Return the stages that `thaw status --durations` lists before a run with WALK."""
    with contextlib.chdir(project.folder):
        dump_yaml("params.yaml", compose(*WALK))
    command = [sys.executable, "-m", "thaw.cli.main", "status", "--durations"]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    assert "; first metrics after about" in done.stdout
    return re.findall(r"(?m)^(\S+)  +about", done.stdout)  # two spaces end a name


def metrics(project: Project, name: str) -> dict:
    return json.loads((project.folder / f"results/metrics/{name}.json").read_text())


def test_the_default_walk_and_what_a_change_reruns(project):
    draw(project.folder / "photos", {"disc": 40, "square": 30})
    passing = project.folder.parent / "tmp"
    passing.mkdir()
    project.environment["TMPDIR"] = str(passing)
    project.environment |= {"PYTHONPROFILEIMPORTTIME": "1", "PYTHONUNBUFFERED": "1"}
    planned = plan(project)
    said = project.dvc("exp", "run", *overrides(*WALK))
    del project.environment["PYTHONPROFILEIMPORTTIME"]
    check_code_dependencies(project, said)
    ran = project.ran(said)
    assert planned == ran
    assert {stage.split("@")[0] for stage in ran} == {
        "conf", "scan", "download", "preprocess", "split", "weights", "features",
        "train_subnet", "evaluate", "finetune", "best", "audit",
    }  # fmt: skip
    assert not list(passing.glob("**/*.py")), "TensorFlow's, of functions that it rewrote"
    for name in ("fc256", "logistic", "finetuned"):
        found = metrics(project, name)
        assert set(found) == {
            "accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "ece",
            "epoch", "skipped",
        }  # fmt: skip
        assert 0 <= found["accuracy"] <= 1
        plots = project.folder / "results/plots" / name
        assert (plots / "images.png").stat().st_size > 10_000
    best = json.loads((project.folder / "results/best.json").read_text())
    ranked = {row["model"]: row for row in best["ranking"]}
    assert ranked.keys() == {"fc256", "logistic", "finetuned"}
    highest = max(row["validation_accuracy"] for row in ranked.values())
    assert ranked[best["model"]]["validation_accuracy"] == highest
    vgg16 = 14_714_688  # parameters of VGG16's convolutions
    assert ranked["fc256"]["cost"] == vgg16 + 512 * 256 + 256 + 256 + 1
    assert ranked["finetuned"]["cost"] == 2 * ranked["logistic"]["cost"], "a flip is averaged"
    details = json.loads((project.folder / "results/details/finetuned.json").read_text())
    assert details["counts"] == {"train": 44, "validation": 12, "test": 14}
    assert details["training"]["start"]["loss"] > 0
    shown = project.dvc("metrics", "show")
    assert all(name in shown for name in ("accuracy", "roc_auc", "ece", "finetuned"))
    project.dvc("plots", "show", "--out", "shown")

    project.commit("first")
    said = project.dvc("repro")
    assert project.ran(said) == ["scan@folder"], "the user's folder alone is looked at"

    said = project.dvc("exp", "run", *overrides(*WALK, "subnets.fc256.dropout=0.3"))
    assert [s for s in project.ran(said) if not s.startswith("scan")] == [
        "train_subnet@fc256",
        "evaluate@fc256",
        "best",
    ]
    assert "fc256" in project.dvc("metrics", "diff")

    # 3 pictures more, one renamed: these are decoded and run through VGG16, no others
    draw(project.folder / "photos", {"disc": 2, "square": 1}, seed=1)
    photos = project.folder / "photos" / "disc"
    (photos / "0-0.png").rename(photos / "renamed.png")
    said = project.dvc("repro", "features@vgg16")
    assert said.count("3 of 73 images are new") == 2

    # the same with an empty store, as in a colleague's clone after `dvc pull`
    project.environment["THAW_STORE"] = str(project.folder.parent / "another store")
    draw(project.folder / "photos", {"disc": 1}, seed=2)
    said = project.dvc("repro", "features@vgg16")
    assert said.count("1 of 74 images are new") == 2

    # the folder is gone, as in a colleague's clone: what is recorded still stands
    shutil.move(project.folder / "photos", project.folder / "elsewhere")
    said = project.dvc("repro", "features@vgg16")
    assert project.ran(said) == ["scan@folder"]
    assert "is not on this machine" in said


@pytest.mark.slow
def test_groups_stay_in_one_split_from_the_images_to_the_intervals(project):
    photos = draw(project.folder / "photos", {"disc": 40, "square": 40})
    for file in sorted(photos.glob("*/*.png")):
        part = file.parent / f"part {int(file.stem[2:]) // 4}"
        part.mkdir(exist_ok=True)
        file.rename(part / file.name)
    grouped = overrides(*SMALL, "dataset.split.group=folder")
    said = project.dvc("exp", "run", "evaluate@logistic", *grouped)
    assert "80 images are in 10 groups by dataset.split.group = folder" in said
    rows = pd.read_csv(project.folder / "data/split.csv")
    assert rows.groupby("split_group")["split"].nunique().eq(1).all()
    details = json.loads((project.folder / "results/details/logistic.json").read_text())
    assert details["test_groups"] == rows.loc[rows["split"] == "test", "split_group"].nunique()

    near = overrides(
        *SMALL,
        "dataset.split.group=near_duplicates",
        "dataset.split.near_duplicate_similarity=0.99999",
    )
    said = project.dvc("exp", "run", "split", *near)
    assert project.ran(said)[-1] == "split" and "groups by dataset.split.group = near_dup" in said
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    read = {dep["path"] for dep in lock["stages"]["split"]["deps"]}
    assert "data/features/vgg16" in read


def test_a_search_chooses_what_train_subnet_trains_and_its_trials_are_plots(project):
    draw(project.folder / "photos", {"disc": 40, "square": 30})
    chosen = ["+subnet@subnets.tuned=tuned", "subnets.tuned.search.trials=4", *SMALL[:4]]
    chosen += ["subnets.tuned.search.folds=2", "subnets.tuned.heads.dense.epochs=3"]
    project.dvc("exp", "run", "features@vgg16", *overrides(*chosen))
    project.environment |= {"PYTHONPROFILEIMPORTTIME": "1", "PYTHONUNBUFFERED": "1"}
    said = project.dvc("repro", "train_subnet@tuned")
    del project.environment["PYTHONPROFILEIMPORTTIME"]
    check_code_dependencies(project, said)
    assert project.ran(said)[-2:] == ["search@tuned", "train_subnet@tuned"]
    winner = yaml.safe_load((project.folder / "data/searches/tuned.yaml").read_text())
    details = json.loads((project.folder / "models/tuned/record.json").read_text())
    assert details["settings"].items() >= winner.items()
    project.dvc("plots", "show", "--out", "shown")
    assert "Trials, tuned" in (project.folder / "shown/index.html").read_text()

    # the winner, copied to conf/
    shutil.copy(
        project.folder / "data/searches/tuned.yaml", project.folder / "conf/subnet/won.yaml"
    )
    chosen[0] = "+subnet@subnets.won=won"
    said = project.dvc("exp", "run", "train_subnet@won", *overrides(chosen[0], *SMALL[:4]))
    assert project.ran(said)[-1] == "train_subnet@won"
    assert not (project.folder / "results/searches/tuned").exists(), "no longer composed"
    models = [project.folder / "models" / name for name in ("won", "tuned")]
    one, other = (next(model.glob("model.*")).read_bytes() for model in models)
    assert one == other


def test_presets_without_and_with_two_backbones_and_a_network_of_ones_own(project):
    draw(project.folder / "photos", {"disc": 20, "ring": 20, "square": 20})
    here = project.folder
    before = (here / "dvc.yaml").read_text()
    source = (here / "thaw/networks/cnn.py").read_text()
    (here / "thaw/networks/tiny.py").write_text(source.replace('"cnn"', '"tiny"'))
    conf = (here / "conf/network/small_cnn.yaml").read_text()
    for was, mine in {
        "family: cnn": "family: tiny",
        "[32, 32, 64]": "[8]",
        "[1, 1, 1]": "[1]",
        "[0.0, 0.0, 0.0]": "[0.0]",
    }.items():
        assert was in conf
        conf = conf.replace(was, mine)
    (here / "conf/network/tiny.yaml").write_text(conf)
    project.commit("a network of my own")
    chosen = ["experiment=pixels_only", *SMALL[:3], "evaluate.bootstrap=100"]
    # some published recipes train without validation and keep the last epoch
    chosen += ["dataset.split.validation=0", "~network@networks.small_cnn"]
    mine = ["+network@networks.mine=tiny", "networks.mine.epochs=2", "networks.mine.keep=last"]
    said = project.dvc("exp", "run", *overrides(*chosen, *mine))
    stages = {"scan@folder", "train_network@mine", "evaluate@mine"}
    assert {s for s in project.ran(said) if "@" in s} == stages
    assert metrics(project, "mine")["accuracy"] > 0
    best = json.loads((here / "results/best.json").read_text())
    assert best["model"] == "mine"  # the only one, so nothing is to be chosen

    two = ["experiment=preprocessings", *SMALL[:4], "evaluate.bootstrap=100"]
    two += ["backbones.vgg16_rescaled.weights=random", "subnets.fc256.epochs=1"]
    two += ["subnets.fc256_rescaled.epochs=1"]
    said = project.dvc("exp", "run", *overrides(*two))
    assert (here / "results/learning_curves/vgg16.csv").exists()
    assert {"features@vgg16", "features@vgg16_rescaled"} <= set(project.ran(said))
    assert (here / "dvc.yaml").read_text() == before
    assert metrics(project, "fc256") != metrics(project, "fc256_rescaled")
    # what is no longer composed is gone, from DVC's tables and from the disk, whatever runs
    without = [override for override in two if "subnets.fc256." not in override]
    without += ["~subnet@subnets.fc256", "~audit@audits.vgg16"]
    project.dvc("exp", "run", "--dry", "conf", *overrides(*without))
    assert (here / "results/audits/vgg16").exists()
    project.dvc("exp", "run", "conf", *overrides(*without))
    assert not (here / "results/learning_curves/vgg16.csv").exists()
    assert not (here / "results/audits/vgg16").exists()
    assert not (here / "results/metrics/fc256.json").exists()
    assert "mine" not in project.dvc("metrics", "show")
    assert not (here / "results/metrics/mine.json").exists()
    assert not (here / "results/plots/mine").exists()


def test_a_project_may_have_no_models(project):
    """`best` then depends on no folder of validation results, which does not exist."""
    gone = ("subnet@subnets.fc256", "subnet@subnets.gap256", "subnet@subnets.logistic")
    without = [f"~{name}" for name in (*gone, "finetune@finetunes.finetuned")]
    project.dvc("exp", "run", "conf", *overrides(*without))
    said = project.dvc("repro", "--single-item", "best")
    assert project.ran(said) == ["best"] and "there are no models" in said
    assert json.loads((project.folder / "results/best.json").read_text())["model"] is None


def test_stale_parameters_stop_and_overrides_are_not_lost_silently(project):
    file = project.folder / "conf/subnet/fc256.yaml"
    file.write_text(file.read_text().replace("dropout: 0.5", "dropout: 0.4"))
    said = project.dvc("repro", "conf", fails=True)
    assert "subnets.fc256.dropout is 0.5 there and 0.4 in conf/" in said
    assert "Traceback" not in said
    assert "dvc exp run" in said

    project.dvc("exp", "run", "conf")
    kept = yaml.safe_load((project.folder / "params.yaml").read_text())
    assert kept["subnets"]["fc256"]["dropout"] == 0.4

    project.dvc("exp", "run", "conf", "-S", "subnets.gap256.dropout=0.25")
    said = project.dvc("repro", "conf")
    assert project.ran(said) == []
    project.dvc("repro", "--force", "conf")
    kept = yaml.safe_load((project.folder / "params.yaml").read_text())
    assert kept["subnets"]["gap256"]["dropout"] == 0.25, "kept by dvc repro"
    said = project.dvc("exp", "run", "conf", "-S", "seed=1")
    assert "subnets.gap256.dropout" in said, "the next composition says what it takes back"
    assert "0.25" in said

    # conf/ as it was at first: DVC has run `conf` on it before, but not for this params.yaml
    file.write_text(file.read_text().replace("dropout: 0.4", "dropout: 0.5"))
    said = project.dvc("repro", "conf", fails=True)
    assert "subnets.fc256.dropout is 0.4 there and 0.5 in conf/" in said

    # a parameter that is new in conf/ cannot be kept as it was
    kept["derived"]["scheme"] = "1-another"
    del kept["dataset"]["image"]["bit_depth"]
    (project.folder / "params.yaml").write_text(yaml.safe_dump(kept))
    said = project.dvc("repro", "--force", "conf", fails=True)
    assert "dataset.image.bit_depth is absent there and 16 in conf/" in said
    assert "-S seed=" not in said and "bit_depth=" not in said


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("subnets.fc256.dropuot=0.3", "is no parameter. Did you mean dropout?"),
        ("finetunes.finetuned.subnet=gap265", "Did you mean gap256?"),
    ],
)
def test_a_wrong_parameter_stops_before_anything_is_written(project, override, expected):
    before = (project.folder / "params.yaml").read_bytes()
    said = project.dvc("exp", "run", "-S", override, fails=True)
    assert expected in said
    assert "Traceback" not in said
    assert "Running stage" not in said
    assert (project.folder / "params.yaml").read_bytes() == before


def test_bad_images_stop_the_run_with_their_names_or_are_counted(project):
    photos = draw(project.folder / "photos", {"disc": 20, "square": 20})
    (photos / "disc" / "empty.jpg").touch()
    whole = (photos / "square" / "0-1.png").read_bytes()
    (photos / "square" / "cut.png").write_bytes(whole[: len(whole) // 2])
    chosen = overrides(*SMALL[:3])
    said = project.dvc("exp", "run", "split", *chosen, fails=True)
    assert "2 of 42 images cannot be read" in said
    assert " disc/empty.jpg: zero bytes" in said
    assert " square/cut.png" in said
    assert not (project.folder / "data/images").exists()
    project.dvc("exp", "run", "split", *chosen, "-S", "dataset.on_bad_image=skip")
    split = (project.folder / "data/split.csv").read_text()
    assert split.count(",skipped") == 2


def test_queued_grid(project):
    project.dvc("repro", "conf")
    project.commit("settled")
    grid = "evaluate.ece_bins=10,15"
    said = project.dvc("exp", "run", "--queue", "-S", grid)
    assert said.count("Queued experiment") == 2
