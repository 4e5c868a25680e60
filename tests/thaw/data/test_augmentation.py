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


def test_four_views_hold_every_combination_of_two_flips(picture):
    view, pixels = view_function(augmentation(True, True)), picture()
    seen = {view(pixels, KEYS[0], number).tobytes() for number in range(4)}
    turned = [pixels, pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1]]
    assert seen == {np.ascontiguousarray(pixels).tobytes() for pixels in turned}


def test_flips_that_are_not_allowed_do_not_happen():
    assert flips(augmentation()) == [(False, False)]
    assert flips(augmentation(horizontal=True)) == [(False, False), (False, True)]
    assert flips(augmentation(vertical=True)) == [(False, False), (True, False)]


def test_flips_are_only_those_that_the_data_set_allows():
    both = augmentation(True, True, 0.2, 0.1)
    assert allowed_augmentation(both, ["horizontal", "vertical"]) == both
    assert allowed_augmentation(both, ["horizontal"]) == augmentation(True, False, 0.2, 0.1)
    assert allowed_augmentation(both, []) == augmentation(False, False, 0.2, 0.1)
    assert allowed_augmentation(augmentation(), ["horizontal", "vertical"]) == augmentation()


def test_no_view_is_made_twice():
    assert distinct_views(augmentation(True, True), 8) == 4
    assert distinct_views(augmentation(True), 4) == 2
    assert distinct_views(augmentation(), 4) == 1
    assert distinct_views(augmentation(True, True), 3) == 3
    assert distinct_views(augmentation(zoom=0.1), 8) == 8


def test_a_view_is_the_same_in_whatever_order_views_are_made(picture):
    asked = [(key, number) for key in KEYS for number in (1, 2, 3)]
    one, other = (view_function(augmentation(True, False, 0.2, 0.2)) for _ in range(2))
    first = {(key, n): one(picture(), key, n) for key, n in asked}
    again = {(key, n): other(picture(), key, n) for key, n in reversed(asked)}
    for item in asked:
        assert np.array_equal(first[item], again[item])
        assert first[item].dtype == "uint8" and first[item].shape == picture().shape
    different = {pixels.tobytes() for pixels in first.values()}
    assert len(different) == len(asked)  # drawn from key and number, both


def test_shear_and_zoom_alone_change_a_view(picture):
    for chosen in (augmentation(shear=0.2), augmentation(zoom=0.2)):
        assert not np.array_equal(view_function(chosen)(picture(), KEYS[0], 1), picture())


def test_layers_are_those_that_were_asked_for():
    def names(chosen: Augmentation) -> list[str]:
        return [type(layer).__name__ for layer in random_layers(chosen)]

    assert names(augmentation()) == []
    assert names(augmentation(True, True)) == []
    assert names(augmentation(False, True, 0.2, 0.1)) == ["RandomShear", "RandomZoom"]


def test_each_image_of_a_batch_is_flipped_or_not_as_allowed(picture):
    batch = np.stack([picture(number) for number in range(64)])
    random = np.random.default_rng(0)
    assert np.array_equal(random_flips(batch, random, augmentation()), batch)
    turned = random_flips(batch, random, augmentation(horizontal=True))
    kinds = [
        "as it was" if np.array_equal(new, old) else "turned" * np.array_equal(new, old[:, ::-1])
        for new, old in zip(turned, batch, strict=True)
    ]
    assert set(kinds) == {"as it was", "turned"}
    both = random_flips(batch, random, augmentation(True, True))
    found = {
        (v, h)
        for new, old in zip(both, batch, strict=True)
        for v, h in flips(augmentation(True, True))
        if np.array_equal(new, old[:: -1 if v else 1, :: -1 if h else 1])
    }
    assert len(found) == 4


def test_layers_leave_images_alone_when_not_training(picture):
    x = picture()[None].astype("float32")
    for layer in random_layers(augmentation(True, True, 0.2, 0.2)):
        x = layer(x, training=False)
    assert np.array_equal(np.asarray(x)[0], picture())
