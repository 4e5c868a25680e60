"""The queue before the network."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from thaw.serve.batches import Batches, Full


class Network:
    """Twice each number, once `let` is set; notes the passes."""

    def __init__(self):
        self.let, self.passes, self.threads = threading.Event(), [], set()

    def __call__(self, images: list, explained: list) -> list:
        self.passes.append(list(images))
        self.threads.add(threading.get_ident())
        assert self.let.wait(10)
        if 13 in images:
            raise ArithmeticError("13")
        return [2 * image for image in images]


def test_what_comes_together_is_answered_together_by_one_thread_in_its_order():
    network = Network()
    network.let.set()

    async def run() -> list:
        batches = Batches(network, most=8, room=100)
        said = await asyncio.gather(*(batches.answer(n + 20, False) for n in range(50)))
        batches.close()
        return said

    assert asyncio.run(run()) == [2 * (n + 20) for n in range(50)]
    assert sum(network.passes, []) == [n + 20 for n in range(50)]
    assert len(network.passes) == 7 and len(network.threads) == 1


def test_what_nobody_waits_for_is_not_worked_on():
    network = Network()

    async def run() -> None:
        batches = Batches(network, most=2, room=100)
        first = asyncio.create_task(batches.answer(1, False))
        while not network.passes:
            await asyncio.sleep(0.01)
        others = [asyncio.create_task(batches.answer(n, False)) for n in (2, 3, 4)]
        await asyncio.sleep(0.01)
        others[0].cancel()
        others[1].cancel()
        await asyncio.sleep(0.01)
        network.let.set()
        assert (await first, await others[2]) == (2, 8)
        batches.close()

    asyncio.run(run())
    assert network.passes == [[1], [4]]


def test_where_all_give_up_just_before_their_turn_the_next_are_answered(monkeypatch):
    """Between the thread's look at who waits and its taking them, when it asks for the time."""
    network, given_up = Network(), threading.Event()
    network.let.set()

    async def run() -> None:
        loop, here = asyncio.get_running_loop(), threading.get_ident()

        def give_up() -> None:
            first.cancel()
            given_up.set()

        def monotonic() -> float:
            if threading.get_ident() != here and not given_up.is_set():
                loop.call_soon_threadsafe(give_up)
                assert given_up.wait(10)
            return time.monotonic()

        monkeypatch.setattr("thaw.serve.batches.time", SimpleNamespace(monotonic=monotonic))
        batches = Batches(network, most=1, room=100)
        first = asyncio.create_task(batches.answer(1, False))
        await asyncio.wait([first])
        assert await asyncio.wait_for(batches.answer(14, False), 10) == 28
        batches.close()

    asyncio.run(run())
    assert network.passes == [[14]]


def test_an_error_of_the_network_is_told_to_those_it_hit_and_the_next_are_answered():
    network = Network()
    network.let.set()

    async def run() -> None:
        batches = Batches(network, most=1, room=100)
        with pytest.raises(ArithmeticError):
            await batches.answer(13, False)
        assert await batches.answer(14, False) == 28
        batches.close()

    asyncio.run(run())


def test_places_are_given_back():
    batches = Batches(Network(), most=1, room=3)
    with batches.let_in(2):
        with pytest.raises(Full) as full, batches.let_in(2):
            pass
        assert 1 <= full.value.retry <= 60
        with batches.let_in(1):
            assert batches.inside == 3
    assert batches.inside == 0
    batches.close()
