import numpy as np
import pytest
from PIL import Image as Pillow

from thaw.config.dataset import Image
from thaw.data.decoding import decode
from thaw.data.formats import BadImage

SIZE = 16
RAMP = np.tile(np.linspace(0, 1, SIZE), (SIZE, 1))  # from black to white
LIMITS = {
    "u1": (0, 255), "u2": (0, 65535), "u4": (0, 4e9), "i1": (-128, 127), "i2": (-1000, 3000),
    "i4": (-2e9, 2e9), "f2": (-1, 1), "f4": (-1e5, 1e5), "f8": (0, 1),
}  # fmt: skip


def grey(content: bytes, **changed) -> np.ndarray:
    image = {"size": SIZE, "resampling": "nearest", "colour": "grey"}
    return decode(content, Image(**image | changed))[..., 0]


def values(kind: str) -> np.ndarray:
    low, high = LIMITS[kind]
    exact = RAMP * (high - low) + low
    return (exact if kind[0] == "f" else np.rint(exact)).astype(kind)


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", LIMITS)
def test_black_is_black_in_grey_tiffs_of_every_kind(tiff, kind, order, deflate, white_is_zero):
    pixels = values(kind)[:, ::-1] if white_is_zero else values(kind)
    content = tiff(pixels, 0 if white_is_zero else 1, order, deflate)
    parameters = {} if kind in ("u1", "u2") else {"value_range": [float(v) for v in LIMITS[kind]]}
    assert np.abs(grey(content, **parameters) - RAMP * 255).max() <= 1


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("planes", [False, True])
def test_16_bit_colours_keep_their_upper_8_bits(tiff, order, deflate, planes):
    colours = np.random.default_rng(0).integers(0, 65536, (SIZE, SIZE, 3), "uint16")
    content = tiff(colours, 2, order, deflate, planes)
    image = Image(size=SIZE, resampling="nearest", colour="rgb")
    np.testing.assert_array_equal(decode(content, image), colours >> 8)


@pytest.mark.parametrize("kind", ["i2", "f4"])
def test_values_of_unknown_range_are_refused_with_what_they_are(tiff, kind):
    dtype = np.dtype(kind).name
    with pytest.raises(BadImage, match=f"{dtype} values from -.* to .*value_range=.BLACK,WHITE."):
        grey(tiff(values(kind)))


def test_values_beyond_the_range_are_clipped_and_no_numbers_refused(tiff):
    pixels = values("f4")
    expected = (pixels > 0) * 255
    assert np.array_equal(grey(tiff(pixels), value_range=[-1e-9, 1e-9]), expected)
    pixels[0, 0] = np.nan
    with pytest.raises(BadImage, match="values that are not numbers"):
        grey(tiff(pixels), value_range=[0, 1])


def test_the_value_range_also_applies_to_16_bits_and_not_to_8(tiff, encoded):
    pixels = (RAMP * 1000 + 7000).astype("uint16")
    expected = np.rint((pixels - 7000.0) / 1000 * 255)
    for content in (tiff(pixels), encoded(Pillow.fromarray(pixels))):
        assert np.array_equal(grey(content, value_range=[7000, 8000]), expected)
    content = tiff((RAMP * 255).astype("uint8"))
    assert np.array_equal(grey(content, value_range=[7000, 8000]), grey(content))
    colour = tiff(np.zeros((SIZE, SIZE, 3), "uint16"), 2)
    with pytest.raises(BadImage, match="16-bit colour: dataset.image.value_range = "):
        grey(colour, value_range=[0, 1])


@pytest.mark.parametrize("largest", [1, 100, 255, 4095, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_portable_maps_are_scaled_by_the_largest_value_that_they_state(largest, plain):
    pixels = np.rint(RAMP * largest).astype(">u2" if largest > 255 else "u1")
    text = " ".join(map(str, pixels.ravel())).encode()
    head = f"P{2 if plain else 5}\n# made by a test\n{SIZE} {SIZE}\n{largest}\n".encode()
    decoded = grey(head + (text if plain else pixels.tobytes()))
    assert np.abs(decoded - pixels / largest * 255.0).max() <= 1
