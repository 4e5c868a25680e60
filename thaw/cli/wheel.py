"""The library as a wheel that also holds the template of each file of a project.

`python -m thaw.cli.wheel FOLDER` writes it: from a clone with `uv build`, or from an installed
wheel by packing its files again.
"""

import base64
import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from thaw.errors import UserError

SOURCE = Path(__file__).parents[2]  # the clone, or the folder that the wheel is installed in
METADATA = ("pyproject.toml", "README.md", "LICENSE")  # what `uv build` reads
TEMPLATES = (
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvc/plots/*.json",
    ".dvc/plugins/hydra_plugins/*.py",
    ".dvcignore",
    ".github/workflows/pull-request.yml",
    ".gitignore",
    "Makefile",
    "conf/**/*.yaml",
    "data/.gitignore",
    "dvc.yaml",
    "requirements-*.lock",
    "stages/*.py",
    "stages/run",
)
# Experiments on published data sets, and these data sets, are no part of a project
PRESETS = re.compile(r"conf/(experiment/|dataset/(?!folder\.yaml|manifest\.yaml))")
FOLDER = "thaw/templates/"  # in the wheel
DOCS = "thaw/docs"  # in the wheel
PYPROJECT = "thaw/cli/new.toml"  # in the wheel: the template of a project's pyproject.toml
EPOCH = (1980, 1, 1, 0, 0, 0)  # as `uv build` dates its entries: equal files make equal wheels


class Wheel:
    """A wheel of the library.

    Attributes:
        path: of the file, whose name has the version.
        digest: the SHA-256 of its bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
            with zipfile.ZipFile(path) as archive:
                self._files = {name: archive.read(name) for name in archive.namelist()}
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: expected a wheel of Thaw ({error}).") from None
        if not path.name.startswith("thaw-") or FOLDER + "dvc.yaml" not in self._files:
            raise UserError(
                f"{path}: expected a wheel of Thaw with the templates of a project. "
                f"`make wheel` in a clone of Thaw builds one."
            )

    @property
    def version(self) -> str:
        """The version that the wheel's name has."""
        return self.path.name.split("-")[1]

    def project_files(self, project: str, pinned: "Wheel") -> dict[str, bytes]:
        """Return the files of a project from this wheel's templates, with the library pinned.

        Args:
            project: the name of the project.
            pinned: the wheel that dvc.yaml, pyproject.toml and the locks name.

        Returns:
            The content of each file, by its path in the project.
        """
        vendored = f"vendor/{pinned.path.name}"
        files = {
            name.removeprefix(FOLDER): content
            for name, content in self._files.items()
            if name.startswith(FOLDER) and not name.endswith("/")
        }
        dvc_yaml = files["dvc.yaml"].decode()
        code = re.sub(r"(?m)^( +\w+: )thaw/[\w./]+$", rf"\g<1>{vendored}", dvc_yaml)
        files["dvc.yaml"] = code.encode()
        package = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-") or "project"
        pyproject = self._files[PYPROJECT].decode()
        pyproject = pyproject.replace("PROJECT", package).replace("WHEEL", vendored)
        files["pyproject.toml"] = pyproject.encode()
        line = f"./{vendored} --hash=sha256:{pinned.digest}\n".encode()
        for name in files:
            if name in ("requirements-cpu.lock", "requirements-gpu.lock"):
                files[name] += line
        return files

    def repin(self, content: bytes, pinned: "Wheel") -> bytes:
        """Return the content of a file in which another wheel takes the place of this one."""
        content = content.replace(self.path.name.encode(), pinned.path.name.encode())
        return content.replace(self.digest.encode(), pinned.digest.encode())

    def same_content(self, other: "Wheel") -> bool:
        """Return whether both wheels hold the same files, however they are packed."""
        mine, others = (
            {n: c for n, c in w._files.items() if not n.endswith(("/", "/RECORD"))}
            for w in (self, other)
        )
        return mine == others

    def extract(self, folder: Path) -> Path:
        """Write the library's modules below `folder`, and return it, to import them from there."""
        with zipfile.ZipFile(self.path) as archive:
            archive.extractall(folder)
        return folder


def make_wheel(folder: Path) -> Wheel:
    """Write the library that runs as a wheel into `folder`, with the templates of a project.

    Raises:
        UserError: the library is neither a clone nor an installed wheel with templates.
    """
    if (SOURCE / "dvc.yaml").exists() and (SOURCE / "pyproject.toml").exists():
        return Wheel(_build(folder))
    installed = sorted(SOURCE.glob("thaw-*.dist-info"))
    if not installed or not (SOURCE / FOLDER).is_dir():
        raise UserError(
            f"{SOURCE} has no templates of a project. Install Thaw from a wheel that `make wheel` "
            f"built, or use a clone: make setup."
        )
    return Wheel(_pack(installed[0], folder))


def template_files(clone: Path) -> list[str]:
    """Return the paths in a clone of the files that become templates."""
    paths = {path for pattern in TEMPLATES for path in clone.glob(pattern) if path.is_file()}
    names = sorted(path.relative_to(clone).as_posix() for path in paths)
    return [name for name in names if not PRESETS.match(name)]


def _build(folder: Path) -> Path:
    """Build the wheel from a temporary copy of the clone, with the templates in the package."""
    ignored = shutil.ignore_patterns("__pycache__", "*.part")
    with tempfile.TemporaryDirectory(prefix="thaw-wheel-") as temporary:
        tree = Path(temporary)
        for name in ("thaw", "hydra_plugins"):
            shutil.copytree(SOURCE / name, tree / name, ignore=ignored)
        for name in METADATA:
            if (SOURCE / name).exists():
                shutil.copy(SOURCE / name, tree / name)
        of_site = shutil.ignore_patterns("*.css", "*.js", "*.png", "*.svg")
        shutil.copytree(SOURCE / "docs", tree / DOCS, ignore=of_site)  # for `thaw help`
        for name in template_files(SOURCE):
            target = tree / FOLDER / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SOURCE / name, target)
        command = ["uv", "build", "--wheel", "--offline", "--out-dir", "dist"]
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=tree, capture_output=True, text=True
        )
        if done.returncode:
            raise UserError(f"{' '.join(command)} failed: {done.stderr.strip()}")
        (built,) = (tree / "dist").glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(built, folder))


def _pack(metadata: Path, folder: Path) -> Path:
    """Pack the files of an installed distribution as a wheel.

    Args:
        metadata: its .dist-info folder.
    """
    distribution = importlib.metadata.Distribution.at(metadata)
    path = folder / f"thaw-{distribution.version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _distributed(distribution):
            content = (SOURCE / name).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            record.append(f"{name},sha256={digest.decode()},{len(content)}\n")
            archive.writestr(_entry(name), content)
        name = f"{metadata.name}/RECORD"
        archive.writestr(_entry(name), "".join([*record, f"{name},,\n"]))
    return path


def _distributed(distribution: importlib.metadata.Distribution) -> Iterator[str]:
    """Yield the files that came in the wheel, without those that an installer adds."""
    added = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
    for file in sorted(distribution.files or ()):
        of_installer = file.parts[0].endswith(".dist-info") and file.name in added
        if file.suffix != ".pyc" and file.parts[0] != ".." and not of_installer:
            yield file.as_posix()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o100644 << 16
    return entry


if __name__ == "__main__":
    print(make_wheel(Path(sys.argv[1])).path)
