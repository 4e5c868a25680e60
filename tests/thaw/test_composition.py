"""Each refusal that a user can meet: one message with the key, the value, what was expected and,
where there is one, the nearest valid name."""

import copy
import json
import re

import pytest

from thaw.composition import SCHEME, layers_to_thaw, validate_composition
from thaw.errors import UserError


@pytest.fixture
def refusal(composed):
    """A function from changes, as {key: value}, to the message that check_whole refuses with."""

    def check(changes: dict) -> str:
        values = copy.deepcopy(composed)
        for key, value in changes.items():
            *path, last = key.split(".")
            section = values
            for part in path:
                section = section[part]
            section[last] = value
        with pytest.raises(UserError) as refused:
            validate_composition(values)
        return str(refused.value)

    return check


def test_what_conf_composes_to_is_accepted(composed):
    assert composed["scheme"].startswith(f"{SCHEME}-")
    validate_composition(composed)


WRONG = {
    "an unknown section": (
        {"backbone": {}},
        r"backbone is no parameter. Did you mean backbones\? params.yaml takes: scheme, ",
    ),
    "an unknown key": (
        {"subnets.fc256.dropuot": 0.3},
        r"subnets.fc256.dropuot is no parameter. Did you mean dropout\? subnets.fc256 takes: ",
    ),
    "an unknown key of the data set": (
        {"dataset.split.tests": 0.3},
        r"dataset.split.tests is no parameter. Did you mean test\? dataset.split takes: test, ",
    ),
    "an unknown key of its source": (
        {"dataset.source.packages": "x"},
        r"dataset.source.packages is no parameter. Did you mean package\? dataset.source takes: ",
    ),
    "a wrong type": (
        {"subnets.fc256.dropout": "much"},
        r"subnets.fc256.dropout = 'much': input should be a valid number\.",
    ),
    "infinite": (
        {"subnets.fc256.l2": float("inf")},
        r"subnets.fc256.l2 = inf: input should be a finite number\.",
    ),
    "a seed that scikit-learn does not take": (
        {"dataset.split.seed": 2**32},
        r"dataset.split.seed = 4294967296: input should be less than 2147483648\.",
    ),
    "out of range": (
        {"dataset.image.size": 4},
        r"dataset.image.size = 4: input should be greater than or equal to 8\.",
    ),
    "a wrong choice": (
        {"backbones.vgg16.precision": "bfloat"},
        r"backbones.vgg16.precision = 'bfloat': input should be 'float32' or 'bfloat16'. "
        r"Did you mean bfloat16\?",
    ),
    "a negative seed": ({"seed": -1}, r"seed = -1: input should be greater than or equal to 0\."),
    "an unknown flip": (
        {"dataset.allowed_flips": ["horizontl"]},
        r"dataset.allowed_flips.0 = 'horizontl': .*'horizontal' or 'vertical'. Did you mean hor",
    ),
    "an unknown source": (
        {"dataset.source.kind": "foldr"},
        r"dataset.source.kind = 'foldr': expected one of cifar10, elpv, .* Did you mean folder\?",
    ),
    "an unknown kind of subnet": (
        {"subnets.fc256.kind": "densee"},
        r"subnets.fc256.kind = 'densee': expected one of dense, logistic. Did you mean dense\?",
    ),
    "an unknown family": (
        {"networks.mine": {"family": "resnt"}},
        r"networks.mine.family = 'resnt': expected one of cnn, dense, inception, resnet. "
        r"Did you mean resnet\?",
    ),
    "no loss at all": (
        {"subnets.fc256.losses": {}},
        r"subnets.fc256.losses = {}: .*should have at least 1 item",
    ),
    "a loss that counts nothing": (
        {"subnets.fc256.losses.main.weight": 0.0},
        r"subnets.fc256.losses.main.weight = 0.0: input should be greater than 0\.",
    ),
    "a loss that is none": (
        {"finetunes.finetuned.losses.main": "focal"},
        r"finetunes.finetuned.losses.main = 'focal': input should be a valid dictionary or .*Loss",
    ),
    "something that is not watched": (
        {"subnets.fc256.monitor": "accuracies"},
        r"subnets.fc256.monitor = 'accuracies': .*'loss' or 'accuracy'. Did you mean accuracy\?",
    ),
    "features that are not composed": (
        {"subnets.fc256.features": "vgg19"},
        r"subnets.fc256.features = 'vgg19': expected one of the composed backbones \(vgg16\). "
        r"Did you mean vgg16\?",
    ),
    "no backbone at all": (
        {"backbones": {}},
        r"subnets.fc256.features = 'vgg16': .*composed backbones \(there is none\)\.",
    ),
    "a subnet that is not composed": (
        {"finetunes.finetuned.subnet": "gap265"},
        r"finetunes.finetuned.subnet = 'gap265': expected one of the composed subnets "
        r"\(fc256, gap256, logistic\). Did you mean gap256\?",
    ),
    "a subnet that cannot be fine-tuned": (
        {"finetunes.finetuned.subnet": "logistic"},
        r"finetunes.finetuned.subnet = 'logistic': expected a subnet of kind dense",
    ),
    "features that are not the subnet's": (
        {"finetunes.finetuned.features": "vgg19"},
        r"finetunes.finetuned.features = 'vgg19': expected 'vgg16', which gap256 was trained on",
    ),
    "a layer that there is not": (
        {"finetunes.finetuned.thaw_from": "block5_conv9"},
        r"finetunes.finetuned.thaw_from = 'block5_conv9': expected a layer of VGG16 that has a "
        r"single tensor before it. Did you mean block5_conv\d\? Its layers: block1_conv1, ",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_refused_in_one_line(refusal, case):
    changes, message = WRONG[case]
    said = refusal(changes)
    assert re.match(message, said) and "\n" not in said


def test_two_models_of_one_name_are_refused(refusal, composed, compose):
    finetune = composed["finetunes"]["finetuned"]
    network = compose("+network@networks.mine=small_cnn")["networks"]["mine"]
    for group, model in (("finetunes", finetune), ("networks", network)):
        said = refusal({f"{group}.gap256": model})
        assert said.startswith(f"{group}.gap256 and subnets.gap256 have one name, and would write")


def test_a_size_that_the_backbone_cannot_take_is_refused(refusal):
    said = refusal({"dataset.image.size": 16})
    assert said.startswith("backbones.vgg16.application: dataset.image.size = 16: VGG16 cannot")
    assert "at least 32x32" in said and "\n" not in said


def test_layers_are_remembered_in_the_store(composed, store):
    remembered = [json.loads(file.read_text()) for file in (store / "layers").iterdir()]
    assert layers_to_thaw("VGG16", 224, "key") in remembered
