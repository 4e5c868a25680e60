"""A frozen network's passes in worker processes of a Ray cluster: the same bytes as without."""

import contextlib
import importlib
import itertools
import os
import secrets
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from thaw.config.runtime import Local, Ray
from thaw.errors import UserError

AHEAD = 2
"""Batches that a worker has at a time: one that it computes, one that waits."""
WINDOW = 2 * AHEAD
"""Batches on the way, for each worker, those included that are done before their turn. It bounds
memory, and how far the others go on while a lost worker's batch is done again."""
LOSSES = 3
"""Workers lost, for each there is, with no batch done in between: then all will be."""
SECONDS = 10
"""In which a cluster must answer."""
PATIENCE = 60
"""Seconds after which is said that no worker is ready yet."""


@contextlib.contextmanager
def batch_runner(runtime: Local | Ray, frozen) -> Iterator[Callable]:
    """What `Frozen.fill` has its batches run by. A cluster is joined or started with the first
    batch, since that takes seconds, and left at the end.

    Args:
        frozen: a thaw.models.backbones.frozen.FrozenBackbone.
    """
    if runtime.kind == "local":
        yield frozen.passes
        return
    with contextlib.ExitStack() as stack:
        pools: list[WorkerPool] = []

        def passes(batches: Iterator[tuple]) -> Iterator[tuple]:
            for first in batches:
                if not pools:
                    stack.enter_context(ray_cluster(runtime))
                    pools.append(WorkerPool(runtime, frozen))
                yield from pools[0].passes(itertools.chain([first], batches))

        yield passes


