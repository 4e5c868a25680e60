"""Images of many requests, gathered for a moment and answered together by one thread."""

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

WAIT = 0.005
"""Seconds that the first image waits for others to come."""
LEAST_RETRY, MOST_RETRY = 1, 60
"""Seconds that a client is asked to stay away."""


class Full(Exception):
    """There is no room for more images.

    Attributes:
        retry: seconds after which there should be.
    """

    def __init__(self, retry: int):
        super().__init__()
        self.retry = retry


class Batches:
    """A queue before the network. Its methods are for the thread of the event loop.

    Args:
        answers: from images and whether each is to be explained, to an answer for each; run by the
            one thread that uses TensorFlow.
        most: images it is given at once.
        room: images that may be here at once, from when they are let in until they are answered.
    """

    def __init__(self, answers: Callable[[list, list], list], most: int, room: int):
        self._answers, self._most, self.room = answers, most, room
        self.inside = 0
        self._seconds = 0.1  # that an image takes, by the last ones
        self._waiting: deque = deque()  # (image, explained, future, when it came)
        self._changed = threading.Condition()
        self._open = True
        threading.Thread(target=self._work, daemon=True).start()

    @contextlib.contextmanager
    def let_in(self, count: int) -> Iterator[None]:
        """Hold places for so many images.

        Raises:
            Full: there are not so many.
        """
        if self.inside + count > self.room:
            over = self.inside + count - self.room
            raise Full(min(max(math.ceil(over * self._seconds), LEAST_RETRY), MOST_RETRY))
        self.inside += count
        try:
            yield
        finally:
            self.inside -= count

    async def answer(self, image: np.ndarray, explained: bool):
        """What is said of an image, once its turn has come."""
        future = asyncio.get_running_loop().create_future()
        with self._changed:
            self._waiting.append((image, explained, future, time.monotonic()))
            self._changed.notify()
        return await future

    def close(self) -> None:
        """End the thread after what it is at."""
        with self._changed:
            self._open = False
            self._changed.notify()

    def _work(self) -> None:
        while some := self._next():
            images, explained, futures, _ = zip(*some, strict=True)
            started = time.monotonic()
            try:
                given = self._answers(list(images), list(explained))
                self._seconds += 0.2 * ((time.monotonic() - started) / len(some) - self._seconds)
                done = [(future, answer, None) for future, answer in zip(futures, given)]  # noqa: B905
            except Exception as error:  # of the network: this thread must not end with it
                done = [(future, None, error) for future in futures]
            with contextlib.suppress(RuntimeError):  # the loop has ended
                futures[0].get_loop().call_soon_threadsafe(_tell, done)

    def _next(self) -> list:
        """The next images, of which nobody gave up waiting; none at the end."""
        with self._changed:
            while self._open:
                while self._waiting and self._waiting[0][2].cancelled():
                    self._waiting.popleft()
                if not self._waiting:
                    self._changed.wait()
                    continue
                left = self._waiting[0][3] + WAIT - time.monotonic()
                if len(self._waiting) < self._most and left > 0:
                    self._changed.wait(left)
                    continue
                some = []
                while self._waiting and len(some) < self._most:
                    one = self._waiting.popleft()
                    if not one[2].cancelled():
                        some.append(one)
                if some:  # else all gave up meanwhile
                    return some
        return []


def _tell(done: list) -> None:
    for future, answer, error in done:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)
