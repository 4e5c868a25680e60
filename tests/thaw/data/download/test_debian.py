"""With the real apt-get, where there is one that answers, and with none."""

import os
import shutil

import pytest

from thaw.data.download import debian
from thaw.data.download.debian import from_debian, unpacked
from thaw.data.download.fetch import Failure, has
from thaw.sources.fashion_mnist import FOLDER

PACKAGE = "dataset-fashion-mnist"
SMALL = f"{FOLDER}/t10k-labels-idx1-ubyte.gz"
DIGEST = "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"


@pytest.fixture(autouse=True)
def forgotten():
    """No package that an earlier test has got."""
    unpacked.cache_clear()


@pytest.fixture
def answers():
    """Skips where Debian's packages cannot be had."""
    try:
        unpacked(PACKAGE)
    except Failure as reason:
        pytest.skip(f"Debian's package {PACKAGE} cannot be had here: {reason}")


def test_a_package_gives_its_files_and_nothing_is_installed(answers):
    assert has(from_debian(PACKAGE, SMALL), DIGEST)
    assert not os.path.exists(f"/{SMALL}")
    with pytest.raises(Failure, match="it holds no usr/share/other"):
        from_debian(PACKAGE, "usr/share/other")


def test_a_machine_without_lists_of_packages_gets_one_for_this_alone(
    answers, tmp_path, monkeypatch
):
    unpacked.cache_clear()
    (tmp_path / "apt.conf").write_text(f'Dir::State::lists "{tmp_path}/none";')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    assert has(from_debian(PACKAGE, SMALL), DIGEST)


def test_a_package_that_there_is_not_is_one_line(answers, monkeypatch):
    call = debian._call

    def without_update(here, *command):  # which takes seconds
        if command[-1] != "update":
            call(here, command[0], *command[-2:])

    monkeypatch.setattr(debian, "_call", without_update)
    with pytest.raises(Failure, match="^apt-get says: Unable to locate package no-such-package$"):
        unpacked("no-such-package")


def test_a_machine_without_apt_says_so(monkeypatch):
    monkeypatch.setattr(debian.shutil, "which", lambda tool: None)
    with pytest.raises(Failure, match="^there is no apt-get on this machine$"):
        unpacked(PACKAGE)


def test_a_command_that_hangs_has_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(debian, "SECONDS", 0.2)
    with pytest.raises(Failure, match="sleep was not done after 0.2 s"):
        debian._call(tmp_path, shutil.which("sleep"), "30")
