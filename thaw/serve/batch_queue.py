"""Collect the images of many requests for a moment and classify them together in one thread."""

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

BATCH_SECONDS = 0.005  # time that the first image of a batch waits for others
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 1, 60  # what a client is asked to wait before it retries

Predict = Callable[[list[np.ndarray], list[bool]], list[Any]]  # images, explained -> results
Done = list[tuple[asyncio.Future[Any], Any, Exception | None]]  # future, result, error


class QueueFull(Exception):
    """The queue has no room for more images.

    Attributes:
        retry_seconds: the estimated time until it has.
    """

    def __init__(self, retry_seconds: int) -> None:
        super().__init__()
        self.retry_seconds = retry_seconds


class BatchQueue:
    """A queue in front of the model. Only the event loop's thread may call its methods.

    Args:
        predict: computes a result for each image, from the images and from whether each is to be
            explained. It runs in the only thread that uses TensorFlow.
        max_batch: the largest number of images of one call of `predict`.
        capacity: images that may be reserved at once, see `reserve`.

    Attributes:
        active: images that are reserved: they are uploaded, wait or are being classified.
    """

    def __init__(self, predict: Predict, max_batch: int, capacity: int) -> None:
        self._predict, self._max_batch, self.capacity = predict, max_batch, capacity
        self.active = 0
        self._seconds = 0.1  # moving average of the time for one image
        self._waiting: deque[Any] = deque()  # (image, explained, future, time of arrival)
        self._changed = threading.Condition()
        self._open = True
        threading.Thread(target=self._work, daemon=True).start()

    @contextlib.contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Reserve places for `count` images.

        Raises:
            QueueFull: fewer places are free.
        """
        if self.active + count > self.capacity:
            excess = self.active + count - self.capacity
            seconds = math.ceil(excess * self._seconds)
            raise QueueFull(min(max(seconds, MIN_RETRY_SECONDS), MAX_RETRY_SECONDS))
        self.active += count
        try:
            yield
        finally:
            self.active -= count

    async def predict(self, image: np.ndarray, explained: bool) -> Any:
        """Return the result for an image once a batch with it has been computed."""
        future = asyncio.get_running_loop().create_future()
        with self._changed:
            self._waiting.append((image, explained, future, time.monotonic()))
            self._changed.notify()
        return await future

    def close(self) -> None:
        """End the thread after its current batch."""
        with self._changed:
            self._open = False
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._next_batch():
            images, explained, futures, _ = zip(*batch, strict=True)
            started = time.monotonic()
            try:
                results = self._predict(list(images), list(explained))
                seconds = (time.monotonic() - started) / len(batch)
                self._seconds += 0.2 * (seconds - self._seconds)
                pairs = zip(futures, results, strict=False)
                done: Done = [(future, result, None) for future, result in pairs]
            except Exception as error:  # the thread must survive errors of the model
                done = [(future, None, error) for future in futures]
            with contextlib.suppress(RuntimeError):  # the loop has ended
                futures[0].get_loop().call_soon_threadsafe(_deliver, done)

    def _next_batch(self) -> list[Any]:
        """Wait for images whose requests are not cancelled. Return [] once the queue is closed."""
        with self._changed:
            while self._open:
                while self._waiting and self._waiting[0][2].cancelled():
                    self._waiting.popleft()
                if not self._waiting:
                    self._changed.wait()
                    continue
                left = self._waiting[0][3] + BATCH_SECONDS - time.monotonic()
                if len(self._waiting) < self._max_batch and left > 0:
                    self._changed.wait(left)
                    continue
                batch: list[Any] = []
                while self._waiting and len(batch) < self._max_batch:
                    entry = self._waiting.popleft()
                    if not entry[2].cancelled():
                        batch.append(entry)
                if batch:  # otherwise all were cancelled in the meantime
                    return batch
        return []


def _deliver(done: Done) -> None:
    for future, result, error in done:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
