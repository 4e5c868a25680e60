"""Composing conf/, validating parameters against each other, and comparing parameter trees."""

import copy
import json
import re
import shlex
import shutil

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.conftest import ROOT
from thaw.composition import (
    SCHEME,
    conf_digest,
    layers_to_thaw,
    remove_stale_results,
    validate_composition,
)
from thaw.config.changes import ABSENT, differences, format_override
from thaw.errors import UserError


@pytest.fixture
def error_of(composed):
    """Return a function from changes, as {key: value}, to the message of validate_composition."""

    def check(changes: dict) -> str:
        values = copy.deepcopy(composed)
        for key, value in changes.items():
            *path, last = key.split(".")
            section = values
            for part in path:
                section = section[part]
            section[last] = value
        with pytest.raises(UserError) as error:
            validate_composition(values)
        return str(error.value)

    return check


def test_the_default_composition_is_valid(composed):
    assert composed["derived"]["scheme"].startswith(f"{SCHEME}-")
    validate_composition(composed)


@pytest.mark.parametrize(
    "preset", sorted(path.stem for path in (ROOT / "conf/experiment").glob("*.yaml"))
)
def test_every_preset_is_valid(composed, compose, preset):
    derived = compose(f"experiment={preset}")["derived"]
    assert derived["scheme"] == composed["derived"]["scheme"]


def test_models_can_be_added_changed_and_removed(composed, compose):
    values = compose(
        "+subnet@subnets.mine=fc256",
        "subnets.mine.units=[64]",
        "+network@networks.pixels=small_cnn",
        "~subnet@subnets.logistic",
        "~finetune@finetunes.finetuned",
    )
    assert list(values["subnets"]) == ["fc256", "gap256", "mine"]
    assert values["subnets"]["mine"] == {**composed["subnets"]["fc256"], "units": [64]}
    assert list(values["networks"]) == ["pixels"] and values["finetunes"] == {}


def test_a_preset_can_be_limited_to_few_training_images(compose):
    values = compose("experiment=fashion_cnn", "dataset.max_train_images=1000")
    assert values["dataset"]["max_train_images"] == 1000


