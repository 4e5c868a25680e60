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
CONVOLUTIONS = 6
"""Of a module of four towers, reduced."""


def terms_of(losses: dict, **changed) -> LossTerms:
    """Unchecked, so that a term can be seen alone that parameters take beside another only."""
    made = {name: Loss(**values) for name, values in losses.items()}
    return LossTerms(Training.model_construct(**{**TRAINING, "losses": made, **changed}))


@pytest.fixture
def stack(afresh):
    """A function that builds three modules with classifiers after the first two, and gives the
    trainer of some losses."""

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


def some(count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.random((count, *PIXELS), "float32"), np.arange(count, dtype="int32") % CLASSES


def learning(trainer: keras.Model) -> set[str]:
    """The layers of `trainer` that the gradient of its loss reaches."""
    x, y = some()
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
    """Those of the first modules, as Keras names them."""
    return {f"conv2d_{n}" if n else "conv2d" for n in range(modules * CONVOLUTIONS)}


@pytest.mark.parametrize(
    ("head", "modules"), [("auxiliary1", 1), ("auxiliary2", 2), (None, 3)], ids=str
)
def test_a_loss_reaches_what_lies_before_its_own_head_and_nothing_else(stack, head, modules):
    losses = {"main": term(output=head)}
    trainer = stack({"only": term(), "a": term(output="auxiliary1"), "b": term(output="auxiliary2")})
    every = {variable.path.split("/")[0] for variable in trainer.trainable_variables}
    assert every == convolutions(3) | {"output", "auxiliary1", "auxiliary2"}
    assert learning(trainer) == every
    assert learning(stack(losses)) == convolutions(modules) | {head or "output"}


def entropy(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Each image's cross-entropy."""
    return -np.log(predicted[np.arange(len(true)), true])


LOSSES = {
    "main": term(weight=0.5),
    "first": term(weight=0.3, output="auxiliary1"),
    "second": term("focal", weight=2.0, output="auxiliary2"),
}


def test_the_loss_is_the_weighted_sum_of_its_terms_over_weighted_images(stack):
    trainer = stack(LOSSES)
    x, y = some()
    weights = np.array([0, 1, 2, 0.5, 1, 1.5], "float32")
    own, first, second = (np.asarray(given, "float64") for given in trainer([x]))
    unsure = (1 - second[np.arange(len(y)), y]) ** 2
    each = 0.5 * entropy(own, y) + 0.3 * entropy(first, y) + 2.0 * unsure * entropy(second, y)
    given = trainer.compute_loss(x, y, trainer([x]))
    assert float(given) == pytest.approx(each.mean(), rel=1e-5)
    given = trainer.compute_loss(x, y, trainer([x]), weights)
    assert float(given) == pytest.approx((weights * each).mean(), rel=1e-5)


def test_keras_trains_by_the_sum_and_validates_by_the_models_own_output_alone(stack):
    trainer = stack(LOSSES)
    x, y = some()
    own, first, second = (np.asarray(given, "float64") for given in trainer([x]))
    compile_model(trainer, Training(**TRAINING), steps=1)
    held_out = trainer.evaluate(x, y, verbose=0, return_dict=True)
    assert set(held_out) == {"loss", "accuracy"}
    assert held_out["loss"] == pytest.approx(0.5 * entropy(own, y).mean(), rel=1e-5)
    assert held_out["accuracy"] == pytest.approx((own.argmax(axis=1) == y).mean())
    trained = trainer.train_on_batch(x, y, return_dict=True)
    unsure = (1 - second[np.arange(len(y)), y]) ** 2
    each = 0.5 * entropy(own, y) + 0.3 * entropy(first, y) + 2.0 * unsure * entropy(second, y)
    assert trained["loss"] == pytest.approx(each.mean(), rel=1e-5)
    assert trained["accuracy"] == held_out["accuracy"]


def network(classes: int, kind: str = "auto", **regularized) -> keras.Model:
    """Two dense layers, `hidden` and `output`, on five numbers."""
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
def test_cross_entropy_trains_as_the_loss_of_keras(afresh, classes, kind, loss):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 5)).astype("float32"), random.integers(classes, size=40)
    weights = np.ones(40, "float32")
    found = []
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
        seen = trained.fit(
            x, labels, 16, 3, verbose=0, sample_weight=weights, validation_data=(x, labels)
        )
        found.append((model.get_weights(), seen.history))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)
    assert set(found[0][1]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, values in found[0][1].items():
        np.testing.assert_allclose(values, found[1][1][name], rtol=1e-5)


MINE = """
from thaw.runtime.tensorflow import keras

def squared(true, predicted):
    return keras.ops.mean((true - predicted) ** 2, axis=-1)

def thrifty(true, predicted, read):
    return squared(true, predicted) + keras.ops.sum(read, axis=-1)

def column(true, predicted):
    return (true - predicted) ** 2
"""


@pytest.fixture
def mine(tmp_path):
    """A file of losses of the user's."""
    file = tmp_path / "my_losses.py"
    file.write_text(MINE)
    return file


def test_a_users_own_function_is_trained_by_and_an_edit_of_its_file_is_noticed(mine):
    model = network(2)
    terms = terms_of({"main": term("squared")}, loss_file=str(mine))
    x, y = np.ones((2, 5), "float32"), np.array([[0], [1]], "float32")
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    predicted = np.asarray(model(x))
    given = trainer.compute_loss(x, y, trainer([x]))
    assert float(given) == pytest.approx(np.mean((predicted - y) ** 2), rel=1e-5)
    assert terms_of({"main": term("squared")}, loss_file=str(mine)).digest == terms.digest
    assert terms_of({"main": term("focal")}).digest != terms.digest
    mine.write_text(MINE.replace("** 2", "** 4"))
    edited = terms_of({"main": term("squared")}, loss_file=str(mine))
    assert edited.digest != terms.digest
    given = edited.trainer(model.inputs, edited.outputs(model)).compute_loss(x, y, trainer([x]))
    assert float(given) == pytest.approx(np.mean((predicted - y) ** 4), rel=1e-5)


def test_a_function_that_reads_a_layer_gets_its_output_and_trains_it(mine):
    model = network(2)
    losses = {"main": term("thrifty", weight=2.0, layer="hidden")}
    terms = terms_of(losses, loss_file=str(mine))
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    x, y = np.random.default_rng(0).random((4, 5), "float32"), np.ones((4, 1), "float32")
    kernel, bias = (np.asarray(v) for v in model.get_layer("hidden").weights)
    hidden = np.maximum(x @ kernel + bias, 0)
    squares = (np.asarray(model(x)) - y) ** 2
    expected = 2 * np.mean(squares[:, 0] + hidden.sum(axis=1))
    assert float(trainer.compute_loss(x, y, trainer([x]))) == pytest.approx(expected, rel=1e-5)
    held_out = trainer.compute_loss(x, y, trainer([x]), training=False)
    assert float(held_out) == pytest.approx(expected, rel=1e-5)  # on the model's output too


def test_activity_trains_the_layer_that_it_reads_and_what_lies_before_it(stack):
    losses = {"sparse": term("activity", output=None, layer="conv2d_3")}
    # the 5x5 tower of the first module: conv2d_3 is its 1x1, which reads the pixels
    assert learning(stack(losses)) == {"conv2d_3"}
    losses = {"sparse": term("activity", output=None, layer="conv2d_4")}
    assert learning(stack(losses)) == {"conv2d_3", "conv2d_4"}


REFUSED = {
    "an unknown function": (
        {"losses": {"main": term("cross_entrpy")}},
        r"losses.main.function = 'cross_entrpy': expected a function of .*losses.py: "
        r"cross_entropy, focal, activity. Did you mean cross_entropy\?",
    ),
    "a function that reads a layer, and none is named": (
        {"losses": {"main": term("activity")}},
        r"losses.main.function = 'activity': expected a function of \(true, predicted\), as "
        r"losses.main.reads = None has it, and it takes \(true, predicted, read\)",
    ),
    "a function that reads no layer, and one is named": (
        {"losses": {"main": term(layer="hidden")}},
        r"expected a function of \(true, predicted, read\), as losses.main.reads = hidden has",
    ),
    "a file that is not there": (
        {"loss_file": "no_losses.py"},
        r"loss_file = 'no_losses.py': expected a Python file that can be run. FileNotFoundError",
    ),
    "a file that raises": (
        {"loss_file": "raising.py"},
        r"loss_file = 'raising.py': expected .* that can be run. KeyError: 'no such\\nkey'",
    ),
    "a file that raises more than a line": (
        {"loss_file": "lines.py"},
        r"loss_file = 'lines.py': expected .* that can be run. ValueError: one two$",
    ),
    "a file that is not Python": (
        {"loss_file": "wrong.py"},
        r"loss_file = 'wrong.py': expected .* that can be run. SyntaxError: .*wrong.py, line 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raising.py").write_text("raise KeyError('no such\\nkey')")
    (tmp_path / "lines.py").write_text("raise ValueError('one\\n two')")
    (tmp_path / "wrong.py").write_text("def loss(true, predicted:\n")
    changed, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as refused:
        LossTerms(Training(**{**TRAINING, **changed}))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("place", ["at", "reads"])
def test_a_layer_that_there_is_not_is_refused_with_the_nearest(place):
    terms = terms_of(
        {"main": term("activity" if place == "reads" else "focal", **{place: "hiden"})}
    )
    with pytest.raises(UserError) as refused:
        terms.outputs(network(2))
    said = str(refused.value)
    assert said.startswith("losses name the layer 'hiden': expected one of ")
    assert "hidden, output." in said and said.endswith("Did you mean hidden?") and "\n" not in said


def test_a_function_that_does_not_give_a_loss_for_each_image_is_refused(mine):
    model = network(2)
    terms = terms_of({"main": term("column")}, loss_file=str(mine))
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    compile_model(trainer, Training(**TRAINING), steps=1)
    x, y = np.ones((4, 5), "float32"), np.ones((4, 1), "float32")
    with pytest.raises(
        UserError, match=r"^losses.main.function = 'column': expected a loss for eac"
    ):
        trainer.fit(x, y, sample_weight=np.ones(4, "float32"), verbose=0)
