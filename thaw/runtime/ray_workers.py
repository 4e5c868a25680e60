"""Run a frozen network in worker processes of a Ray cluster. The outputs are the same bytes."""

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
from typing import Any

from thaw.config.runtime import Local, Ray
from thaw.errors import UserError

Batches = Iterator[tuple[Any, Any]]  # keys and pixels, or keys and outputs
BatchRunner = Callable[[Batches], Batches]
WORKER_BATCHES = 2  # sent to a worker at a time: one runs, one waits
# Batches in memory per worker, with those that wait for earlier ones. It bounds memory, and how far
# the other workers continue while a lost worker's batch runs again.
WINDOW = 2 * WORKER_BATCHES
MAX_LOSSES = 3  # workers lost per worker without a finished batch in between; then all will be lost
CONNECT_SECONDS = 10  # for a cluster to answer
READY_SECONDS = 60  # without a ready worker, after which a line says so


@contextlib.contextmanager
def batch_runner(runtime: Local | Ray, frozen: Any) -> Iterator[BatchRunner]:
    """Give a function that runs batches where `runtime` says, for `FrozenBackbone.fill`.

    A cluster is joined or started with the first batch, since that takes seconds, and left after
    the block.

    Args:
        runtime: where to run.
        frozen: a thaw.models.backbones.frozen.FrozenBackbone.

    Yields:
        A function from batches (keys, pixels) to batches (keys, outputs).
    """
    if runtime.kind == "local":
        yield frozen.run_batches
        return
    with contextlib.ExitStack() as stack:
        pools: list[WorkerPool] = []

        def run_batches(batches: Batches) -> Batches:
            for first in batches:
                if not pools:
                    stack.enter_context(ray_cluster(runtime))
                    pools.append(WorkerPool(runtime, frozen))
                yield from pools[0].run_batches(itertools.chain([first], batches))

        yield run_batches


