"""What a stage reads, held against what dvc.lock recorded when it was written.

DVC takes a write-protected object of its cache, or an output of unchanged size and time, at its
word. So a file that a disk, a copy or a program cut or altered since is found here, where it is
used: it is named and not read, and DVC is made to look at it again.
"""

import configparser
import contextlib
import functools
import hashlib
import json
import os
from pathlib import Path

import yaml
from dvc.dirs import global_config_dir, system_config_dir

from thaw.errors import UserError

PIECE = 2**20


def verify_outputs(*outs: str | Path) -> None:
    """Assert that each of `outs`, files or folders, is whole and as recorded.

    Raises:
        UserError: one is not, with the file's name.
    """
    for out in outs:
        recorded = RecordedOutput(out)
        for name in recorded.names():
            recorded.check(name)


class RecordedOutput:
    """An output as dvc.lock knows it. Where nothing is recorded, as outside a run of DVC,
    everything passes."""

    def __init__(self, out: str | Path):
        self.out = Path(out)
        cache = dvc_cache()
        # more than one, if two stages wrote it at different times
        self._listings = [
            _listing(cache, md5) if md5.endswith(".dir") else {"": md5}
            for md5 in recorded_digests(self.out.as_posix())
        ]
        self._listings = [listing for listing in self._listings if listing is not None]
        self._checked: set[str] = set()

    def names(self) -> list[str]:
        """The files of a folder, from it on; of a file the empty name."""
        return sorted({name for listing in self._listings for name in listing})

    def check(self, name: str = "") -> Path:
        """The path of this file, which is looked at the first time.

        Raises:
            UserError: it is not what was recorded.
        """
        path = self.out / name if name else self.out
        if name not in self._checked and self._listings:
            expected = {listing[name] for listing in self._listings if name in listing}
            if (found := _md5(path)) not in expected:
                _refuse(path, found, expected)
            self._checked.add(name)
        return path


def recorded_digests(out: str) -> list[str]:
    """Return the MD5s that dvc.lock has for `out`; that of a folder ends in .dir."""
    return [
        entry["md5"]
        for stage in recorded_stages().values()
        for entry in stage.get("outs", ())
        if entry["path"] == out and "md5" in entry
    ]


def recorded_params(stage: str) -> dict:
    """Return the parameters that dvc.lock has for a stage, by key; empty if it has never run."""
    return recorded_stages().get(stage, {}).get("params", {}).get("params.yaml", {})


def recorded_stages(folder: str | Path = ".") -> dict[str, dict]:
    """Return the stages of dvc.lock by name, as DVC wrote them; empty if there is no dvc.lock."""
    lock = Path(folder, "dvc.lock")
    try:
        stat = lock.stat()
    except FileNotFoundError:
        return {}
    return _parsed_lock(os.path.abspath(lock), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _parsed_lock(lock: str, *_: int) -> dict[str, dict]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return (yaml.load(Path(lock).read_text(encoding="utf-8"), loader) or {}).get("stages") or {}


def read_cached(cache: Path, md5: str | None) -> bytes | None:
    """An object of DVC's cache, if it is there and whole."""
    if md5 is None:
        return None
    try:
        content = object_path(cache, md5).read_bytes()
    except OSError:
        return None
    same = hashlib.md5(content, usedforsecurity=False).hexdigest() == md5.removesuffix(".dir")
    return content if same else None


def object_path(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _listing(cache: Path, md5: str) -> dict[str, str] | None:
    """The MD5 of each file in a recorded folder; none where its listing is not in the cache.

    Raises:
        UserError: it is there and altered.
    """
    path = object_path(cache, md5)
    content = read_cached(cache, md5)
    if content is None and path.exists():
        _refuse(path, _md5(path), {md5})
    return content and {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def _md5(path: Path) -> str | None:
    seen = hashlib.md5(usedforsecurity=False)
    try:
        with open(path, "rb") as file:
            while piece := file.read(PIECE):
                seen.update(piece)
    except OSError:
        return None
    return seen.hexdigest()


def _refuse(path: Path, found: str | None, expected: set[str]) -> None:
    """Name `path`, and see to it that DVC does not take it, or the cache's copy, for whole."""
    removed = []
    with contextlib.suppress(OSError):
        os.utime(path)  # DVC knows a file by its time and size
    for md5 in expected:
        copy = object_path(dvc_cache(), md5)
        if copy.exists() and _md5(copy) != md5.removesuffix(".dir"):
            with contextlib.suppress(OSError):
                copy.unlink()  # as DVC does with what it finds altered
                removed.append(copy)
    what = f"has the MD5 {found}" if found else "cannot be read"
    recorded = " or ".join(sorted(expected)) or "no such file"
    also = "".join(f" {copy} in DVC's cache was altered too, and is removed." for copy in removed)
    raise UserError(
        f"{path} {what}, and dvc.lock recorded {recorded}: it was cut or altered since, and is "
        f"not used.{also} The same command again computes it anew, or `dvc pull` fetches it."
    )


def project_root() -> Path:
    """Return the nearest folder from the current one up that has a .dvc folder, else the current."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def dvc_cache() -> Path:
    """DVC's cache folder, as DVC's own configuration says.

    Raises:
        UserError: that configuration cannot be read.
    """
    own = Path(os.environ.get("DVC_ROOT") or project_root()) / ".dvc"
    cache = own / "cache"
    everyones = (Path(system_config_dir(), "config"), Path(global_config_dir(), "config"))
    for file in (*everyones, own / "config", own / "config.local"):  # the last wins, as with DVC
        config = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            config.read(file)
        except (configparser.Error, ValueError) as error:
            raise UserError(
                f"{file} cannot be read: {str(error).splitlines()[0]}. "
                f"Expected DVC's configuration, as `dvc config` writes it."
            ) from None
        if config.has_option("cache", "dir"):
            cache = file.parent / Path(config.get("cache", "dir").strip("\"'")).expanduser()
    return cache


def user_path(given: str) -> Path:
    """A path that the user gave. A relative one is meant from the repository that they stand in,
    of which DVC's queued and temporary runs are copies elsewhere."""
    return Path(os.environ.get("DVC_ROOT") or "") / Path(given).expanduser()
