"""The recipes of November 2026: other digests would invalidate every stored result."""

import numpy as np
import PIL
import pytest

from thaw.config.backbone import Backbone
from thaw.config.dataset import Image
from thaw.config.training import Augmentation
from thaw.data.preprocessing import image_stores
from thaw.models.backbones import recipe
from thaw.storage.npz import save_npz
from thaw.storage.store import recipe_digest

VERSIONS = {"keras": "3.0.0", "tensorflow-cpu": "2.0.0", "openvino": "2026.0.0"}
BACKBONE = {
    "application": "VGG16",
    "weights": "imagenet",
    "digest": None,
    "preprocessing": "own",
    "precision": "float32",
    "batch_size": 32,
}


@pytest.fixture(autouse=True)
def fixed_versions(tmp_path, monkeypatch):
    """Fixed versions of packages, an empty store, and weights.npz in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(PIL, "__version__", "12.0.0")
    monkeypatch.setattr(recipe, "version", VERSIONS.__getitem__)
    save_npz("weights.npz", {"conv/kernel": np.arange(6, dtype="float32").reshape(2, 3)})


@pytest.mark.parametrize(
    ("image", "digest"),
    [
        (("nearest", "rgb", 150, 16), "e26f3c65d5c2627a732f0190153a684b"),
        (("bicubic", "grey", 64, 16), "99038989e7ef19b69663b1df3f3f7234"),
        (("bicubic", "grey", 64, 12), "03be8d45b14fc3434d021d0b00935a1d"),
    ],
)
def test_recipe_of_decoded_images(image, digest):
    resampling, colour, size, bits = image
    _, store = image_stores(Image(size=size, resampling=resampling, colour=colour, bit_depth=bits))
    assert recipe_digest(store.recipe) == store.folder.name == digest


def test_recipe_of_large_images():
    image = Image(size=64, resampling="bicubic", colour="grey")
    digest = recipe_digest(image_stores(image)[0].recipe)
    assert digest == "a02ce656723d16ae371f234efd16b8d7"


@pytest.mark.parametrize(
    ("changes", "thaw_from", "digest"),
    [
        ({}, None, "c500c17a7af2b2f8b96e8921b5cffad5"),
        (
            {"precision": "bfloat16", "preprocessing": "rescale"},
            None,
            "d212f2a9abe2efd0259d21a83fb662e1",
        ),
        ({}, "block5_conv1", "5ebc5015cfddd6919ff7bc7a6021f4a7"),
    ],
)
def test_recipe_of_frozen_outputs(changes, thaw_from, digest):
    backbone = Backbone(**{**BACKBONE, **changes})
    assert recipe_digest(recipe.frozen_recipe(backbone, "weights.npz", thaw_from)) == digest


def openvino_recipe(**changes) -> dict:
    backbone = Backbone(**{**BACKBONE, "engine": "openvino", **changes})
    return recipe.frozen_recipe(backbone, "weights.npz", None)


def test_recipe_of_openvino(monkeypatch):
    monkeypatch.setattr(recipe, "computed_precision", lambda precision: precision)
    digests = [recipe_digest(openvino_recipe(precision=name)) for name in ("float32", "bfloat16")]
    assert digests == ["640a84e57de70ba5e119cc8928bcaefb", "9952c83b6e49c3f5e22a025c66564a2d"]
    assert openvino_recipe(batch_size=7) == openvino_recipe()
    monkeypatch.setitem(VERSIONS, "openvino", "2026.0.1")
    assert recipe_digest(openvino_recipe()) not in digests


def test_recipe_of_openvino_has_the_precision_that_was_used(monkeypatch):
    supported = openvino_recipe(precision="bfloat16")
    monkeypatch.setattr(recipe, "computed_precision", lambda _: "float32")
    without = openvino_recipe(precision="bfloat16")
    assert (without["precision"], without["type"]) == ("float32", "float16")
    exact = openvino_recipe()
    assert len({recipe_digest(each) for each in (without, exact)}) == 2
    assert supported["precision"] in ("float32", "bfloat16")


def test_backbones_of_november_2026_run_on_tensorflow():
    backbone = Backbone(**BACKBONE)
    assert backbone.engine == "tensorflow" and backbone.model_dump() == BACKBONE
    changed = {**BACKBONE, "engine": "openvino"}
    assert Backbone(**changed).model_dump() == changed


def test_recipe_names_the_tensorflow_build_for_gpus(monkeypatch):
    def version(name: str) -> str:
        if name == "tensorflow-cpu":
            raise recipe.PackageNotFoundError(name)
        return {"keras": "3.0.0", "tensorflow": "2.0.0"}[name]

    monkeypatch.setattr(recipe, "version", version)
    digest = recipe_digest(recipe.frozen_recipe(Backbone(**BACKBONE), "weights.npz", None))
    assert digest == "d64bc3e857c0b858c045bade25ab8621"


def test_recipe_of_augmented_views(tmp_path):
    from thaw.models.backbones.frozen import FrozenBackbone
    from thaw.models.backbones.views import CachedViews

    frozen = FrozenBackbone.__new__(FrozenBackbone)  # without building the network
    frozen.recipe = recipe.frozen_recipe(Backbone(**BACKBONE), "weights.npz", "block5_conv1")
    augmentation = Augmentation(horizontal_flip=True, vertical_flip=False, shear=0.2, zoom=0.1)
    CachedViews(frozen, {}, augmentation, 4)
    stores = {folder.name for folder in (tmp_path / "store" / "frozen").iterdir()}
    assert stores == {"5ebc5015cfddd6919ff7bc7a6021f4a7", "6b025bc861432620542b65632dcc4b81"}


def test_weights_are_hashed_once_until_the_file_changes(monkeypatch):
    paths = []
    monkeypatch.setattr(recipe, "file_digest", lambda path: paths.append(path) or f"{len(paths)}")
    assert [recipe.weights_digest(path) for path in ("weights.npz", "./weights.npz")] == ["1", "1"]
    save_npz("weights.npz", {"conv/kernel": np.zeros(7, "float32")})
    assert recipe.weights_digest("weights.npz") == "2"
