import numpy as np
import pytest

from tests.fixtures.networks import RANDOM_VGG16
from thaw.config.backbone import Backbone
from thaw.errors import UserError
from thaw.models.backbones.applications import build_application, named_tensors
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.runtime.tensorflow import keras

pytestmark = pytest.mark.usefixtures("narrow")

SHAPE = (32, 32, 1)
KEYS = [f"{number:02}" for number in range(10)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a function that writes random weights of an application once, and returns the file."""
    folder = tmp_path_factory.mktemp("weights")

    def write(name: str):
        path = folder / f"{name}.npz"
        if not path.exists():
            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(0)
            np.savez(path, **named_tensors(build_application(name, SHAPE[0])))
        return path

    return write


@pytest.fixture
def frozen(weights, tmp_path, monkeypatch):
    """Return a function that builds a frozen backbone. The store is empty."""
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))

    def make(
        name="VGG16",
        precision="float32",
        thaw_from=None,
        batch_size=4,
        scheme="own",
        engine="tensorflow",
    ):
        keras.utils.clear_session(free_memory=False)
        changes = {"application": name, "preprocessing": scheme, "precision": precision}
        changes |= {"engine": engine, "batch_size": batch_size}
        backbone = Backbone(**RANDOM_VGG16 | changes)
        return FrozenBackbone(backbone, weights(name), SHAPE, thaw_from)

    return make


def image(key: str) -> np.ndarray:
    return np.random.default_rng(int(key)).integers(0, 256, SHAPE, dtype="uint8")


def filled(part: FrozenBackbone, *runs: list[str], **recipe) -> dict[str, bytes]:
    """Return what is stored for each key after filling the store in these runs."""
    store = part.store(**recipe)
    for keys in runs:
        part.fill(store, keys, image, "test")
    return {key: store[key].tobytes() for keys in runs for key in keys}


@pytest.mark.parametrize(
    ("name", "precision", "engine"),
    [
        ("VGG16", "float32", "tensorflow"),
        ("VGG16", "bfloat16", "tensorflow"),
        ("MobileNetV2", "float32", "tensorflow"),
        ("VGG16", "bfloat16", "openvino"),
    ],
)
def test_an_output_depends_only_on_its_image(frozen, name, precision, engine):
    """Not on the other images of the batch, their order, or the number of runs."""
    part = frozen(name, precision, engine=engine)
    at_once = filled(part, KEYS, order="at once")
    assert filled(part, KEYS[::-1], order="reversed") == at_once
    in_three_runs = filled(part, KEYS[3:4], KEYS[:6], KEYS, order="in three runs")
    assert in_three_runs == at_once
    assert len(set(at_once.values())) == len(KEYS)


def test_only_missing_outputs_are_computed(frozen):
    part = frozen()
    store, read = part.store(), []

    def read_image(key: str) -> np.ndarray:
        read.append(key)
        return image(key)

    assert part.fill(store, KEYS[:3], read_image, "test") == 3
    assert part.fill(store, [*KEYS[:5], KEYS[4]], read_image, "test") == 2
    assert part.fill(store, KEYS[:5], read_image, "test") == 0
    next_run = part.store()
    assert part.fill(next_run, KEYS[:6], read_image, "test") == 1
    assert read == KEYS[:6]


def test_outputs_stored_before_an_error_are_not_computed_again(frozen, monkeypatch):
    monkeypatch.setattr("thaw.models.backbones.frozen.SHARD_BATCHES", 1)
    part = frozen(batch_size=2)

    def failing_image(key: str) -> np.ndarray:
        if key == KEYS[7]:
            raise OSError("the disk is gone")
        return image(key)

    with pytest.raises(OSError, match="the disk is gone"):
        part.fill(part.store(), KEYS, failing_image, "test")
    assert part.store().missing(KEYS) == KEYS[6:]


def test_openvino_runs_a_network_with_layers_that_keras_names(frozen, weights):
    """Building it twice in a process, as for bfloat16, gives EfficientNet's layers other names."""
    weights("EfficientNetB0")  # built before `frozen` resets the names
    part = frozen("EfficientNetB0", "bfloat16", engine="openvino")
    assert part.apply(np.stack([image(key) for key in KEYS[:2]])).shape == (2, 1, 1, 1280)


def test_outputs_equal_keras_predictions(frozen):
    part = frozen()
    store = part.store()
    part.fill(store, KEYS[:2], image, "test")
    expected = part.network.predict(np.stack([image(key) for key in KEYS[:2]]), verbose=0)
    np.testing.assert_allclose(
        np.stack([store[k] for k in KEYS[:2]]), expected, rtol=1e-3, atol=1e-3
    )


def test_each_recipe_has_a_separate_store(frozen):
    changes = (
        {},
        {"precision": "bfloat16"},
        {"scheme": "rescale"},
        {"thaw_from": "block5_conv1"},
        {"engine": "openvino"},
    )
    parts = [frozen(**change) for change in changes]
    folders = {part.store().folder for part in parts}
    folders.add(parts[0].store(augmentation={"zoom": 0.2}).folder)
    assert len(folders) == 6 and parts[0].store().folder in folders


def test_the_thawed_part_continues_the_frozen_part(frozen):
    part = frozen(thaw_from="block5_conv1")
    assert part.network.output_shape == (None, 2, 2, 64)
    assert [layer.name for layer in part.thawed.layers[1:]] == [
        "block5_conv1",
        "block5_conv2",
        "block5_conv3",
        "block5_pool",
    ]
    assert part.network.trainable_variables == [] and part.dtype == "float32"
    store = part.store()
    part.fill(store, KEYS[:1], image, "test")
    whole = frozen()
    features = whole.store()
    whole.fill(features, KEYS[:1], image, "test")
    above = part.thawed(store[KEYS[0]][None])[0]
    np.testing.assert_allclose(above, features[KEYS[0]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
@pytest.mark.parametrize("thaw_from", [None, "block5_conv1"])
def test_bfloat16_outputs_are_stored_as_float16_and_close_to_float32(frozen, engine, thaw_from):
    bfloat16 = {"precision": "bfloat16", "engine": engine}
    parts = [frozen(thaw_from=thaw_from), frozen(thaw_from=thaw_from, **bfloat16)]
    full, half = (part.store() for part in parts)
    for part, store in zip(parts, (full, half), strict=True):
        part.fill(store, KEYS[:4], image, "test")
    exact, rounded = (np.stack([s[k] for k in KEYS[:4]]) for s in (full, half))
    assert (exact.dtype, rounded.dtype) == ("float32", "float16")
    assert np.abs(exact - rounded).mean() < 0.03 * np.abs(exact).mean()


def test_values_outside_the_range_of_float16_are_rejected_and_not_stored(frozen):
    part = frozen(precision="bfloat16")
    for variable in part.network.weights:
        variable.assign(variable * 30)
    with pytest.raises(
        UserError, match="values that float16 cannot hold. Choose precision=float32"
    ):
        part.fill(part.store(), KEYS[:2], image, "test")
    assert part.store().missing(KEYS[:2]) == KEYS[:2]
