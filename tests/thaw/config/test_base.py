"""Sections of params.yaml: validation, messages and reading."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from thaw.config import base
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


def error_of(**values) -> str:
    with pytest.raises(UserError) as error:
        validate(Outer, {**GOOD, **values}, "subnets", "mine")
    return str(error.value)


def test_valid_values_become_an_immutable_section():
    section = validate(Outer, {**GOOD, "rate": 1}, "subnets", "mine")  # int for float
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
    "number for a boolean": (
        {"balanced": 1},
        ["subnets.mine.balanced = 1: input should be a valid boolean."],
    ),
    "boolean for a number": (
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
def test_an_invalid_value_gives_a_line_with_key_value_and_expectation(case):
    values, lines = WRONG[case]
    assert sorted(line.strip() for line in error_of(**values).splitlines()) == sorted(lines)


def test_a_missing_key_is_reported():
    with pytest.raises(UserError, match=r"^subnets.mine.rate is missing\.$"):
        validate(Outer, {k: v for k, v in GOOD.items() if k != "rate"}, "subnets", "mine")


def test_keys_of_the_top_level_have_no_prefix():
    with pytest.raises(
        UserError, match=r"^inner_ is no parameter. Did you mean inner\? params.yaml takes: k"
    ):
        validate(Outer, {**GOOD, "inner_": {}})


def test_a_section_is_read_by_its_keys(tmp_path):
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
        UserError, match="cannot be read: .*No such file.* Run `dvc exp run` to compose it"
    ):
        read_params("seed", file=tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="cannot be read"):
        read_params("seed", file=tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "number"), [("2e-05", 2e-05), ("1e-1", 0.1), ("1E3", 1000.0), ("-1.5e+2", -150.0)]
)
def test_numbers_of_yaml_1_2_are_read_as_numbers(tmp_path, text, number):
    """DVC writes them so, and YAML 1.1 reads them as text."""
    file = tmp_path / "params.yaml"
    file.write_text(f"rate: {text}\n")
    assert read_params("rate", file=file) == number
    assert isinstance(read_params("rate", file=file), float)


YAML_VALUES = "1 010 0x1F 0o17 1_000 1:30 yes no on off y True null ~ 1e3 5. -1 .inf 0b11"


def test_every_value_is_read_as_dvc_reads_it(tmp_path):
    from dvc.utils.serialize import dumps_yaml, parse_yaml

    for text in YAML_VALUES.split():
        (tmp_path / f"{text}.yaml").write_text(f"value: {text}\n")
        expected = parse_yaml(f"value: {text}", "")["value"]
        value = read_params("value", file=tmp_path / f"{text}.yaml")
        assert (type(value), value) == (type(expected), expected)
        (tmp_path / f"{text}.txt").write_text(dumps_yaml({"value": text}))
        assert read_params("value", file=tmp_path / f"{text}.txt") == text


def test_a_number_in_the_place_of_text_is_to_be_quoted():
    class Common(Section):
        name: str

    with pytest.raises(UserError, match="name = 2024: expected text. Quote it twice: -S"):
        validate(Common, {"name": 2024})


def test_a_file_is_parsed_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    file = tmp_path / "params.yaml"
    file.write_text("seed: 1\n")
    parsed = []
    monkeypatch.setattr(base.yaml, "parse", lambda *_: parsed.append(1) or iter(()))
    assert [read_params("seed", file=file) for _ in range(3)] == [1, 1, 1]
    assert len(parsed) == 1
    file.write_text("seed: 23\n")
    assert read_params("seed", file=file) == 23
    assert len(parsed) == 2


def test_only_a_similar_name_is_suggested():
    assert did_you_mean("dropuot", ["dropout", "units"]) == " Did you mean dropout?"
    assert did_you_mean("VGG61", ["VGG16", "ResNet50"]) == " Did you mean VGG16?"
    assert did_you_mean("colour", ["units"]) == "" == did_you_mean("x", [])
