"""Gradients of bfloat16 convolutions, on processors with and without bfloat16 arithmetic."""

import numpy as np
import pytest

from thaw.runtime.tensorflow import compute_precision, keras, tf
from thaw.training import gradients


@pytest.mark.parametrize(
    ("cpuinfo", "quick"),
    [
        ("flags : fma avx2 sha_ni", False),
        ("flags : fma avx2 avx512f avx512_bf16", True),
        ("flags : avx2 avx_vnni avx_ne_convert", True),
        (None, False),
    ],
)
def test_bfloat16_is_fast_on_processors_that_have_it(cpuinfo, quick, tmp_path, monkeypatch):
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(gradients, "CPUINFO", tmp_path / "cpuinfo")
    assert gradients.quick_in_bfloat16() == quick


def _model(older: bool, monkeypatch):
    """Return a bfloat16 convolution that trains like on an older or a newer processor."""
    monkeypatch.setattr(gradients, "quick_in_bfloat16", lambda: not older)
    keras.utils.set_random_seed(1)
    with compute_precision("bfloat16"):
        inputs = keras.Input((9, 9, 8), name="inputs")
        layer = keras.layers.Conv2D(16, 3, strides=2, padding="same", name="layer")
    model = keras.Model(inputs, layer(inputs), name="model")
    gradients.sum_in_float32(model)
    return model


def test_gradients_are_summed_in_float32_and_rounded(monkeypatch):
    layer = _model(True, monkeypatch).get_layer("layer")
    random = np.random.default_rng(1)
    x, above = (
        tf.cast(random.normal(size=shape), "bfloat16") for shape in ((16, 9, 9, 8), (16, 5, 5, 16))
    )
    kernel = tf.cast(layer.kernel.value, "bfloat16")

    def gradients_of(convolution, x, kernel, above):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = convolution(x, kernel)
        return tape.gradient(y, [x, kernel], above)

    ours = gradients_of(layer.convolution_op, x, kernel, above)
    wide = [tf.cast(part, "float32") for part in (x, kernel, above)]
    exact = gradients_of(lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"), *wide)
    for one, other in zip(ours, exact, strict=True):
        assert one.dtype == tf.bfloat16
        assert np.array(one == tf.cast(other, "bfloat16")).all()


def test_predictions_and_saved_files_do_not_change(monkeypatch, tmp_path):
    x = np.random.default_rng(1).normal(size=(4, 9, 9, 8)).astype("float32")
    plain, ours = (_model(older, monkeypatch) for older in (False, True))
    assert "convolution_op" not in vars(plain.get_layer("layer"))
    assert plain.predict(x, verbose=0).tobytes() == ours.predict(x, verbose=0).tobytes()
    ours.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert ours.get_config() == plain.get_config()
    assert again.predict(x, verbose=0).tobytes() == plain.predict(x, verbose=0).tobytes()


def test_float32_convolutions_do_not_change():
    model = keras.Sequential([keras.Input((9, 9, 8)), keras.layers.Conv2D(4, 3)])
    gradients.sum_in_float32(model)
    assert "convolution_op" not in vars(model.layers[0])