@contextlib.contextmanager
def ray_cluster(runtime: Ray) -> Iterator[None]:
    """Connect Ray to the cluster at `runtime.address`, or to a new one on this machine.

    Raises:
        UserError: no cluster can be joined at that address, or none can be started.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    host, _, port = (runtime.address or "127.0.0.1").partition(":")
    if not port:
        # a token for this cluster only; Ray would write one to the user's home folder
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    if host in ("127.0.0.1", "localhost"):
        # with this variable, which is read at import, Ray keeps the loopback address, so that
        # its servers on this machine do not listen on others
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    with contextlib.ExitStack() as stack:
        if port:
            options: dict[str, Any] = {"address": runtime.address}
        else:
            # sockets need a short path
            folder = tempfile.TemporaryDirectory(
                "", "thaw-ray-", "/tmp", ignore_cleanup_errors=True
            )
            options = {
                "address": "local",
                "num_cpus": max(os.cpu_count() or 1, (runtime.workers or 1) * runtime.threads),
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": stack.enter_context(folder),
            }
        stack.callback(ray.shutdown)
        try:
            if port:
                # Ray itself would try for minutes
                socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            ray.init(
                **options,
                # this version of the library, whichever the nodes have
                runtime_env={"py_modules": [str(Path(__file__).parents[1])]},
                log_to_driver=False,
                logging_level="ERROR",
            )
        except Exception as error:  # Ray raises a bare one if a node does not start in time
            if not port:
                raise UserError(
                    f"runtime.address = null: Ray cannot start a cluster on this machine "
                    f"({_first_line(error)}). Is it busy, or short of memory? Run the same command "
                    f"again, or run without Ray: -S runtime=local."
                ) from None
            raise UserError(
                f"runtime.address = {runtime.address!r}: no Ray cluster can be used there "
                f"({_first_line(error)}). Expected HOST:PORT of one that this machine is a node "
                f"of, as `ray start` prints it (RAY_AUTH_MODE=token if it asks for a token), or "
                f"null to start one here."
            ) from None
        yield


class Worker:
    """A process of the cluster that has loaded the network."""

    def load(
        self, module: str, function: str, weights: bytes, arguments: dict[str, Any], threads: int
    ) -> dict[str, Any]:
        """Load the network with a class of Thaw that is imported by name.

        The import starts TensorFlow, which reads the number of threads from the environment.

        Args:
            module: the module of the class.
            function: the class's name.
            weights: content of the file of weights.
            arguments: of the class, except `weights`.
            threads: the number of threads to run with.

        Returns:
            The network's recipe in this process: everything that shapes its outputs.
        """
        os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
        # in a folder without a params.yaml, which would set another number of threads
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            Path("weights.npz").write_bytes(weights)
            load = getattr(importlib.import_module(module), function)
            self.frozen = load(weights="weights.npz", **arguments)
        recipe: dict[str, Any] = self.frozen.recipe
        return recipe

    def outputs(self, pixels: Any) -> Any:
        """Return the outputs (batch, ...) for uint8 pixels (batch, height, width, channels)."""
        return self.frozen.apply(pixels)


class WorkerPool:
    """Workers that run batches. A lost worker is replaced, and others run its batches again.

    Args:
        runtime: the number of workers and of their threads.
        frozen: a thaw.models.backbones.frozen.FrozenBackbone.

    Raises:
        UserError: no node has enough cores for a worker.
    """

    def __init__(self, runtime: Ray, frozen: Any) -> None:
        import ray

        self._ray, self._frozen, self._threads = ray, frozen, runtime.threads
        cores = [int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]]
        most_workers = sum(n // runtime.threads for n in cores)
        if not most_workers:
            raise UserError(
                f"runtime.threads = {runtime.threads}: expected {max(cores, default=0)} at most, "
                f"the cores of the cluster's largest node."
            )
        self._count = runtime.workers or most_workers
        self._weights = ray.put(Path(frozen.weights).read_bytes())
        self._actor = ray.remote(num_cpus=runtime.threads)(Worker)
        self._workers: list[Any] = []
        self._free: deque[Any] = deque()  # a worker, once for each batch that it can take
        self._calls: dict[Any, tuple[Any, int | None]] = {}  # worker and batch; None: it loads
        self._losses = 0
        for _ in range(self._count):
            self._start()

    def run_batches(self, batches: Batches) -> Batches:
        """Yield (keys, outputs) for each batch (keys, pixels), in order.

        Raises:
            UserError: a worker cannot load the same network, or workers are lost repeatedly.
        """
        numbered, next_number = enumerate(batches), 0
        in_flight: dict[int, tuple[Any, Any]] = {}  # keys, and Ray's reference to the pixels
        to_send: deque[int] = deque()
        done: dict[int, Any] = {}
        while True:
            while len(in_flight) < WINDOW * self._count and (item := next(numbered, None)):
                batch, (keys, pixels) = item
                in_flight[batch] = keys, self._ray.put(pixels)
                to_send.append(batch)
            if not in_flight:
                return
            while self._free and to_send:
                worker, batch = self._free.popleft(), to_send.popleft()
                self._calls[worker.outputs.remote(in_flight[batch][1])] = worker, batch
            for call in self._finished_calls():
                worker, number = self._calls.pop(call)
                if (result := self._result(call, worker)) is None:
                    if number is not None:
                        to_send.appendleft(number)
                elif number is None:
                    self._add_worker(worker, result)
                else:
                    self._free.append(worker)
                    done[number] = result
                    self._losses = 0
            while next_number in done:
                yield in_flight.pop(next_number)[0], done.pop(next_number)
                next_number += 1

    def _start(self) -> None:
        worker = self._actor.remote()
        self._workers.append(worker)
        load = type(self._frozen)
        call = worker.load.remote(
            load.__module__, load.__name__, self._weights, self._frozen.arguments, self._threads
        )
        self._calls[call] = worker, None

    def _add_worker(self, worker: Any, recipe: dict[str, Any]) -> None:
        """Use a worker that has loaded the network, if it has the same recipe."""
        expected = self._frozen.recipe
        if different := [key for key in expected if expected[key] != recipe[key]]:
            raise UserError(
                f"a worker of the Ray cluster has "
                f"{', '.join(f'{key} {recipe[key]!r}' for key in different)}, expected "
                f"{', '.join(f'{key} {expected[key]!r}' for key in different)} as here. Install "
                f"the same requirements on every node."
            )
        self._free.extend([worker] * WORKER_BATCHES)

    def _finished_calls(self) -> list[Any]:
        """Wait for a call to finish, and return those that have."""
        while True:
            calls: list[Any]
            calls, _ = self._ray.wait(list(self._calls), timeout=READY_SECONDS)
            if calls:
                return calls
            if all(number is None for _, number in self._calls.values()):
                print("no worker is ready yet: all load the network or wait for cores", flush=True)

    def _result(self, call: Any, worker: Any) -> Any:
        """Return a call's result, or None if its worker was lost; then start another one."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(call)
        except errors.RayTaskError as error:
            raise UserError(f"a worker of the Ray cluster fails: {error.cause!r}") from error
        except errors.RayError as error:
            if worker in self._workers:
                self._workers.remove(worker)
                self._free = deque(other for other in self._free if other != worker)
                self._ray.kill(worker)  # it may still run but be unreachable
                self._losses += 1
                if self._losses > MAX_LOSSES * self._count:
                    raise UserError(
                        f"the Ray cluster loses every worker ({_first_line(error)}). Is its "
                        f"memory too small? Lower runtime.workers or the backbone's batch_size."
                    ) from None
                print("a worker was lost; another one takes its place", flush=True)
                self._start()
            return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
