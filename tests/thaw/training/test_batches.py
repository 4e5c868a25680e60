import numpy as np
import pandas as pd

from tests.fixtures.training import TRAINING
from thaw.config.training import Training
from thaw.training.batches import Batches, batches


def made(seed=0, sigmoid=False, weights=None, count=10) -> Batches:
    return Batches(lambda n, _: n * 10, np.arange(count) % 3, weights, 4, seed, sigmoid)


def seen(data: Batches) -> list[int]:
    return [int(x) for number in range(len(data)) for x in data[number][0]]


def test_every_row_comes_once_an_epoch_with_its_label_and_weight():
    data = made(weights=np.arange(10, dtype="float32"))
    assert len(data) == 3 and [len(data[n][0]) for n in range(3)] == [4, 4, 2]
    assert sorted(seen(data)) == list(range(0, 100, 10))
    inputs, labels, weights = data[0]
    assert (labels == inputs // 10 % 3).all() and (weights == inputs // 10).all()


def test_the_order_depends_on_seed_and_epoch_alone():
    data = made()
    first = seen(data)
    data.start(2)
    second = seen(data)
    assert first != second and seen(made()) == first and seen(made(seed=1)) != first
    later = made()
    later.start(2)
    assert seen(later) == second


def test_without_a_seed_rows_come_in_order_always():
    data = made(seed=None)
    data.start(2)
    assert seen(data) == list(range(0, 100, 10))


def test_inputs_are_drawn_from_seed_epoch_and_batch_alone():
    data = Batches(lambda n, random: random.random(len(n)), np.zeros(8, int), None, 4, 0, False)
    first = [data[n][0] for n in (1, 0)]
    assert np.array_equal(data[1][0], first[0]) and not np.array_equal(*first)
    data.start(2)
    assert not np.array_equal(data[1][0], first[0])


def test_a_sigmoid_unit_takes_a_column_of_floats():
    labels = made(sigmoid=True)[0][1]
    assert labels.shape == (4, 1) and labels.dtype == "float32"
    assert made()[0][1].dtype == "int32"


def test_only_training_rows_are_shuffled_and_weighted():
    training = Training(**{**TRAINING, "batch_size": 4})
    rows = pd.DataFrame({"class": [0, 1, 0, 1], "confidence": [0.0, 1.0, 1.0, 0.0]})
    train = batches(rows, lambda n, _: n, training, 0, False)
    n, _, weights = train[0]
    assert (weights == 2 * rows["confidence"][n]).all()
    held_out = batches(rows, lambda n, _: n, training, None, False)
    assert held_out[0][0].tolist() == [0, 1, 2, 3] and (held_out[0][2] == 1).all()
    assert batches(rows[:0], lambda n, _: n, training, None, False) is None


def test_keras_reads_the_batches_of_the_epoch_that_was_begun():
    data = made()
    dataset = data.dataset()
    assert int(dataset.cardinality()) == 3 and not dataset.options().autotune.enabled
    for epoch in (1, 1, 3):
        data.start(epoch)
        read = [int(x) for inputs, _, _ in dataset for x in inputs]
        assert read == seen(data)
