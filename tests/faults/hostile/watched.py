"""The process in which inputs are tried: `python -m tests.faults.hostile.watched ROOM FORK`.

It reads a trial a line from stdin, {"argument": ..., "megabytes": ...}, and answers each with one
on stdout. With FORK 1 every trial has a process of its own; TensorFlow does not survive a fork, so
with FORK 0 they follow one another in this one.
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

from thaw.data.decoding import BadImage
from thaw.errors import UserError

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
"""Events by which the file system changes, with the number of paths that they begin with."""
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
"""Events that no input may bring about."""
MOST_TEXT = 6000


class Watch:
    """Everything that a trial does outside its box, noted by an audit hook.

    Attributes:
        box: the folder in which it may write.
        secret: a file that nothing may open.
    """

    def __init__(self):
        self.box = self.secret = None
        self.seen: list[str] = []
        self.allowed: set[str] = set()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, given: tuple) -> None:
        if self.box is None:
            return
        if event == "open":
            path, mode, flags = given
            if isinstance(path, int):
                return
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                mode is None and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            )
            place = self._place(path)
            if place == self.secret or (writes and not self._inside(place)):
                self.seen.append(f"{event} {place}")
        elif event in WRITING:
            for path in given[: WRITING[event]]:
                folder = next((g for g in given[1:] if isinstance(g, int) and g > 2), None)
                place = self._place(path, folder)
                if event == "os.symlink" and path is given[0]:
                    continue  # what a link says; that it is made at all is noted below
                if not self._inside(place):
                    self.seen.append(f"{event} {place}")
        elif event in FORBIDDEN - self.allowed:
            self.seen.append(f"{event} {given!r:.200}")

    def _place(self, path, folder: int | None = None) -> str:
        path = os.fsdecode(path) if not isinstance(path, int) else f"/proc/self/fd/{path}"
        if folder is not None and not os.path.isabs(path):
            with contextlib.suppress(OSError):
                path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        return os.path.abspath(path)

    def _inside(self, place: str) -> bool:
        return place.startswith(f"{self.box}/") or place == "/dev/null" or place == self.box


def _judged(target, argument) -> dict:
    """How one trial ended: taken, refused, or one of the ways in which none may end."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            target(argument)
        kind, text = "taken", ""
    except (UserError, BadImage) as refusal:
        kind, text = "refused", str(refusal)
        if not text.strip() or len(text) > MOST_TEXT or _controls(text):
            kind, text = "unclear", repr(text)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [f"{f.filename}:{f.lineno}" for f in where if "stages" in f.filename]
        kind, text = "traceback", f"{type(error).__name__}: {error} {ours[-1:]}"
    return {"kind": kind, "text": text[:MOST_TEXT], "said": said.getvalue()[-2000:]}


def _controls(text: str) -> bool:
    """Whether it holds what a terminal would obey."""
    return any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n" for c in text)


def _kilobytes(field: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))


def trial(watch: Watch, target, asked: dict) -> dict:
    """Run one and tell how it ended, its time, its memory and what it did outside its box."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM starts anew
    before = _kilobytes("VmRSS")
    most = (_kilobytes("VmSize") + 1024 * asked["megabytes"]) * 1024
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    started = time.monotonic()
    watch.seen, watch.box, watch.secret = [], asked["writes"], asked["secret"]
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        answer = _judged(target, asked["argument"])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        watch.box = None
    answer["seconds"] = time.monotonic() - started
    answer["megabytes"] = max(0, _kilobytes("VmHWM") - before) / 1024
    if watch.seen:
        answer |= {"kind": "outside", "text": "; ".join(watch.seen[:5])}
    return answer


def main(room: str, fork: str) -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    module = importlib.import_module(f"tests.faults.hostile.{room}")
    getattr(module, "warm", lambda: None)()
    watch = Watch()
    watch.allowed = set(getattr(module, "ALLOWED", ()))
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        os.chdir(asked["project"])
        child = os.fork() if fork == "1" else 0
        if child == 0:
            print(json.dumps(trial(watch, module.target, asked)), file=out, flush=True)
            if fork == "1":
                os._exit(0)
        else:
            print(json.dumps({"child": child}), file=out, flush=True)
            _, status = os.waitpid(child, 0)
            print(json.dumps({"ended": status}), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
