import numpy as np
import pytest

from tests.fixtures.training import TRAINING, term
from thaw.config.training import Loss, Training
from thaw.errors import UserError
from thaw.models.layers import output_layer
from thaw.networks.inception import Parameters as Inception
from thaw.networks.inception import build as build_inception
from thaw.runtime.tensorflow import keras, tf
from thaw.training.fit import compile_model
from thaw.training.losses import LossTerms

PIXELS = (8, 8, 1)
CLASSES = 3
CONVOLUTIONS = 6  # of a module with four branches and bottlenecks


def terms_of(losses: dict) -> LossTerms:
    """Return unvalidated terms, so that a term can be tested without one on the main output."""
    terms = {name: Loss(**values) for name, values in losses.items()}
    return LossTerms(Training.model_construct(**{**TRAINING, "losses": terms}))


@pytest.fixture
def stack(afresh):
    """Return a function that builds three modules with auxiliary classifiers after the first two
    and returns the trainer for some losses."""

    def make(losses: dict) -> keras.Model:
        afresh()
        network = Inception(
            **{**TRAINING, "family": "inception", "modules": 3, "auxiliary": [1, 2], "filters": 4},
            branches=["1x1", "3x3", "5x5", "pool"],
            bottleneck=True,
            downsample=True,
            augmentation={"horizontal_flip": False, "vertical_flip": False, "shear": 0, "zoom": 0},
        )
        built = build_inception(network, PIXELS, CLASSES)
        terms = terms_of(losses)
        return terms.trainer(built.inputs, terms.outputs(built))

    return make


