"""DVC's lock, cache and project folder, and a check of stage inputs against dvc.lock.

DVC trusts a write-protected object of its cache, and an output of unchanged size and time. Thaw
hashes the files that a stage reads, so a file that was truncated or modified by a disk, a copy or a
program is reported and never used, and DVC checks it again.
"""

import configparser
import contextlib
import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import yaml
from dvc.dirs import global_config_dir, system_config_dir

from thaw.config.base import Loader
from thaw.errors import UserError


def verify_outputs(*outs: str | Path) -> None:
    """Check that files or folders are complete and as recorded in dvc.lock.

    Raises:
        UserError: a file was truncated or modified.
    """
    for out in outs:
        recorded = RecordedOutput(out)
        for name in recorded.names():
            recorded.check(name)


class RecordedOutput:
    """An output of a stage as recorded in dvc.lock. Outputs without a record pass every check.

    Args:
        out: path of the file or folder.

    Raises:
        UserError: the recorded listing of a folder was modified in DVC's cache.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        cache = dvc_cache()
        # more than one if several stages have this output
        listings = [
            _listing(cache, md5) if md5.endswith(".dir") else {"": md5}
            for md5 in recorded_digests(self.out.as_posix())
        ]
        self._listings = [listing for listing in listings if listing is not None]
        self._checked: set[str] = set()

    def names(self) -> list[str]:
        """Return the relative paths of a folder's files, or an empty name for a file."""
        return sorted({name for listing in self._listings for name in listing})

    def check(self, name: str = "") -> Path:
        """Return the path of a file of the output, hashed on its first use.

        Args:
            name: path relative to the output; empty if the output is a file.

        Raises:
            UserError: the file is not what dvc.lock recorded.
        """
        path = self.out / name if name else self.out
        if name not in self._checked and self._listings:
            expected = {listing[name] for listing in self._listings if name in listing}
            if (md5 := _md5(path)) not in expected:
                _refuse(path, md5, expected)
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


def recorded_params(stage: str) -> dict[str, Any]:
    """Return the parameters that dvc.lock has for a stage, by key; empty if it has never run."""
    values: dict[str, Any] = (
        recorded_stages().get(stage, {}).get("params", {}).get("params.yaml", {})
    )
    return values


def recorded_stages(folder: str | Path = ".") -> dict[str, dict[str, Any]]:
    """Return the stages of dvc.lock by name; empty without a dvc.lock. Do not change them."""
    lock = Path(folder, "dvc.lock")
    try:
        stat = lock.stat()
    except FileNotFoundError:
        return {}
    return _parse_lock(os.path.abspath(lock), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _parse_lock(lock: str, *_: int) -> dict[str, dict[str, Any]]:
    """Return the stages; the other arguments tell the versions of the file apart."""
    try:
        stages = (yaml.load(Path(lock).read_text(encoding="utf-8"), Loader) or {}).get("stages")
        if stages is not None and not all(isinstance(stage, dict) for stage in stages.values()):
            raise ValueError("a stage in it is no mapping")
    except (yaml.YAMLError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{lock} cannot be read: {reason}. `git checkout dvc.lock` restores it."
        ) from None
    return stages or {}


def modified_file() -> str | None:
    """Return why an existing output of dvc.lock is not as recorded, or None if all are."""
    outs = [
        entry["path"] for stage in recorded_stages().values() for entry in stage.get("outs", ())
    ]
    for out in filter(os.path.exists, outs):
        recorded = RecordedOutput(out)
        for path in (Path(out, name) for name in recorded.names()):
            try:
                if path.exists():
                    recorded.check(path.relative_to(out).as_posix().removeprefix("."))
            except UserError as error:
                return str(error)
    return None


def read_cached(cache: Path, md5: str | None) -> bytes | None:
    """Return the content of an object of DVC's cache, or None if it is missing or modified."""
    if md5 is None:
        return None
    try:
        content = object_path(cache, md5).read_bytes()
    except OSError:
        return None
    same = hashlib.md5(content, usedforsecurity=False).hexdigest() == md5.removesuffix(".dir")
    return content if same else None


def object_path(cache: Path, md5: str) -> Path:
    """Return the path of an object in DVC's cache, or in a remote of the same layout."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _listing(cache: Path, md5: str) -> dict[str, str] | None:
    """Return the MD5 of each file in a recorded folder, or None if its listing is not cached.

    Raises:
        UserError: the listing was modified.
    """
    path = object_path(cache, md5)
    content = read_cached(cache, md5)
    if content is None and path.exists():
        _refuse(path, _md5(path), {md5})
    if not content:
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def _md5(path: Path) -> str | None:
    """Return the MD5 of a file, or None if it cannot be read."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    except OSError:
        return None
    return digest.hexdigest()


def _refuse(path: Path, md5: str | None, expected: set[str]) -> NoReturn:
    """Raise the error for a modified file. DVC will hash it, and its copy in the cache, again."""
    removed = []
    with contextlib.suppress(OSError):
        os.utime(path)  # DVC hashes a file again if its time has changed
    for recorded_md5 in expected:
        copy = object_path(dvc_cache(), recorded_md5)
        if copy.exists() and _md5(copy) != recorded_md5.removesuffix(".dir"):
            with contextlib.suppress(OSError):
                copy.unlink()  # as DVC does with modified objects
                removed.append(copy)
    problem = f"has the MD5 {md5}" if md5 else "cannot be read"
    recorded = " or ".join(sorted(expected)) or "no such file"
    also = "".join(f" {copy} in DVC's cache was modified too and is removed." for copy in removed)
    raise UserError(
        f"{path} {problem}, but dvc.lock recorded {recorded}. It was truncated or modified and is "
        f"not used.{also} `dvc repro` computes it again, `dvc pull` fetches it."
    )


def project_root() -> Path:
    """Return the nearest folder that has a .dvc folder, from the current one up; else that one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def dvc_cache() -> Path:
    """Return DVC's cache folder, from DVC's configuration files.

    Raises:
        UserError: a configuration file cannot be read.
    """
    project = Path(os.environ.get("DVC_ROOT") or project_root()) / ".dvc"
    cache = project / "cache"
    shared = (Path(system_config_dir(), "config"), Path(global_config_dir(), "config"))
    for file in (*shared, project / "config", project / "config.local"):  # the last one wins
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


def user_path(text: str) -> Path:
    """Return a path that the user wrote.

    A relative path starts at the user's repository, also in the copies of it in which DVC runs
    queued and temporary experiments.
    """
    return Path(os.environ.get("DVC_ROOT") or "") / Path(text).expanduser()
