import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from thaw.composition import ABSENT, differences, format_override, remove_stale_results

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "preset", sorted(p.stem for p in (ROOT / "conf/experiment").glob("*.yaml"))
)
def test_every_preset_composes_and_is_accepted(composed, compose, preset):
    assert compose(f"experiment={preset}")["scheme"] == composed["scheme"]


def test_models_can_be_added_changed_and_left_out(composed, compose):
    made = compose(
        "+subnet@subnets.mine=fc256",
        "subnets.mine.units=[64]",
        "+network@networks.pixels=small_cnn",
        "~subnet@subnets.logistic",
        "~finetune@finetunes.finetuned",
    )
    assert list(made["subnets"]) == ["fc256", "gap256", "mine"]
    assert made["subnets"]["mine"] == {**composed["subnets"]["fc256"], "units": [64]}
    assert list(made["networks"]) == ["pixels"] and made["finetunes"] == {}


def test_a_preset_takes_few_training_images(compose):
    assert compose("experiment=fashion_cnn", "dataset.max_train_images=1000")["dataset"]["limit"] == 1000


REFUSED = {
    "a new key that is none": (
        ["+subnets.fc256.dropuot=0.3"],
        "subnets.fc256.dropuot is no parameter. Did you mean dropout? subnets.fc256 takes: ",
    ),
    "a wrong value": (
        ["subnets.fc256.dropout=1.5"],
        "subnets.fc256.dropout = 1.5: input should be less than 1.",
    ),
    "a subnet that is not composed": (
        ["finetunes.finetuned.subnet=gap265"],
        "finetunes.finetuned.subnet = 'gap265': expected one of the composed subnets (fc256, "
        "gap256, logistic). Did you mean gap256?",
    ),
    "a subnet that was left out": (
        ["~subnet@subnets.gap256"],
        "finetunes.finetuned.subnet = 'gap256': expected one of the composed subnets (fc256, "
        "logistic).",
    ),
    "two models of one name": (
        ["+network@networks.fc256=small_cnn"],
        "networks.fc256 and subnets.fc256 have one name",
    ),
    "a fine-tuning that is nothing": (["finetunes.finetuned=null"], "finetunes.finetuned = None: "),
    "no fine-tunings, in a way of one's own": (["finetunes=null"], "finetunes = None: "),
    "no subnets, in a way of one's own": (
        ["subnets=null"],
        "finetunes.finetuned.subnet = 'gap256': expected one of the composed subnets (there is ",
    ),
    "a loss of no output": (
        ["subnets.fc256.losses.main.at=hidden1"],
        "subnets.fc256.losses = {'main': {'function': 'cross_entropy', 'weight': 1.0, 'at': "
        "'hidden1', 'reads': None}}: expected a term with at=null, of the model's own output.",
    ),
    "a value that has to be given": (
        ["dataset=folder"],
        "dataset.source.path has no default: give it with -S dataset.source.path=VALUE.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_ends_the_process_with_one_line(composed, compose, case):
    overrides, message = REFUSED[case]
    with pytest.raises(SystemExit) as end:
        compose(*overrides)
    said = str(end.value.code)
    assert said.startswith(f"thaw: {message}") and "\n" not in said


def test_differences_are_the_leaves_that_differ_and_those_that_one_side_lacks():
    kept = {"seed": 0, "a": {"x": 1, "y": [1, 2]}, "old": {"z": 1}}
    now = {"seed": 0, "a": {"x": 2, "y": [1, 2], "w": None}, "new": 3}
    assert differences(kept, now) == [
        ("a.x", 1, 2),
        ("a.w", ABSENT, None),
        ("old", {"z": 1}, ABSENT),
        ("new", ABSENT, 3),
    ]
    assert differences(now, now) == []


def test_values_are_shown_as_the_command_line_takes_them():
    assert [
        format_override(v) for v in (None, [64, 32], 0.5, "relu", "a/b-c.zip", ["cat", "dog"])
    ] == [
        "null",
        "'[64,32]'",
        "0.5",
        "relu",
        "a/b-c.zip",
        "'[cat,dog]'",
    ]
    assert [format_override(value) for value in ({"a": 1}, ABSENT)] == ["a section", "absent"]


@pytest.mark.parametrize("text", ["my cats", "a, b", "2024", "true", "~/rené (1)", 'a "b"', "a=b"])
def test_text_is_shown_as_hydra_takes_it_for_that_text(text):
    (argument,) = shlex.split(format_override(text))
    override = OverridesParser.create().parse_override(f"key={argument}")
    assert override.value() == text


def test_results_of_what_is_not_composed_are_swept_and_nothing_else(composed, tmp_path):
    kept = ["metrics/fc256.json", "doubts/vgg16", "labels/vgg16.csv", "notes/mine", "README.md"]
    kept.append("metrics/.gitignore")
    gone = ["metrics/old.json", "plots/old", "doubts/fc256", "labels/old.csv"]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    remove_stale_results(composed, tmp_path)
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(kept)
