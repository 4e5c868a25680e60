"""`thaw verify`: the last commit's pipeline run anew elsewhere, and held against its dvc.lock."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from thaw.errors import UserError, bullet_list

DIFFERENT = 4
"""The exit code where an artifact came out otherwise."""


def verify(targets: list[str]) -> int:
    """Run stages in a temporary clone with an empty cache and store, so that nothing can be taken
    over, and compare what they make with what the commit recorded.

    Args:
        targets: stages, with all that they need; none: all.

    Returns:
        0 if every artifact is the same bytes, else 4.

    Raises:
        UserError: this is no repository with a dvc.lock, or the run fails there.
    """
    asked = ["git", "rev-parse", "--show-toplevel"]
    here = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    lock = ["git", "-C", here, "cat-file", "-e", "HEAD:dvc.lock"]  # what is cloned has it
    if not here or subprocess.run(lock, capture_output=True).returncode:
        raise UserError("expected a git repository with a dvc.lock here. Run dvc repro and commit.")
    with tempfile.TemporaryDirectory(prefix="thaw-verify-") as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "--quiet", here, str(clone)], check=True)
        _bring_folder(Path(here), clone)
        recorded = _outs(clone)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
        environment |= {"THAW_STORE": f"{temporary}/store", "PYTHONUNBUFFERED": "1"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = [sys.executable, "-m", "dvc", "repro", *targets]
        if subprocess.run(command, cwd=clone, env=environment).returncode:
            raise UserError("the run above failed, so nothing was compared.")
        lines = (clone / "logs" / "runs.jsonl").read_text(encoding="utf-8").splitlines()
        ran = [json.loads(line)["stage"].replace(" ", "@") for line in lines]
        made = _outs(clone)
    every = [(stage, path) for stage in ran for path in made[stage]]
    other = [
        f"{path}, of {stage}"
        for stage, path in every
        if recorded.get(stage, {}).get(path) != made[stage][path]
    ]
    if other:
        print(f"{len(other)} of {len(every)} artifacts are not the bytes that dvc.lock records:")
        print(bullet_list(other))
        return DIFFERENT
    print(f"all {len(every)} artifacts are the bytes that dvc.lock records")
    return 0


def _outs(clone: Path) -> dict[str, dict[str, str]]:
    """The digest of each output that dvc.lock has, by stage and path."""
    stages = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage.get("outs", ())}
        for name, stage in stages.items()
    }


def _bring_folder(here: Path, clone: Path) -> None:
    """A folder of the user's images inside the repository is not in git: link to it."""
    source = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))["dataset"][
        "source"
    ]
    given = Path(source.get("path") or here)
    if not given.is_absolute() and (here / given).exists() and not (clone / given).exists():
        (clone / given).parent.mkdir(parents=True, exist_ok=True)
        (clone / given).symlink_to((here / given).resolve())
