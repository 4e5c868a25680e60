"""Tests with the real apt-get where it can reach a package index, and without apt-get."""

import os
import shutil

import pytest

from thaw.data.download import debian
from thaw.data.download.debian import from_debian, unpacked
from thaw.data.download.fetch import Failure, has_digest
from thaw.sources.fashion_mnist import FOLDER

PACKAGE = "dataset-fashion-mnist"
SMALL = f"{FOLDER}/t10k-labels-idx1-ubyte.gz"
DIGEST = "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"


@pytest.fixture(autouse=True)
def empty_cache():
    """Forget the packages that earlier tests downloaded."""
    unpacked.cache_clear()


@pytest.fixture
def debian_available():
    """Skip the test on machines that cannot download Debian packages."""
    try:
        unpacked(PACKAGE)
    except Failure as reason:
        pytest.skip(f"cannot download the Debian package {PACKAGE}: {reason}")


def test_files_of_a_package_are_downloaded_without_installing_it(debian_available):
    assert has_digest(from_debian(PACKAGE, SMALL), DIGEST)
    assert not os.path.exists(f"/{SMALL}")
    with pytest.raises(Failure, match="the package does not contain usr/share/other"):
        from_debian(PACKAGE, "usr/share/other")


def test_package_list_is_downloaded_if_the_machine_has_none(
    debian_available, tmp_path, monkeypatch
):
    unpacked.cache_clear()
    (tmp_path / "apt.conf").write_text(f'Dir::State::lists "{tmp_path}/empty";')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    assert has_digest(from_debian(PACKAGE, SMALL), DIGEST)


def test_unknown_package_gives_a_message_of_one_line(debian_available, monkeypatch):
    run = debian._run

    def without_update(folder, *command):  # the update takes seconds
        if command[-1] != "update":
            run(folder, command[0], *command[-2:])

    monkeypatch.setattr(debian, "_run", without_update)
    with pytest.raises(Failure, match="^apt-get failed: Unable to locate package no-such-package$"):
        unpacked("no-such-package")


def test_missing_apt_get_is_reported(monkeypatch):
    monkeypatch.setattr(debian.shutil, "which", lambda tool: None)
    with pytest.raises(Failure, match="^this machine has no apt-get$"):
        unpacked(PACKAGE)


def test_hanging_commands_time_out(tmp_path, monkeypatch):
    monkeypatch.setattr(debian, "SECONDS", 0.2)
    with pytest.raises(Failure, match="sleep did not finish within 0.2 s"):
        debian._run(tmp_path, shutil.which("sleep"), "30")
