import numpy as np
import pandas as pd

from tests.fixtures.training import TRAINING
from thaw.config.training import Training
from thaw.training.batches import Batches, batches


def make_batches(seed=0, sigmoid=False, weights=None, count=10) -> Batches:
    return Batches(lambda n, _: n * 10, np.arange(count) % 3, weights, 4, seed, sigmoid)


def rows_in_order(data: Batches) -> list[int]:
    return [int(x) for number in range(len(data)) for x in data[number][0]]


def test_an_epoch_has_every_row_once_with_its_label_and_weight():
    data = make_batches(weights=np.arange(10, dtype="float32"))
    assert len(data) == 3 and [len(data[n][0]) for n in range(3)] == [4, 4, 2]
    assert sorted(rows_in_order(data)) == list(range(0, 100, 10))
    inputs, labels, weights = data[0]
    assert (labels == inputs // 10 % 3).all() and (weights == inputs // 10).all()


def test_the_order_depends_only_on_seed_and_epoch():
    data = make_batches()
    first = rows_in_order(data)
    data.start(2)
    second = rows_in_order(data)
    assert (
        first != second
        and rows_in_order(make_batches()) == first
        and rows_in_order(make_batches(seed=1)) != first
    )
    later = make_batches()
    later.start(2)
    assert rows_in_order(later) == second


def test_without_a_seed_rows_are_always_in_order():
    data = make_batches(seed=None)
    data.start(2)
    assert rows_in_order(data) == list(range(0, 100, 10))


def test_random_inputs_depend_only_on_seed_epoch_and_batch():
    data = Batches(lambda n, random: random.random(len(n)), np.zeros(8, int), None, 4, 0, False)
    first = [data[n][0] for n in (1, 0)]
    assert np.array_equal(data[1][0], first[0]) and not np.array_equal(*first)
    data.start(2)
    assert not np.array_equal(data[1][0], first[0])


def test_labels_for_a_sigmoid_unit_are_a_float_column():
    labels = make_batches(sigmoid=True)[0][1]
    assert labels.shape == (4, 1) and labels.dtype == "float32"
    assert make_batches()[0][1].dtype == "int32"


def test_only_training_rows_are_shuffled_and_weighted():
    training = Training(**{**TRAINING, "batch_size": 4})
    rows = pd.DataFrame({"class": [0, 1, 0, 1], "confidence": [0.0, 1.0, 1.0, 0.0]})
    train = batches(rows, lambda n, _: n, training, 0, False)
    n, _, weights = train[0]
    assert (weights == 2 * rows["confidence"][n]).all()
    held_out = batches(rows, lambda n, _: n, training, None, False)
    assert held_out[0][0].tolist() == [0, 1, 2, 3] and (held_out[0][2] == 1).all()
    assert batches(rows[:0], lambda n, _: n, training, None, False) is None


def test_the_dataset_has_the_batches_of_the_current_epoch():
    data = make_batches()
    dataset = data.dataset()
    assert int(dataset.cardinality()) == 3 and not dataset.options().autotune.enabled
    for epoch in (1, 1, 3):
        data.start(epoch)
        read = [int(x) for inputs, _, _ in dataset for x in inputs]
        assert read == rows_in_order(data)
