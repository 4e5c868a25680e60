"""A process that has imported TensorFlow and DVC, and runs modules in forks of itself.

`python -m dvc` takes a second to start and a stage that trains four, so the tests of the pipeline
put a command `python` on PATH that asks this process for a fork. A fork has the arguments, the
folder, the environment and the open files of that command. No module of Thaw is imported before
it, and anything else than the modules of RUN is run by the real Python.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

RUN = ("dvc", "thaw.runtime.stage")
IMPORTED = (
    "tensorflow",
    "keras",
    "matplotlib.pyplot",
    "pandas",
    "pydantic",
    "scipy.stats",
    "sklearn.linear_model",
    "dvc.cli.parser",
    "dvc.commands.experiments.run",
    "dvc.render.match",
    "dvc.repo.experiments.executor.local",
    "dvc.repo.experiments.queue.tempdir",
    "dvc.repo.plots",
    "dvc.repo.reproduce",
    "dvc.utils.hydra",
    "dvclive",
    "hydra",
    "pygit2",
)
CLIENT = """#!{python} -IS
import json, os, socket, sys
arguments = sys.argv[1:]
known = arguments[:1] == ["-m"] and arguments[1] in {run}
if not known or "PYTHONPROFILEIMPORTTIME" in os.environ:
    os.execv({python!r}, [{python!r}, *arguments])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"+"], [0, 1, 2])
    server.sendall(json.dumps([arguments[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    code = server.recv(9)
sys.exit(int(code or 1))
"""


@contextlib.contextmanager
def warm_python() -> Iterator[str]:
    """Yield the path of a command `python`, in a folder of its own, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:  # a socket's path must be short
        address, python = f"{folder}/socket", Path(folder, "bin", "python")
        python.parent.mkdir()
        python.write_text(CLIENT.format(python=sys.executable, run=RUN, address=address))
        python.chmod(0o755)
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
        with contextlib.suppress(OSError):
            if " avx2 " in Path("/proc/cpuinfo").read_text():
                environment["OPENBLAS_CORETYPE"] = "Haswell"  # as thaw.runtime.stage sets it
        command = [sys.executable, "-P", __file__, address]
        server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            while not Path(address).exists():
                assert server.poll() is None, "the process could not import IMPORTED"
                time.sleep(0.05)
            yield str(python)
        finally:
            server.kill()
            server.wait()


def serve(address: str) -> str:
    """Fork for each command. Returns in the forks, with the name of the module to run."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # no fork looks at these objects
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.part")
        listener.listen()
        os.rename(f"{address}.part", address)  # there once it can be connected to
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
        while True:
            connection, _ = listener.accept()
            if not os.fork():
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, *_ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as sent:
        arguments, folder, environment = json.load(sent)
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(OSError):  # the command may have been killed
            connection.sendall(str(os.waitstatus_to_exitcode(status) % 256).encode())
        os._exit(0)
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, folder)
    name, *sys.argv[1:] = arguments
    return name


def run(name: str) -> NoReturn:
    """Run a module as `python -m NAME` does, but end without the deletion of all that is imported,
    which takes a second.
    """
    code = 1
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    run(serve(sys.argv[1]))
