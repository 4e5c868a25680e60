"""Atomic writes."""

import pytest

from thaw.errors import UserError
from thaw.storage.files import atomic_write


def test_a_file_gets_its_name_only_when_it_is_complete(tmp_path):
    with atomic_write(tmp_path / "deep" / "a.txt") as part:
        part.write_text("new")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.txt"]
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"


def test_an_earlier_folder_is_replaced_completely(tmp_path, content):
    for names in (["old"], ["new", "newer"]):
        with atomic_write(tmp_path / "a") as part:
            part.mkdir()
            for name in names:
                (part / name).write_text(name)
    assert content(tmp_path) == {"a/new": b"new", "a/newer": b"newer"}


def test_a_file_never_replaces_a_folder(tmp_path, content):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("mine")
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path / "a") as part:
        part.write_text("file")
    assert content(tmp_path) == {"a/mine": b"mine"}


@pytest.mark.parametrize("error", [UserError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_nothing_behind_and_the_old_file_in_place(tmp_path, content, error):
    with atomic_write(tmp_path / "b") as part:
        part.write_text("before")
    for name in ("a", "b"):
        with pytest.raises(error), atomic_write(tmp_path / name) as part:
            part.mkdir()
            (part / "half").write_text("half")
            raise error
    assert content(tmp_path) == {"b": b"before"}


def test_the_remains_of_a_killed_run_are_removed(tmp_path, content):
    (tmp_path / "a.part").mkdir()
    (tmp_path / "a.part" / "half").write_text("half")
    with atomic_write(tmp_path / "a") as part:
        part.mkdir()
        (part / "whole").write_text("whole")
    assert content(tmp_path) == {"a/whole": b"whole"}