def batch(count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.random((count, *PIXELS), "float32"), np.arange(count, dtype="int32") % CLASSES


def learning(trainer: keras.Model) -> set[str]:
    """Return the layers of `trainer` that its loss has a gradient for."""
    x, y = batch()
    with tf.GradientTape() as tape:
        loss = trainer.compute_loss(x, y, trainer([x], training=True))
    variables = trainer.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    return {
        variable.path.split("/")[0]
        for variable, gradient in zip(variables, gradients, strict=True)
        if gradient is not None and np.any(gradient)
    }


def convolutions(modules: int) -> set[str]:
    """Return Keras's names of the convolutions in the first modules."""
    return {f"conv2d_{n}" if n else "conv2d" for n in range(modules * CONVOLUTIONS)}


@pytest.mark.parametrize(
    ("head", "modules"), [("auxiliary1", 1), ("auxiliary2", 2), (None, 3)], ids=str
)
def test_a_loss_trains_only_the_layers_before_its_own_output(stack, head, modules):
    losses = {"main": term(output=head)}
    trainer = stack(
        {"only": term(), "a": term(output="auxiliary1"), "b": term(output="auxiliary2")}
    )
    every = {variable.path.split("/")[0] for variable in trainer.trainable_variables}
    assert every == convolutions(3) | {"output", "auxiliary1", "auxiliary2"}
    assert learning(trainer) == every
    assert learning(stack(losses)) == convolutions(modules) | {head or "output"}


def entropy(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each image."""
    return -np.log(predicted[np.arange(len(true)), true])


LOSSES = {
    "main": term(weight=0.5),
    "first": term(weight=0.3, output="auxiliary1"),
    "second": term("focal", weight=2.0, output="auxiliary2"),
}


def test_the_loss_is_the_weighted_sum_of_its_terms_over_weighted_images(stack):
    trainer = stack(LOSSES)
    x, y = batch()
    weights = np.array([0, 1, 2, 0.5, 1, 1.5], "float32")
    own, first, second = (np.asarray(output, "float64") for output in trainer([x]))
    unsure = (1 - second[np.arange(len(y)), y]) ** 2
    each = 0.5 * entropy(own, y) + 0.3 * entropy(first, y) + 2.0 * unsure * entropy(second, y)
    loss = trainer.compute_loss(x, y, trainer([x]))
    assert float(loss) == pytest.approx(each.mean(), rel=1e-5)
    loss = trainer.compute_loss(x, y, trainer([x]), weights)
    assert float(loss) == pytest.approx((weights * each).mean(), rel=1e-5)


def test_keras_trains_on_the_sum_and_validates_on_the_models_output_only(stack):
    trainer = stack(LOSSES)
    x, y = batch()
    own, first, second = (np.asarray(output, "float64") for output in trainer([x]))
    compile_model(trainer, Training(**TRAINING), steps=1)
    metrics = trainer.evaluate(x, y, verbose=0, return_dict=True)
    assert set(metrics) == {"loss", "accuracy"}
    assert metrics["loss"] == pytest.approx(0.5 * entropy(own, y).mean(), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx((own.argmax(axis=1) == y).mean())
    trained = trainer.train_on_batch(x, y, return_dict=True)
    unsure = (1 - second[np.arange(len(y)), y]) ** 2
    each = 0.5 * entropy(own, y) + 0.3 * entropy(first, y) + 2.0 * unsure * entropy(second, y)
    assert trained["loss"] == pytest.approx(each.mean(), rel=1e-5)
    assert trained["accuracy"] == metrics["accuracy"]


def network(classes: int, kind: str = "auto", **regularized) -> keras.Model:
    """Return a network of two dense layers, `hidden` and `output`, on five numbers."""
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(8, activation="relu", name="hidden", **regularized)(inputs)
    return keras.Model(inputs, output_layer(hidden, classes, kind))


@pytest.mark.parametrize(
    ("classes", "kind", "loss"),
    [
        (2, "auto", "binary_crossentropy"),
        (2, "softmax", "sparse_categorical_crossentropy"),
        (4, "auto", "sparse_categorical_crossentropy"),
    ],
)
def test_cross_entropy_trains_like_the_loss_of_keras(afresh, classes, kind, loss):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 5)).astype("float32"), random.integers(classes, size=40)
    weights = np.ones(40, "float32")
    results = []
    for ours in (True, False):
        afresh()
        model = network(classes, kind, kernel_regularizer=keras.regularizers.L2(0.1))
        if ours:
            terms = terms_of({"main": term()})
            trained = terms.trainer(model.inputs, terms.outputs(model))
            compile_model(trained, Training(**TRAINING), steps=3)
        else:
            trained = model
            model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
        labels = y.astype("float32")[:, None] if model.output_shape[1] == 1 else y.astype("int32")
        history = trained.fit(
            x, labels, 16, 3, verbose=0, sample_weight=weights, validation_data=(x, labels)
        )
        results.append((model.get_weights(), history.history))
    for one, other in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)
    assert set(results[0][1]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, values in results[0][1].items():
        np.testing.assert_allclose(values, results[1][1][name], rtol=1e-5)


MY_LOSSES = """
from thaw.runtime.tensorflow import keras

def squared(true, predicted):
    return keras.ops.mean((true - predicted) ** 2, axis=-1)

def thrifty(true, predicted, layer_output):
    return squared(true, predicted) + keras.ops.sum(layer_output, axis=-1)

def column(true, predicted):
    return (true - predicted) ** 2
"""


@pytest.fixture
def my_losses(tmp_path):
    """Return the path of a user's file of loss functions."""
    file = tmp_path / "my_losses.py"
    file.write_text(MY_LOSSES)
    return file


def test_a_users_function_is_used_and_an_edit_of_its_file_changes_the_digest(my_losses):
    model = network(2)
    terms = terms_of({"main": term(f"{my_losses}:squared")})
    x, y = np.ones((2, 5), "float32"), np.array([[0], [1]], "float32")
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    predicted = np.asarray(model(x))
    loss = trainer.compute_loss(x, y, trainer([x]))
    assert float(loss) == pytest.approx(np.mean((predicted - y) ** 2), rel=1e-5)
    assert terms_of({"main": term(f"{my_losses}:squared")}).digest == terms.digest
    assert terms_of({"main": term("focal")}).digest != terms.digest
    my_losses.write_text(MY_LOSSES.replace("** 2", "** 4"))
    edited = terms_of({"main": term(f"{my_losses}:squared")})
    assert edited.digest != terms.digest
    loss = edited.trainer(model.inputs, edited.outputs(model)).compute_loss(x, y, trainer([x]))
    assert float(loss) == pytest.approx(np.mean((predicted - y) ** 4), rel=1e-5)


def test_a_function_of_a_layer_gets_its_output_and_trains_it(my_losses):
    model = network(2)
    losses = {"main": term(f"{my_losses}:thrifty", weight=2.0, layer="hidden")}
    terms = terms_of(losses)
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    x, y = np.random.default_rng(0).random((4, 5), "float32"), np.ones((4, 1), "float32")
    kernel, bias = (np.asarray(v) for v in model.get_layer("hidden").weights)
    hidden = np.maximum(x @ kernel + bias, 0)
    squares = (np.asarray(model(x)) - y) ** 2
    expected = 2 * np.mean(squares[:, 0] + hidden.sum(axis=1))
    assert float(trainer.compute_loss(x, y, trainer([x]))) == pytest.approx(expected, rel=1e-5)
    loss = trainer.compute_loss(x, y, trainer([x]), training=False)
    assert float(loss) == pytest.approx(expected, rel=1e-5)  # in validation too


def test_activity_trains_its_layer_and_the_layers_before_it(stack):
    losses = {"sparse": term("activity", output=None, layer="conv2d_3")}
    # the 5x5 branch of the first module: conv2d_3 is its 1x1 convolution of the pixels
    assert learning(stack(losses)) == {"conv2d_3"}
    losses = {"sparse": term("activity", output=None, layer="conv2d_4")}
    assert learning(stack(losses)) == {"conv2d_3", "conv2d_4"}


REFUSED = {
    "an unknown function": (
        {"losses": {"main": term("cross_entrpy")}},
        r"losses.main.function = '.*/stages/losses.py:cross_entrpy': expected a function of "
        r".*losses.py: cross_entropy, smoothed, focal, activity. Did you mean cross_entropy\?",
    ),
    "a function of a layer without layer": (
        {"losses": {"main": term("activity")}},
        r"losses.main.function = '.*/stages/losses.py:activity': expected a function of "
        r"\(true, predicted\), since losses.main.layer = None, and it takes "
        r"\(true, predicted, layer_output\)",
    ),
    "a function of no layer with layer": (
        {"losses": {"main": term(layer="hidden")}},
        r"expected a function of \(true, predicted, layer_output\), "
        r"since losses.main.layer = hidden, and it takes \(true, predicted\)",
    ),
    "a missing file": (
        {"losses": {"main": term("no_losses.py:loss")}},
        r"losses: no_losses.py cannot be run. Expected a Python file with loss functions. "
        r"FileNotFoundError",
    ),
    "a file that raises": (
        {"losses": {"main": term("raising.py:loss")}},
        r"losses: raising.py cannot be run. Expected a Python file .*. KeyError: 'no such\\nkey'",
    ),
    "a file that raises several lines": (
        {"losses": {"main": term("lines.py:loss")}},
        r"losses: lines.py cannot be run. Expected a Python file .*. ValueError: one two$",
    ),
    "a file that is not Python": (
        {"losses": {"main": term("wrong.py:loss")}},
        r"losses: wrong.py cannot be run. Expected a Python file .*. "
        r"SyntaxError: .*wrong.py, line 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_errors_are_one_line(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raising.py").write_text("raise KeyError('no such\\nkey')")
    (tmp_path / "lines.py").write_text("raise ValueError('one\\n two')")
    (tmp_path / "wrong.py").write_text("def loss(true, predicted:\n")
    changed, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as error:
        LossTerms(Training(**{**TRAINING, **changed}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["output", "layer"])
def test_an_unknown_layer_raises_with_the_nearest_name(place):
    terms = terms_of(
        {"main": term("activity" if place == "layer" else "focal", **{place: "hiden"})}
    )
    with pytest.raises(UserError) as error:
        terms.outputs(network(2))
    message = str(error.value)
    assert message.startswith("losses name the layer 'hiden': expected one of ")
    assert "hidden, output." in message and message.endswith("Did you mean hidden?")
    assert "\n" not in message


def test_a_function_that_returns_no_loss_per_image_raises(my_losses):
    model = network(2)
    terms = terms_of({"main": term(f"{my_losses}:column")})
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    compile_model(trainer, Training(**TRAINING), steps=1)
    x, y = np.ones((4, 5), "float32"), np.ones((4, 1), "float32")
    with pytest.raises(
        UserError, match=r"^losses.main.function = '.*:column': expected a loss for eac"
    ):
        trainer.fit(x, y, sample_weight=np.ones(4, "float32"), verbose=0)
