import numpy as np

from thaw.config.training import Augmentation
from thaw.data.augmentation import (
    allowed_augmentation,
    distinct_views,
    flips,
    random_flips,
    random_layers,
    view_function,
)

KEYS = [f"{number:064x}" for number in (2**250, 2**251 + 5)]


def augmentation(horizontal=False, vertical=False, shear=0.0, zoom=0.0) -> Augmentation:
    return Augmentation(horizontal_flip=horizontal, vertical_flip=vertical, shear=shear, zoom=zoom)


def test_view_zero_is_the_image_itself(picture):
    view = view_function(augmentation(True, True, 0.2, 0.2))
    assert np.array_equal(view(picture(), KEYS[0], 0), picture())


def test_four_views_cover_all_combinations_of_two_flips(picture):
    view, pixels = view_function(augmentation(True, True)), picture()
    seen = {view(pixels, KEYS[0], number).tobytes() for number in range(4)}
    expected = [pixels, pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1]]
    assert seen == {np.ascontiguousarray(pixels).tobytes() for pixels in expected}


def test_flips_returns_only_combinations_of_enabled_flips():
    assert flips(augmentation()) == [(False, False)]
    assert flips(augmentation(horizontal=True)) == [(False, False), (False, True)]
    assert flips(augmentation(vertical=True)) == [(False, False), (True, False)]


def test_allowed_augmentation_removes_flips_that_the_dataset_forbids():
    both = augmentation(True, True, 0.2, 0.1)
    assert allowed_augmentation(both, ["horizontal", "vertical"]) == both
    assert allowed_augmentation(both, ["horizontal"]) == augmentation(True, False, 0.2, 0.1)
    assert allowed_augmentation(both, []) == augmentation(False, False, 0.2, 0.1)
    assert allowed_augmentation(augmentation(), ["horizontal", "vertical"]) == augmentation()


def test_distinct_views_counts_no_view_twice():
    assert distinct_views(augmentation(True, True), 8) == 4
    assert distinct_views(augmentation(True), 4) == 2
    assert distinct_views(augmentation(), 4) == 1
    assert distinct_views(augmentation(True, True), 3) == 3
    assert distinct_views(augmentation(zoom=0.1), 8) == 8


def test_views_do_not_depend_on_the_order_of_computation(picture):
    requests = [(key, number) for key in KEYS for number in (1, 2, 3)]
    one, other = (view_function(augmentation(True, False, 0.2, 0.2)) for _ in range(2))
    first = {(key, n): one(picture(), key, n) for key, n in requests}
    again = {(key, n): other(picture(), key, n) for key, n in reversed(requests)}
    for item in requests:
        assert np.array_equal(first[item], again[item])
        assert first[item].dtype == "uint8" and first[item].shape == picture().shape
    different = {pixels.tobytes() for pixels in first.values()}
    assert len(different) == len(requests)  # both key and number matter


def test_shear_or_zoom_alone_changes_the_image(picture):
    for parameters in (augmentation(shear=0.2), augmentation(zoom=0.2)):
        assert not np.array_equal(view_function(parameters)(picture(), KEYS[0], 1), picture())


def test_random_layers_returns_a_layer_for_shear_and_for_zoom():
    def names(parameters: Augmentation) -> list[str]:
        return [type(layer).__name__ for layer in random_layers(parameters)]

    assert names(augmentation()) == []
    assert names(augmentation(True, True)) == []
    assert names(augmentation(False, True, 0.2, 0.1)) == ["RandomShear", "RandomZoom"]


def test_random_flips_draws_an_allowed_combination_for_each_image(picture):
    batch = np.stack([picture(number) for number in range(64)])
    random = np.random.default_rng(0)
    assert np.array_equal(random_flips(batch, random, augmentation()), batch)
    flipped = random_flips(batch, random, augmentation(horizontal=True))
    kinds = [
        "unchanged" if np.array_equal(new, old) else "flipped" * np.array_equal(new, old[:, ::-1])
        for new, old in zip(flipped, batch, strict=True)
    ]
    assert set(kinds) == {"unchanged", "flipped"}
    both = random_flips(batch, random, augmentation(True, True))
    combinations = {
        (v, h)
        for new, old in zip(both, batch, strict=True)
        for v, h in flips(augmentation(True, True))
        if np.array_equal(new, old[:: -1 if v else 1, :: -1 if h else 1])
    }
    assert len(combinations) == 4


def test_layers_do_not_change_images_outside_training(picture):
    x = picture()[None].astype("float32")
    for layer in random_layers(augmentation(True, True, 0.2, 0.2)):
        x = layer(x, training=False)
    assert np.array_equal(np.asarray(x)[0], picture())
