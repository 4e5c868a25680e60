"""The process that runs trials: `python -m tests.faults.hostile.watched MODULE FORK`.

It reads one trial per line from stdin, {"argument": ..., "megabytes": ...}, and writes one answer
per line to stdout. With FORK 1 every trial runs in a process of its own. TensorFlow does not
survive a fork, so with FORK 0 all trials run in this process.
"""

import contextlib
import importlib
import io
import json
import os
import resource
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable
from typing import Any

from thaw.data.formats import BadImage
from thaw.errors import UserError

# Audit events that change the file system, with the number of their leading path arguments
WRITING = {
    "os.mkdir": 1,
    "os.rename": 2,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.utime": 1,
}
# Audit events that no input may cause
FORBIDDEN = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "socket.connect",
    "socket.getaddrinfo",
    "pickle.find_class",
    "ctypes.dlopen",
}
MAX_TEXT = 6000  # characters of a message


class Watch:
    """Records by an audit hook what a trial does outside its box.

    Attributes:
        box: The folder in which a trial may write, or None outside trials.
        secret: A file that no trial may open.
        seen: The recorded events.
        allowed: Forbidden events that the module of the trial may cause.
    """

    def __init__(self) -> None:
        self.box: str | None = None
        self.secret: str | None = None
        self.seen: list[str] = []
        self.allowed: set[str] = set()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.box is None:
            return
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int):
                return
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                mode is None and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            )
            place = self._absolute(path)
            if place == self.secret or (writes and not self._inside(place)):
                self.seen.append(f"{event} {place}")
        elif event in WRITING:
            for path in arguments[: WRITING[event]]:
                folder = next((a for a in arguments[1:] if isinstance(a, int) and a > 2), None)
                place = self._absolute(path, folder)
                if event == "os.symlink" and path is arguments[0]:
                    continue  # the target of the link; its own path is the next argument
                if not self._inside(place):
                    self.seen.append(f"{event} {place}")
        elif event in FORBIDDEN - self.allowed:
            self.seen.append(f"{event} {arguments!r:.200}")

    def _absolute(self, path: Any, folder: int | None = None) -> str:
        path = os.fsdecode(path) if not isinstance(path, int) else f"/proc/self/fd/{path}"
        if folder is not None and not os.path.isabs(path):
            with contextlib.suppress(OSError):
                path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        return os.path.abspath(path)

    def _inside(self, place: str) -> bool:
        return place.startswith(f"{self.box}/") or place == "/dev/null" or place == self.box


def _outcome(target: Callable[[Any], None], argument: Any) -> dict[str, Any]:
    """Run `target` and return its outcome: accepted, refused, or an unacceptable one."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            target(argument)
        kind, text = "accepted", ""
    except (UserError, BadImage) as refusal:
        kind, text = "refused", str(refusal)
        if not text.strip() or len(text) > MAX_TEXT or _controls(text):
            kind, text = "unclear", repr(text)
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f"{f.filename}:{f.lineno}" for f in frames if "/thaw/" in f.filename]
        kind, text = "traceback", f"{type(error).__name__}: {error} {ours[-1:]}"
    return {"kind": kind, "text": text[:MAX_TEXT], "said": output.getvalue()[-2000:]}


def _controls(text: str) -> bool:
    """Return whether the text contains control characters other than line feeds."""
    return any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n" for c in text)


def _kilobytes(field: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))


def trial(watch: Watch, target: Callable[[Any], None], request: dict[str, Any]) -> dict[str, Any]:
    """Run one trial and return its outcome, time and memory.

    The outcome is `outside` if the trial did something outside its box.
    """
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # reset VmHWM
    before = _kilobytes("VmRSS")
    limit = (_kilobytes("VmSize") + 1024 * request["megabytes"]) * 1024
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    started = time.monotonic()
    watch.seen, watch.box, watch.secret = [], request["writes"], request["secret"]
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        answer = _outcome(target, request["argument"])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        watch.box = None
    answer["seconds"] = time.monotonic() - started
    answer["megabytes"] = max(0, _kilobytes("VmHWM") - before) / 1024
    if watch.seen:
        answer |= {"kind": "outside", "text": "; ".join(watch.seen[:5])}
    return answer


def main(module_name: str, fork: str) -> None:
    """Run the trials that stdin asks for."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    module = importlib.import_module(f"tests.faults.hostile.{module_name}")
    getattr(module, "warm", lambda: None)()
    watch = Watch()
    watch.allowed = set(getattr(module, "ALLOWED", ()))
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        os.chdir(request["project"])
        child = os.fork() if fork == "1" else 0
        if child == 0:
            print(json.dumps(trial(watch, module.target, request)), file=out, flush=True)
            if fork == "1":
                os._exit(0)
        else:
            print(json.dumps({"child": child}), file=out, flush=True)
            _, status = os.waitpid(child, 0)
            print(json.dumps({"ended": status}), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
