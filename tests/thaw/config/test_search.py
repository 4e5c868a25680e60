"""A search declares its space, and each value in it must be one that the head takes."""

import copy

import pytest

from thaw.composition import validate_composition
from thaw.config.search import searched
from thaw.config.subnet import Tuned, possible_kinds, validate_subnet
from thaw.errors import UserError

TUNED = "+subnet@subnets.tuned=tuned"


def test_conf_has_a_search_of_both_kinds_of_head(compose):
    tuned = validate_subnet(compose(TUNED)["subnets"]["tuned"], "tuned")
    assert isinstance(tuned, Tuned)
    assert possible_kinds(tuned) == {"dense", "logistic"}


def test_the_heads_of_a_search_read_its_features(compose):
    values = compose(TUNED, "+backbone@backbones.other=vgg16", "subnets.tuned.features=other")
    heads = values["subnets"]["tuned"]["heads"]
    assert {head["features"] for head in heads.values()} == {"other"}
    assert values["derived"]["searches"] == {
        "tuned": {"features": "other", "losses": "stages/losses.py"}
    }


INVALID = {
    "unknown head": (
        {"space": {"dens": {"dropout": [0.1]}}},
        "subnets.tuned.space.dens: expected one of logistic, dense. Did you mean dense?",
    ),
    "unknown parameter": (
        {"space": {"dense": {"dropuot": [0.1]}}},
        "subnets.tuned.space.dense.dropuot is no parameter. Did you mean dropout?",
    ),
    "parameter of another optimizer": (
        {"space": {"dense": {"optimizer": {"momentum": [0.9]}}}},
        "subnets.tuned.space.dense.optimizer.momentum is no parameter.",
    ),
    "choice that the head does not take": (
        {"space": {"dense": {"units": [[64], [0]]}}},
        "subnets.tuned.space.dense.units.0 = 0: input should be greater than or equal to 1.",
    ),
    "limit that the head does not take": (
        {"space": {"dense": {"dropout": {"low": 0.0, "high": 1.0}}}},
        "subnets.tuned.space.dense.dropout = 1.0: input should be less than 1.",
    ),
    "limits in the wrong order": (
        {"space": {"logistic": {"C": {"low": 1.0, "high": 0.1}}}},
        "expected low < high",
    ),
    "logarithm of zero": (
        {"space": {"logistic": {"C": {"low": 0.0, "high": 0.1, "log": True}}}},
        "expected low > 0, since log = true",
    ),
    "a single value": (
        {"space": {"logistic": {"C": 0.1}}},
        "subnets.tuned.space.logistic.C = 0.1: expected a list of choices, or {low:",
    ),
    "a search in a search": (
        {"heads": {"dense": {"kind": "tuned"}}},
        "subnets.tuned.heads.dense.kind = 'tuned': expected one of dense, logistic.",
    ),
    "one fold": ({"search": {"trials": 1, "folds": 1, "seconds": None}}, "search.folds = 1"),
}


@pytest.mark.parametrize("case", INVALID)
def test_a_wrong_space_is_refused_with_the_key(compose, case):
    changes, message = INVALID[case]
    values = compose(TUNED)
    values["subnets"]["tuned"] |= copy.deepcopy(changes)
    if "heads" in changes:
        values["subnets"]["tuned"]["space"] = {}
    with pytest.raises(UserError) as error:
        validate_composition(values)
    assert message in str(error.value)


def test_the_features_of_a_head_are_those_of_the_search(compose):
    values = compose(TUNED)
    values["subnets"]["tuned"]["heads"]["dense"]["features"] = "other"
    with pytest.raises(UserError, match="heads.dense.features = 'other': expected 'vgg16'"):
        validate_composition(values)


def test_a_head_that_may_be_logistic_is_not_reinitialized(compose):
    values = compose(TUNED)
    values["finetunes"]["finetuned"]["subnet"] = "tuned"
    validate_composition(values)
    values["finetunes"]["finetuned"]["reinitialize_head"] = True
    with pytest.raises(UserError, match="reinitialize_head = true: expected false"):
        validate_composition(values)
    del values["subnets"]["tuned"]["heads"]["logistic"]
    del values["subnets"]["tuned"]["space"]["logistic"]
    validate_composition(values)


def test_parameters_of_a_section_are_searched_by_their_path():
    found = searched({"optimizer": {"learning_rate": {"low": 1, "high": 3}}, "units": [[], [8]]})
    assert list(found) == [("optimizer", "learning_rate"), ("units",)]
    assert found["optimizer", "learning_rate"].high == 3
