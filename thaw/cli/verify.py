"""`thaw verify`: run the last commit's pipeline in a clone and compare with its dvc.lock."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from thaw.errors import UserError, bullet_list

DIFFERENT = 4  # the exit code if an artifact differs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw verify`."""
    parser.description = (
        "Run the last commit in a temporary clone with an empty cache, and list the artifacts that "
        "differ from dvc.lock. This takes as long as the first run."
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="as for dvc repro; default: all")
    parser.set_defaults(run=lambda arguments: verify(arguments.stages))


def verify(targets: list[str]) -> int:
    """Run stages in a temporary clone and compare their outputs with the commit's dvc.lock.

    The clone has an empty cache and store, so that every stage really runs.

    Args:
        targets: stages, which run with all that they depend on; an empty list runs all.

    Returns:
        0 if every artifact has the recorded bytes, else 4.

    Raises:
        UserError: this is no repository with a dvc.lock, or a stage fails.
    """
    toplevel = ["git", "rev-parse", "--show-toplevel"]
    here = subprocess.run(toplevel, capture_output=True, text=True).stdout.strip()
    lock = ["git", "-C", here, "cat-file", "-e", "HEAD:dvc.lock"]  # the clone is of HEAD
    if not here or subprocess.run(lock, capture_output=True).returncode:
        raise UserError("expected a git repository with a dvc.lock here. Run dvc repro and commit.")
    with tempfile.TemporaryDirectory(prefix="thaw-verify-") as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "--quiet", here, str(clone)], check=True)
        _link_images(Path(here), clone)
        recorded = _digests(clone)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
        environment |= {"THAW_STORE": f"{temporary}/store", "PYTHONUNBUFFERED": "1"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = [sys.executable, "-m", "dvc", "repro", *targets]
        if subprocess.run(command, cwd=clone, env=environment).returncode:
            raise UserError("the run above failed, so nothing was compared.")
        lines = (clone / "logs" / "runs.jsonl").read_text(encoding="utf-8").splitlines()
        ran = [json.loads(line)["stage"].replace(" ", "@") for line in lines]
        produced = _digests(clone)
    artifacts = [(stage, path) for stage in ran for path in produced[stage]]
    differing = [
        f"{path}, of {stage}"
        for stage, path in artifacts
        if recorded.get(stage, {}).get(path) != produced[stage][path]
    ]
    if differing:
        print(f"{len(differing)} of {len(artifacts)} artifacts differ from dvc.lock:")
        print(bullet_list(differing))
        return DIFFERENT
    print(f"all {len(artifacts)} artifacts are identical to those that dvc.lock records")
    return 0


def _digests(clone: Path) -> dict[str, dict[str, str]]:
    """Return the digest of each output in dvc.lock, by stage and path."""
    stages = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage.get("outs", ())}
        for name, stage in stages.items()
    }


def _link_images(here: Path, clone: Path) -> None:
    """Link to the user's images, if they are a folder in the repository that git does not track."""
    source = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))["dataset"][
        "source"
    ]
    images = Path(source.get("path") or here)
    if not images.is_absolute() and (here / images).exists() and not (clone / images).exists():
        (clone / images).parent.mkdir(parents=True, exist_ok=True)
        (clone / images).symlink_to((here / images).resolve())
