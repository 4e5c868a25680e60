import numpy as np
import pytest

from thaw.runtime.tensorflow import keras
from thaw.training.optimizers import Adam, AdamW


def trained(optimizer) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the weights and the optimizer's variables after a few steps."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20,))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(30, "relu")(inputs)))
    model.compile(optimizer, "mse")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(320, 20)), random.normal(size=(320, 3))
    model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    return model.get_weights(), [np.asarray(v) for v in optimizer.variables]


SCHEDULE = keras.optimizers.schedules.CosineDecay(0.0, 50, warmup_target=0.01, warmup_steps=10)


@pytest.mark.parametrize("rate", [1e-3, SCHEDULE])
@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (Adam, keras.optimizers.Adam, {"epsilon": 1e-4}),
        (AdamW, keras.optimizers.AdamW, {"weight_decay": 0.1}),
    ],
)
def test_the_fused_update_equals_that_of_keras(ours, theirs, options, rate):
    weights, state = trained(ours(rate, **options))
    expected, expected_state = trained(theirs(rate, **options))
    for a, b in zip([*weights, *state], [*expected, *expected_state], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert any(
        np.abs(a - b).max() > 0 for a, b in zip(weights, trained(ours(1e-4))[0], strict=True)
    )
