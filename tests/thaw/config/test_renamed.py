"""Old names of parameters."""

import pytest

from thaw.composition import validate_composition
from thaw.config.base import read_params, validate
from thaw.config.dataset import Dataset
from thaw.config.renamed import RENAMED, renamed
from thaw.errors import UserError


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dataset.limit", "dataset.max_train_images"),
        ("audits.vgg16.near", "audits.vgg16.near_duplicate_similarity"),
        ("finetunes.mine.through", "finetunes.mine.cached"),
        ("subnets.fc256.learning_rate", "subnets.fc256.optimizer.learning_rate"),
        ("networks.a.losses.main.at", "networks.a.losses.main.output"),
        ("networks.a.loss_file", "networks.a.losses.TERM.function"),
    ],
)
def test_the_message_has_the_old_and_the_new_name(old, new):
    assert renamed(old) == f"{old} was renamed to {new}."


def test_other_names_have_no_message():
    for key in ("dataset.max_train_images", "limit", "dataset.limit.x", "dataset.source.limit"):
        assert renamed(key) is None


def test_no_new_name_is_an_old_one():
    for new in RENAMED.values():
        assert renamed(new) is None


def test_an_old_params_file_is_refused_with_the_new_names(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("scheme: 1-abc\ndoubts: {}\ndataset: {limit: 3, positive: null}\n")
    values = read_params(file=file)
    with pytest.raises(UserError) as error:
        validate_composition(values)
    lines = [line.strip() for line in str(error.value).splitlines()]
    assert "scheme was renamed to derived.scheme." in lines
    assert "doubts was renamed to audits." in lines
    with pytest.raises(UserError) as error:
        validate(Dataset, values["dataset"], "dataset")
    lines = [line.strip() for line in str(error.value).splitlines()]
    assert "dataset.limit was renamed to dataset.max_train_images." in lines
    assert "dataset.positive was renamed to dataset.positive_class." in lines