@contextlib.contextmanager
def ray_cluster(runtime: Ray):
    """Within, Ray is connected to the cluster of `runtime.address`, or to one of its own here.

    Raises:
        UserError: no cluster can be joined at that address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    host, _, port = (runtime.address or "127.0.0.1").partition(":")
    if not port:
        # of this cluster alone, where Ray would write one into the user's home
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    if host in ("127.0.0.1", "localhost"):
        # by this variable, read at import, Ray takes no other address of this machine for it: what
        # is started here listens on loopback alone
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    with contextlib.ExitStack() as stack:
        if port:
            where = {"address": runtime.address}
        else:
            # sockets need a short path
            folder = tempfile.TemporaryDirectory(
                "", "thaw-ray-", "/tmp", ignore_cleanup_errors=True
            )
            where = {
                "address": "local",
                "num_cpus": max(os.cpu_count(), (runtime.workers or 1) * runtime.threads),
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": stack.enter_context(folder),
            }
        stack.callback(ray.shutdown)
        try:
            if port:
                socket.create_connection((host, int(port)), SECONDS).close()  # Ray tries minutes
            ray.init(
                **where,
                # the code of this clone, whatever the nodes have
                runtime_env={"py_modules": [str(Path(__file__).parents[1])]},
                log_to_driver=False,
                logging_level="ERROR",
            )
        except Exception as error:  # Ray raises it bare where a node does not start in time
            if not port:
                raise UserError(
                    f"runtime.address = null: Ray does not start a cluster here "
                    f"({_first_line(error)}). Is the machine busy, or short of memory? The same "
                    f"command tries again; -S runtime=local does without."
                ) from None
            raise UserError(
                f"runtime.address = {runtime.address!r}: no Ray cluster can be used there "
                f"({_first_line(error)}). Expected HOST:PORT of one that this machine is a node "
                f"of, as `ray start` prints it (RAY_AUTH_MODE=token where it asks for a token), or "
                f"null to start one here."
            ) from None
        yield


class Worker:
    """A process of the cluster, with the network in it."""

    def load(self, module: str, function: str, weights: bytes, made: tuple, threads: int) -> dict:
        """Load the network, by a function of this project that is imported by name.

        The import starts TensorFlow, which reads the number of threads from the environment.

        Returns:
            Its recipe, which names what shapes its outputs here.
        """
        os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
        # in another folder, so that no params.yaml sets another number of threads
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            Path("weights.npz").write_bytes(weights)
            load = getattr(importlib.import_module(module), function)
            self.frozen = load("weights.npz", *made)
        return self.frozen.recipe

    def outputs(self, pixels: np.ndarray) -> np.ndarray:
        """The outputs (batch, ...) for uint8 pixels (batch, height, width, channels)."""
        return self.frozen.apply(pixels).numpy()


class WorkerPool:
    """Workers that run batches, given back in order. One that is lost is replaced, and its batches
    are done again by others meanwhile.

    Raises:
        UserError: no node has the cores for a worker.
    """

    def __init__(self, runtime: Ray, frozen):
        import ray

        self._ray, self._frozen, self._threads = ray, frozen, runtime.threads
        cores = [int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]]
        places = sum(n // runtime.threads for n in cores)
        if not places:
            raise UserError(
                f"runtime.threads = {runtime.threads}: expected {max(cores, default=0)} at most, "
                f"the cores of the cluster's largest node."
            )
        self._count = runtime.workers or places
        self._weights = ray.put(Path(frozen.weights).read_bytes())
        self._actor = ray.remote(num_cpus=runtime.threads)(Worker)
        self._workers: list = []
        self._free: deque = deque()  # a worker once for each batch that it can take
        self._calls: dict = {}  # what was asked of a worker: the worker and the batch's number
        self._losses = 0
        for _ in range(self._count):
            self._start()

    def passes(self, batches: Iterator[tuple]) -> Iterator[tuple]:
        """The keys and outputs of each batch (keys, pixels), in their order.

        Raises:
            UserError: a worker cannot load the same network, or workers are lost again and again.
        """
        numbered, turn = enumerate(batches), 0
        on_the_way, to_send, done = {}, deque(), {}
        while True:
            while len(on_the_way) < WINDOW * self._count and (item := next(numbered, None)):
                number, (keys, pixels) = item
                on_the_way[number] = keys, self._ray.put(pixels)
                to_send.append(number)
            if not on_the_way:
                return
            while self._free and to_send:
                worker, number = self._free.popleft(), to_send.popleft()
                self._calls[worker.outputs.remote(on_the_way[number][1])] = worker, number
            for call in self._answered():
                worker, number = self._calls.pop(call)
                if (answer := self._answer(call, worker)) is None:
                    if number is not None:
                        to_send.appendleft(number)
                elif number is None:
                    self._welcome(worker, answer)
                else:
                    self._free.append(worker)
                    done[number] = answer
                    self._losses = 0
            while turn in done:
                yield on_the_way.pop(turn)[0], done.pop(turn)
                turn += 1

    def _start(self) -> None:
        worker = self._actor.remote()
        self._workers.append(worker)
        load = type(self._frozen)
        call = worker.load.remote(
            load.__module__, load.__name__, self._weights, self._frozen.made, self._threads
        )
        self._calls[call] = worker, None

    def _welcome(self, worker, recipe: dict) -> None:
        here = self._frozen.recipe
        if different := [f"{key} {recipe[key]!r}" for key in here if here[key] != recipe[key]]:
            wanted = [f"{key} {here[key]!r}" for key in here if here[key] != recipe[key]]
            raise UserError(
                f"a worker of the Ray cluster has {', '.join(different)}, expected "
                f"{', '.join(wanted)} as here. Install the same requirements on every node."
            )
        self._free.extend([worker] * AHEAD)

    def _answered(self) -> list:
        """The calls that are over; waits for one."""
        while True:
            calls, _ = self._ray.wait(list(self._calls), timeout=PATIENCE)
            if calls:
                return calls
            if all(number is None for _, number in self._calls.values()):
                print("no worker is ready yet: all load the network or wait for cores", flush=True)

    def _answer(self, call, worker):
        """What a worker answers to a call; none if it is lost, and another one is started."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(call)
        except errors.RayTaskError as error:
            raise UserError(f"a worker of the Ray cluster fails: {error.cause!r}") from error
        except errors.RayError as error:
            if worker in self._workers:
                self._workers.remove(worker)
                self._free = deque(other for other in self._free if other != worker)
                self._ray.kill(worker)  # where it lives but cannot be reached
                self._losses += 1
                if self._losses > LOSSES * self._count:
                    raise UserError(
                        f"the Ray cluster loses every worker ({_first_line(error)}). Is its "
                        f"memory too small? Lower runtime.workers or the backbone's batch_size."
                    ) from None
                print("a worker was lost; another one takes its place", flush=True)
                self._start()
            return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
