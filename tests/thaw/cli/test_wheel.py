"""The wheel of the library, with the templates of a project."""

import subprocess
import zipfile

import pytest

from tests.conftest import ROOT
from thaw.cli.wheel import Wheel, make_wheel, template_files
from thaw.errors import UserError


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Wheel:
    return make_wheel(tmp_path_factory.mktemp("wheel"))


def test_it_has_every_file_of_the_library_and_of_a_project(wheel):
    with zipfile.ZipFile(wheel.path) as archive:
        names = set(archive.namelist())
    listed = subprocess.run(
        ["git", "ls-files", "thaw", "hydra_plugins"], cwd=ROOT, capture_output=True, text=True
    )
    assert {name for name in listed.stdout.split() if (ROOT / name).exists()} <= names
    assert {"thaw/py.typed", "thaw/report/page.html", "thaw/cli/new.md"} <= names
    assert {f"thaw/templates/{name}" for name in template_files(ROOT)} <= names
    assert not [name for name in names if "experiment/" in name or "__pycache__" in name]
    data_sets = {name.split("/")[-1] for name in names if "/conf/dataset/" in name} - {""}
    assert data_sets == {"folder.yaml", "manifest.yaml"}, "of the user's own images"


def test_equal_files_make_an_equal_wheel(wheel, tmp_path):
    assert make_wheel(tmp_path).digest == wheel.digest


def test_dvc_yaml_depends_on_the_wheel_alone(wheel):
    text = wheel.project_files("cells", wheel)["dvc.yaml"].decode()
    assert text.count(f": vendor/{wheel.path.name}\n") >= 12 and ": thaw/" not in text


def test_an_installed_wheel_makes_the_same_wheel(wheel, tmp_path, environment):
    python = environment(wheel)
    command = [python, "-m", "thaw.cli.wheel", str(tmp_path / "packed")]
    subprocess.run(command, cwd=tmp_path, check=True)
    packed = Wheel(tmp_path / "packed" / wheel.path.name)
    assert packed.same_content(wheel)
    again = environment(packed)
    assert subprocess.run([again, "-c", "import thaw"], cwd=tmp_path).returncode == 0


def test_a_library_without_templates_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("thaw.cli.wheel.SOURCE", tmp_path)
    with pytest.raises(UserError, match="has no templates of a project. Install Thaw from a wheel"):
        make_wheel(tmp_path / "wheel")
