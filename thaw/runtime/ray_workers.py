"""Run tasks in worker processes of a Ray cluster, which replaces workers that are lost."""

import contextlib
import importlib
import os
import secrets
import socket
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from thaw.config.runtime import Ray
from thaw.errors import UserError

WORKER_TASKS = 2  # sent to a worker at a time: one computes, the other one reads or writes
MAX_LOSSES = 3  # workers lost per worker without a finished batch in between; then all will be lost
CONNECT_SECONDS = 10  # for a cluster to answer
READY_SECONDS = 60  # without a ready worker, after which a line says so


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
    """A process of the cluster that runs an object of Thaw, such as a loaded network."""

    def load(
        self, module: str, function: str, weights: bytes, arguments: dict[str, Any], threads: int
    ) -> dict[str, Any]:
        """Create the object by its class, which is imported by name.

        The import starts TensorFlow, which reads the number of threads from the environment.

        Args:
            module: the module of the class.
            function: the class's name.
            weights: content of the file of weights.
            arguments: of the class, except `weights`.
            threads: the number of threads to run with.

        Returns:
            The object's recipe in this process: everything that shapes its results.
        """
        os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
        # in a folder without a params.yaml, which would set another number of threads
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            Path("weights.npz").write_bytes(weights)
            load = getattr(importlib.import_module(module), function)
            self.loaded = load(weights="weights.npz", **arguments)
        recipe: dict[str, Any] = self.loaded.recipe
        return recipe

    def run(self, *task: Any) -> Any:
        """Call the object with the arguments of a task."""
        return self.loaded(*task)


class WorkerPool:
    """Workers that run tasks. A lost worker is replaced, and others run its tasks again.

    Args:
        runtime: the number of workers and of their threads.
        kind: class of the object that each worker creates. It has a recipe and is called with the
            arguments of a task.
        weights: content of its file of weights.
        arguments: its other arguments.
        recipe: the one that each worker's object must have.

    Raises:
        UserError: no node has enough cores for a worker.
    """

    def __init__(
        self,
        runtime: Ray,
        kind: type,
        weights: bytes,
        arguments: dict[str, Any],
        recipe: dict[str, Any],
    ) -> None:
        import ray

        self._ray, self._recipe = ray, recipe
        cores = [int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]]
        most_workers = sum(n // runtime.threads for n in cores)
        if not most_workers:
            raise UserError(
                f"runtime.threads = {runtime.threads}: expected {max(cores, default=0)} at most, "
                f"the cores of the cluster's largest node."
            )
        self._count = runtime.workers or most_workers
        self._load = kind.__module__, kind.__name__, ray.put(weights), arguments, runtime.threads
        self._actor = ray.remote(num_cpus=runtime.threads)(Worker)
        self._workers: list[Any] = []
        self._free: deque[Any] = deque()  # a worker, once for each task that it can take
        self._calls: dict[Any, tuple[Any, Any]] = {}  # worker and task; None: it loads
        self._losses = 0
        for _ in range(self._count):
            self._start()

    def run(self, tasks: Iterable[tuple[Any, ...]]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Yield (task, result) for each task, as they finish.

        Raises:
            UserError: a worker cannot load the same network, or workers are lost repeatedly.
        """
        tasks, again = iter(tasks), deque[tuple[Any, ...]]()
        sent, ended = 0, False
        while True:
            while self._free and not (ended and not again):
                task = again.popleft() if again else next(tasks, None)
                if task is None:
                    ended = True
                else:
                    worker = self._free.popleft()
                    self._calls[worker.run.remote(*task)] = worker, task
                    sent += 1
            if ended and not sent and not again:
                return
            for call in self._finished_calls():
                worker, task = self._calls.pop(call)
                sent -= task is not None
                if (result := self._result(call, worker)) is None:
                    if task is not None:
                        again.append(task)
                elif task is None:
                    self._add_worker(worker, result)
                else:
                    if worker in self._workers:
                        self._free.append(worker)
                    self._losses = 0
                    yield task, result

    def _start(self) -> None:
        worker: Any = self._actor.options(max_concurrency=WORKER_TASKS).remote()
        self._workers.append(worker)
        self._calls[worker.load.remote(*self._load)] = worker, None

    def _add_worker(self, worker: Any, recipe: dict[str, Any]) -> None:
        """Use a worker that has loaded the network, if it has the same recipe."""
        expected = self._recipe
        if different := [key for key in expected if expected[key] != recipe[key]]:
            raise UserError(
                f"a worker of the Ray cluster has "
                f"{', '.join(f'{key} {recipe[key]!r}' for key in different)}, expected "
                f"{', '.join(f'{key} {expected[key]!r}' for key in different)} as here. Install "
                f"the same requirements on every node."
            )
        self._free.extend([worker] * WORKER_TASKS)

    def _finished_calls(self) -> list[Any]:
        """Wait for a call to finish, and return those that have."""
        while True:
            calls: list[Any]
            waiting = list(self._calls)
            calls, _ = self._ray.wait(waiting, timeout=READY_SECONDS)
            if calls:
                calls, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
                return calls
            if all(task is None for _, task in self._calls.values()):
                print("no worker is ready yet: all load the network or wait for cores", flush=True)

    def _result(self, call: Any, worker: Any) -> Any:
        """Return a call's result, or None if its worker was lost; then start another one."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(call)
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
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
