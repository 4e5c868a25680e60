from typing import Annotated, Literal

import pytest
from pydantic import Field

from thaw.config.base import Section, did_you_mean, load_section, read_params, validate
from thaw.errors import UserError


class Inner(Section):
    zoom: Annotated[float, Field(ge=0, lt=1)]


class Outer(Section):
    kind: Literal["dense", "logistic"]
    units: list[Annotated[int, Field(ge=1)]]
    rate: Annotated[float, Field(gt=0, le=10)]
    patience: Annotated[int, Field(ge=1)] | None
    balanced: bool
    inner: Inner


GOOD = {
    "kind": "dense",
    "units": [256],
    "rate": 0.1,
    "patience": None,
    "balanced": False,
    "inner": {"zoom": 0.2},
}


def refusal(**values) -> str:
    with pytest.raises(UserError) as refused:
        validate(Outer, {**GOOD, **values}, "subnets", "mine")
    return str(refused.value)


def test_good_values_become_a_section_that_cannot_be_changed():
    section = validate(Outer, {**GOOD, "rate": 1}, "subnets", "mine")  # a whole number is a number
    assert section.rate == 1.0 and section.inner.zoom == 0.2
    with pytest.raises(ValueError, match="frozen"):
        section.rate = 2.0


WRONG = {
    "unknown key": (
        {"dropuot": 0.5, "balancd": True},
        [
            "subnets.mine.dropuot is no parameter. subnets.mine takes: kind, units, rate, "
            "patience, balanced, inner.",
            "subnets.mine.balancd is no parameter. Did you mean balanced? subnets.mine takes: "
            "kind, units, rate, patience, balanced, inner.",
        ],
    ),
    "unknown key within a section": (
        {"inner": {"zoom": 0.1, "zoon": 0.2}},
        [
            "subnets.mine.inner.zoon is no parameter. Did you mean zoom? subnets.mine.inner "
            "takes: zoom."
        ],
    ),
    "wrong choice": (
        {"kind": "logistics"},
        [
            "subnets.mine.kind = 'logistics': input should be 'dense' or 'logistic'. "
            "Did you mean logistic?"
        ],
    ),
    "text for a number": (
        {"rate": "fast"},
        ["subnets.mine.rate = 'fast': input should be a valid number."],
    ),
    "fraction for a count": (
        {"patience": 2.5},
        ["subnets.mine.patience = 2.5: input should be a valid integer."],
    ),
    "number for yes or no": (
        {"balanced": 1},
        ["subnets.mine.balanced = 1: input should be a valid boolean."],
    ),
    "yes for a number": (
        {"rate": True},
        ["subnets.mine.rate = True: input should be a valid number."],
    ),
    "one number for a list": (
        {"units": 64},
        ["subnets.mine.units = 64: input should be a valid list."],
    ),
    "wrong item of a list": (
        {"units": [64, 0]},
        ["subnets.mine.units.1 = 0: input should be greater than or equal to 1."],
    ),
    "out of range": (
        {"rate": 0.0, "inner": {"zoom": 1.0}},
        [
            "subnets.mine.rate = 0.0: input should be greater than 0.",
            "subnets.mine.inner.zoom = 1.0: input should be less than 1.",
        ],
    ),
    "a value for a section": (
        {"inner": 3},
        ["subnets.mine.inner = 3: input should be a valid dictionary or instance of Inner."],
    ),
    "infinite": (
        {"rate": float("inf")},
        ["subnets.mine.rate = inf: input should be a finite number."],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_told_with_its_key_and_what_was_expected(case):
    values, lines = WRONG[case]
    assert sorted(line.strip() for line in refusal(**values).splitlines()) == sorted(lines)


def test_a_missing_key_is_told():
    with pytest.raises(UserError, match=r"^subnets.mine.rate is missing\.$"):
        validate(Outer, {k: v for k, v in GOOD.items() if k != "rate"}, "subnets", "mine")


def test_at_the_top_level_keys_have_no_prefix():
    with pytest.raises(
        UserError, match=r"^inner_ is no parameter. Did you mean inner\? params.yaml takes: k"
    ):
        validate(Outer, {**GOOD, "inner_": {}})


def test_a_section_is_read_from_its_place_in_a_file(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("deep:\n  er: {zoom: 0.25}\n")
    assert load_section(Inner, "deep", "er", file=file).zoom == 0.25
    assert read_params("deep", file=file) == {"er": {"zoom": 0.25}}
    with pytest.raises(
        UserError, match=r"deep.re is not in .*. Did you mean er\? Known here: er\."
    ):
        read_params("deep", "re", file=file)
    with pytest.raises(UserError, match=r"deep.er.zoom.x is not in .* Known here: nothing\."):
        read_params("deep", "er", "zoom", "x", file=file)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="cannot be read: .*No such file.* `dvc exp run` composes it"
    ):
        read_params("seed", file=tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="cannot be read"):
        read_params("seed", file=tmp_path / "params.yaml")


def test_the_nearest_name_is_one_that_is_alike():
    assert did_you_mean("dropuot", ["dropout", "units"]) == " Did you mean dropout?"
    assert did_you_mean("VGG61", ["VGG16", "ResNet50"]) == " Did you mean VGG16?"
    assert did_you_mean("colour", ["units"]) == "" == did_you_mean("x", [])