INVALID = {
    "unknown section": (
        {"backbone": {}},
        r"backbone is no parameter. Did you mean backbones\? params.yaml takes: seed, ",
    ),
    "unknown key": (
        {"subnets.fc256.dropuot": 0.3},
        r"subnets.fc256.dropuot is no parameter. Did you mean dropout\? subnets.fc256 takes: ",
    ),
    "unknown key of dataset.split": (
        {"dataset.split.tests": 0.3},
        r"dataset.split.tests is no parameter. Did you mean test\? dataset.split takes: test, ",
    ),
    "unknown key of dataset.source": (
        {"dataset.source.packages": "x"},
        r"dataset.source.packages is no parameter. Did you mean package\? dataset.source takes: ",
    ),
    "text for a number": (
        {"subnets.fc256.dropout": "much"},
        r"subnets.fc256.dropout = 'much': input should be a valid number\.",
    ),
    "infinite number": (
        {"subnets.fc256.l2": float("inf")},
        r"subnets.fc256.l2 = inf: input should be a finite number\.",
    ),
    "seed too large for scikit-learn": (
        {"dataset.split.seed": 2**32},
        r"dataset.split.seed = 4294967296: input should be less than 2147483648\.",
    ),
    "out of range": (
        {"dataset.image.size": 4},
        r"dataset.image.size = 4: expected 8 to 2048 pixels, or \[HEIGHT,WIDTH\] of as many\.",
    ),
    "empty range": (
        {"dataset.image.value_range": [3, 1]},
        r"dataset.image.value_range = \[3, 1\]: expected \[low, high\] with low < high\.",
    ),
    "unknown choice": (
        {"backbones.vgg16.precision": "bfloat"},
        r"backbones.vgg16.precision = 'bfloat': input should be 'float32' or 'bfloat16'. "
        r"Did you mean bfloat16\?",
    ),
    "negative seed": ({"seed": -1}, r"seed = -1: input should be greater than or equal to 0\."),
    "unknown flip": (
        {"dataset.allowed_flips": ["horizontl"]},
        r"dataset.allowed_flips.0 = 'horizontl': .*'horizontal' or 'vertical'. Did you mean hor",
    ),
    "unknown source": (
        {"dataset.source.kind": "foldr"},
        r"dataset.source.kind = 'foldr': expected one of cifar10, elpv, .* Did you mean folder\?",
    ),
    "unknown kind of subnet": (
        {"subnets.fc256.kind": "densee"},
        r"subnets.fc256.kind = 'densee': expected one of dense, logistic, tuned. Did you mean d",
    ),
    "unknown network family": (
        {"networks.mine": {"family": "resnt"}},
        r"networks.mine.family = 'resnt': expected one of cnn, dense, inception, resnet. "
        r"Did you mean resnet\?",
    ),
    "no loss": (
        {"subnets.fc256.losses": {}},
        r"subnets.fc256.losses = {}: .*should have at least 1 item",
    ),
    "loss of weight 0": (
        {"subnets.fc256.losses.main.weight": 0.0},
        r"subnets.fc256.losses.main.weight = 0.0: input should be greater than 0\.",
    ),
    "text for a loss": (
        {"finetunes.finetuned.losses.main": "focal"},
        r"finetunes.finetuned.losses.main = 'focal': input should be a valid dictionary or .*Loss",
    ),
    "unknown metric to monitor": (
        {"subnets.fc256.monitor": "accuracies"},
        r"subnets.fc256.monitor = 'accuracies': .*'loss' or 'accuracy'. Did you mean accuracy\?",
    ),
    "unknown optimizer": (
        {"subnets.fc256.optimizer.name": "adm"},
        r"subnets.fc256.optimizer.name = 'adm': expected one of adam, adamw, rmsprop, sgd. "
        r"Did you mean adam\?$",
    ),
    "parameter of another optimizer": (
        {"subnets.fc256.optimizer.momentum": 0.5},
        r"subnets.fc256.optimizer.momentum is no parameter. "
        r"subnets.fc256.optimizer takes: name, learning_rate, epsilon\.$",
    ),
    "features of an unknown backbone": (
        {"subnets.fc256.features": "vgg19"},
        r"subnets.fc256.features = 'vgg19': expected one of the composed backbones \(vgg16\). "
        r"Did you mean vgg16\?",
    ),
    "no backbone": (
        {"backbones": {}},
        r"subnets.fc256.features = 'vgg16': .*composed backbones \(there is none\)\.",
    ),
    "fine-tuning of an unknown subnet": (
        {"finetunes.finetuned.subnet": "gap265"},
        r"finetunes.finetuned.subnet = 'gap265': expected one of the composed subnets "
        r"\(fc256, gap256, logistic\). Did you mean gap256\?",
    ),
    "random start of a logistic regression": (
        {"finetunes.finetuned.reinitialize_head": True},
        r"finetunes.finetuned.reinitialize_head = true: expected false, since 'logistic' is a",
    ),
    "features of a fine-tuning": (
        {"finetunes.finetuned.features": "vgg19"},
        r"finetunes.finetuned.features was renamed to derived.finetunes.finetuned.features\.$",
    ),
    "unknown layer to thaw from": (
        {"finetunes.finetuned.thaw_from": "block5_conv9"},
        r"finetunes.finetuned.thaw_from = 'block5_conv9': expected a layer of VGG16 that has a "
        r"single tensor before it. Did you mean block5_conv\d\? Its layers: block1_conv1, ",
    ),
    "parameter of November 2026": (
        {"dataset.limit": 3},
        r"dataset.limit was renamed to dataset.max_train_images\.$",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_value_gives_one_line_with_key_value_and_expectation(error_of, case):
    changes, pattern = INVALID[case]
    message = error_of(changes)
    assert re.match(pattern, message) and "\n" not in message


def test_two_models_of_one_name_are_refused(error_of, composed, compose):
    finetune = composed["finetunes"]["finetuned"]
    network = compose("+network@networks.mine=small_cnn")["networks"]["mine"]
    for group, model in (("finetunes", finetune), ("networks", network)):
        message = error_of({f"{group}.gap256": model})
        assert message.startswith(f"{group}.gap256 and subnets.gap256 have the same name")


def test_an_image_size_too_small_for_the_backbone_is_refused(error_of):
    message = error_of({"dataset.image.size": 16})
    assert message.startswith("backbones.vgg16.application: dataset.image.size = 16: VGG16 ")
    assert "must be at least 32x32" in message and "\n" not in message


def test_layers_are_cached_in_the_store(composed, store):
    cached = [json.loads(file.read_text()) for file in (store / "layers").iterdir()]
    assert layers_to_thaw("VGG16", 224, "key") in cached


def test_the_digest_of_conf_depends_on_values_and_not_on_comments(tmp_path):
    conf = tmp_path / "conf"
    shutil.copytree(ROOT / "conf", conf)
    before = conf_digest(conf)
    file = conf / "subnet/fc256.yaml"
    text = file.read_text()
    file.write_text(f"# A new first line.\n\n{text}\n# A last one.\n")
    assert conf_digest(conf) == before == conf_digest(ROOT / "conf")
    file.write_text(text.replace("dropout: 0.5", "dropout: 0.25"))
    assert conf_digest(conf) != before
    file.write_text(text)
    file.rename(file.with_stem("fc257"))
    assert conf_digest(conf) != before
    file.with_stem("fc257").rename(file)
    file.write_text(f"# @package _global_\n{text}")  # Hydra reads this comment
    assert conf_digest(conf) != before


def test_differences_lists_changed_added_and_removed_leaves():
    old = {"seed": 0, "a": {"x": 1, "y": [1, 2]}, "old": {"z": 1}}
    new = {"seed": 0, "a": {"x": 2, "y": [1, 2], "w": None}, "new": 3}
    assert differences(old, new) == [
        ("a.x", 1, 2),
        ("a.w", ABSENT, None),
        ("old", {"z": 1}, ABSENT),
        ("new", ABSENT, 3),
    ]
    assert differences(new, new) == []


def test_values_are_formatted_for_the_command_line():
    values = (None, [64, 32], 0.5, "relu", "a/b-c.zip", ["cat", "dog"])
    assert [format_override(value) for value in values] == [
        "null",
        "'[64,32]'",
        "0.5",
        "relu",
        "a/b-c.zip",
        "'[cat,dog]'",
    ]
    assert [format_override(value) for value in ({"a": 1}, ABSENT)] == ["a section", "absent"]


@pytest.mark.parametrize("text", ["my cats", "a, b", "2024", "true", "~/rené (1)", 'a "b"', "a=b"])
def test_hydra_parses_formatted_text_as_that_text(text):
    (argument,) = shlex.split(format_override(text))
    override = OverridesParser.create().parse_override(f"key={argument}")
    assert override.value() == text


def test_only_results_of_removed_models_and_audits_are_deleted(composed, tmp_path):
    kept = ["metrics/fc256.json", "audits/vgg16", "labels/vgg16.csv", "notes/mine", "README.md"]
    kept += ["metrics/.gitignore", "learning_curves/vgg16.csv"]
    stale = ["metrics/old.json", "plots/old", "audits/fc256", "learning_curves/old.csv"]
    for name in kept + stale:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    remove_stale_results(composed, tmp_path)
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(kept)


def test_only_a_split_by_near_duplicates_reads_features(compose):
    assert compose("dataset.split.group=folder")["derived"]["split"] == "data/index.csv"
    composed = compose("dataset.split.group=near_duplicates")
    assert composed["derived"]["split"] == f"data/features/{next(iter(composed['backbones']))}"
    with pytest.raises(SystemExit, match="near_duplicates compares features of a backbone, and no"):
        compose("experiment=pixels_only", "dataset.split.group=near_duplicates")


def test_a_regular_expression_for_groups_is_checked_when_it_is_composed(compose):
    pattern = r"dataset.split.group='patient_(\d+)/'"
    assert compose(pattern)["dataset"]["split"]["group"] == r"patient_(\d+)/"
    with pytest.raises(SystemExit, match=r"dataset.split.group = '\(a\)\(b\)': expected a regular"):
        compose("dataset.split.group='(a)(b)'")
