"""The queue in front of the model."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from thaw.serve.batch_queue import BatchQueue, QueueFull


class Doubler:
    """Doubles numbers once `release` is set, and records its batches."""

    def __init__(self):
        self.release, self.batches, self.threads = threading.Event(), [], set()

    def __call__(self, images: list, explained: list) -> list:
        self.batches.append(list(images))
        self.threads.add(threading.get_ident())
        assert self.release.wait(10)
        if 13 in images:
            raise ArithmeticError("13")
        return [2 * image for image in images]


def test_images_that_arrive_together_are_predicted_in_batches_by_one_thread_in_order():
    model = Doubler()
    model.release.set()

    async def run() -> list:
        queue = BatchQueue(model, max_batch=8, capacity=100)
        results = await asyncio.gather(*(queue.predict(n + 20, False) for n in range(50)))
        queue.close()
        return results

    assert asyncio.run(run()) == [2 * (n + 20) for n in range(50)]
    assert sum(model.batches, []) == [n + 20 for n in range(50)]
    assert len(model.batches) == 7 and len(model.threads) == 1


def test_cancelled_images_are_not_predicted():
    model = Doubler()

    async def run() -> None:
        queue = BatchQueue(model, max_batch=2, capacity=100)
        first = asyncio.create_task(queue.predict(1, False))
        while not model.batches:
            await asyncio.sleep(0.01)
        others = [asyncio.create_task(queue.predict(n, False)) for n in (2, 3, 4)]
        await asyncio.sleep(0.01)
        others[0].cancel()
        others[1].cancel()
        await asyncio.sleep(0.01)
        model.release.set()
        assert (await first, await others[2]) == (2, 8)
        queue.close()

    asyncio.run(run())
    assert model.batches == [[1], [4]]


def test_next_images_are_predicted_if_a_whole_batch_is_cancelled_at_the_last_moment(monkeypatch):
    """The request is cancelled after the thread has seen it and before the thread takes it."""
    model, cancelled = Doubler(), threading.Event()
    model.release.set()

    async def run() -> None:
        loop, main_thread = asyncio.get_running_loop(), threading.get_ident()

        def cancel_first() -> None:
            first.cancel()
            cancelled.set()

        def monotonic() -> float:
            if threading.get_ident() != main_thread and not cancelled.is_set():
                loop.call_soon_threadsafe(cancel_first)
                assert cancelled.wait(10)
            return time.monotonic()

        monkeypatch.setattr("thaw.serve.batch_queue.time", SimpleNamespace(monotonic=monotonic))
        queue = BatchQueue(model, max_batch=1, capacity=100)
        first = asyncio.create_task(queue.predict(1, False))
        await asyncio.wait([first])
        assert await asyncio.wait_for(queue.predict(14, False), 10) == 28
        queue.close()

    asyncio.run(run())
    assert model.batches == [[14]]


def test_an_error_of_the_model_fails_its_batch_and_not_the_next():
    model = Doubler()
    model.release.set()

    async def run() -> None:
        queue = BatchQueue(model, max_batch=1, capacity=100)
        with pytest.raises(ArithmeticError):
            await queue.predict(13, False)
        assert await queue.predict(14, False) == 28
        queue.close()

    asyncio.run(run())


def test_reserved_places_are_released():
    queue = BatchQueue(Doubler(), max_batch=1, capacity=3)
    with queue.reserve(2):
        with pytest.raises(QueueFull) as full, queue.reserve(2):
            pass
        assert 1 <= full.value.retry_seconds <= 60
        with queue.reserve(1):
            assert queue.active == 3
    assert queue.active == 0
    queue.close()
