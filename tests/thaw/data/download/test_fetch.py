import gzip
import hashlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from thaw.data.download import fetch as room
from thaw.data.download.fetch import Failure, fetch, has, opened
from thaw.errors import UserError

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "images.bin"


@pytest.fixture
def kept(tmp_path) -> Path:
    return tmp_path / "store" / "downloads" / DIGEST / NAME


@pytest.fixture
def partial(kept) -> Path:
    """Where a download that was not finished lies."""
    kept.parent.mkdir(parents=True)
    return kept.with_name(f"{NAME}.partial")


@pytest.fixture
def get(server):
    """A function that fetches NAME from the server, which has it."""
    server.files[NAME] = CONTENT
    return lambda **more: fetch(NAME, DIGEST, server.url + NAME, **more)


def refusal(get, **more) -> str:
    with pytest.raises(UserError) as refused:
        get(**more)
    return str(refused.value)


def test_it_is_downloaded_once_with_its_progress_and_nothing_else_stays(get, server, kept, capsys):
    assert get() == kept and kept.read_bytes() == CONTENT
    assert get() == kept
    assert server.asked == [(NAME, None)]
    assert NAME in capsys.readouterr().err
    assert sorted(os.listdir(kept.parent)) == [NAME, f"{NAME}.lock"]


def test_the_mirror_is_asked_first_and_its_file_taken_where_it_lies(
    get, server, tmp_path, monkeypatch
):
    own = tmp_path / "mirror" / "deep" / NAME.upper()
    own.parent.mkdir(parents=True)
    own.write_bytes(CONTENT)
    (tmp_path / "mirror" / NAME).write_bytes(b"another of that name")
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / "mirror"))
    assert get() == own and server.asked == []


def test_a_mirror_with_another_file_of_that_name_is_passed_over(get, tmp_path, monkeypatch, kept):
    (tmp_path / NAME).write_bytes(b"another")
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / NAME))
    assert get() == kept


def test_it_may_come_gzipped_or_not(server, tmp_path, monkeypatch):
    server.files[f"{NAME}.gz"] = gzip.compress(CONTENT)
    file = fetch(f"{NAME}.gz", DIGEST, f"{server.url}{NAME}.gz")
    assert opened(file).read() == CONTENT
    (tmp_path / NAME).write_bytes(CONTENT)
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / NAME))
    plain = fetch(f"{NAME}.gz", DIGEST, f"{server.url}{NAME}.gz")
    assert plain == tmp_path / NAME and opened(plain).read() == CONTENT


def test_damaged_gzip_is_not_it(tmp_path):
    whole = gzip.compress(os.urandom(5000))
    for number, damaged in enumerate([whole[:-20], whole[:50] + b"?" * 50 + whole[100:], whole]):
        (tmp_path / f"{number}").write_bytes(damaged)
        assert not has(tmp_path / f"{number}", DIGEST)


def test_a_connection_that_breaks_off_is_gone_on_with(get, server, kept):
    server.breaks = [100_000, 300_000]
    assert get().read_bytes() == CONTENT
    assert server.asked == [(NAME, None), (NAME, "bytes=100000-"), (NAME, "bytes=300000-")]


def test_another_process_goes_on_from_what_a_killed_one_left(server, kept, tmp_path):
    server.files[NAME] = CONTENT
    server.breaks = [100_000]
    killed = (
        "import os, sys\n"
        "from thaw.data.download import fetch\n"
        "fetch.time.sleep = lambda _: os._exit(9)\n"  # it would try again
        "fetch.fetch(*sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", killed, NAME, DIGEST, server.url + NAME]
    assert subprocess.run(command, capture_output=True).returncode == 9
    assert fetch(NAME, DIGEST, server.url + NAME).read_bytes() == CONTENT
    assert server.asked == [(NAME, None), (NAME, "bytes=100000-")]


def test_two_processes_at_once_download_it_once(server, kept):
    server.files[NAME] = CONTENT
    code = "import sys; from thaw.data.download.fetch import fetch; print(fetch(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, NAME, DIGEST, server.url + NAME]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == [str(kept)] * 2
    assert server.asked == [(NAME, None)]


def test_a_server_without_ranges_gives_it_from_the_start(get, server, partial):
    partial.write_bytes(b"?" * 1000)
    server.ranges = False
    assert get().read_bytes() == CONTENT


def test_what_was_left_of_another_file_is_thrown_away(get, server, partial):
    partial.write_bytes(b"?" * 1000)
    assert get().read_bytes() == CONTENT
    assert server.asked == [(NAME, "bytes=1000-"), (NAME, None)]


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"?"])
def test_a_partial_file_that_is_whole_or_too_long(get, server, partial, left):
    partial.write_bytes(left)
    assert get().read_bytes() == CONTENT
    assert server.asked[0] == (NAME, f"bytes={len(left)}-")


def test_another_file_is_deleted_and_named(get, server, kept):
    server.files[NAME] = b"<html>please log in</html>"
    said = refusal(get)
    found = hashlib.sha256(server.files[NAME]).hexdigest()
    assert f"{server.url}{NAME}: what came has SHA-256 {found}, and was deleted" in said
    assert os.listdir(kept.parent) == [f"{NAME}.lock"]
    assert len(server.asked) == 1


def test_a_server_that_breaks_off_and_has_another_file_comes_to_an_end(get, server):
    server.files[NAME] = CONTENT[::-1]
    server.breaks = [100_000] * 2
    assert "was deleted" in refusal(get)


def test_a_file_that_is_not_there_is_not_asked_for_again(get, server):
    server.files.clear()
    assert f"{server.url}{NAME}: the server says 404 Not Found" in refusal(get)
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(get, server):
    server.status = [503, 429]
    assert get().read_bytes() == CONTENT
    server.status = [503] * 9
    assert "503" in refusal(lambda: fetch("x", "0" * 64, server.url + "x"))
    assert len(server.asked) == 3 + room.TRIES


def test_a_silent_server_counts_as_absent_and_is_not_waited_for_twice(get, server, monkeypatch):
    server.silent = True
    monkeypatch.setattr(room, "SECONDS", 0.1)
    started = time.monotonic()
    assert "no answer within 0.1 s" in refusal(get)
    assert "no answer within 0.1 s" in refusal(get)
    assert len(server.asked) == room.TRIES
    assert time.monotonic() - started < 5


def test_a_slow_server_has_a_limit_in_all_and_what_came_is_kept(get, server, kept, monkeypatch):
    seconds = iter(range(0, 100_000, 40))  # so many pass between any two looks at the clock
    clock = SimpleNamespace(monotonic=lambda: next(seconds), sleep=time.sleep)
    with monkeypatch.context() as patch:
        patch.setattr(room, "SECONDS_IN_ALL", 100)
        patch.setattr(room, "time", clock)
        assert "not done after 100 s; the same command goes on from here" in refusal(get)
    left = kept.with_name(f"{NAME}.partial").stat().st_size
    assert 0 < left < len(CONTENT)
    assert get().read_bytes() == CONTENT
    assert server.asked[-1] == (NAME, f"bytes={left}-")


def test_a_package_is_the_last_to_be_asked_and_is_checked_as_well(get, server, kept, tmp_path):
    server.files.clear()
    (tmp_path / "inside").write_bytes(gzip.compress(CONTENT))
    assert opened(get(package=lambda: tmp_path / "inside")).read() == CONTENT
    assert get() == kept and len(server.asked) == 1
    kept.unlink()
    (tmp_path / "inside").write_bytes(b"another")
    said = refusal(get, package=lambda: tmp_path / "inside", what="the package p")
    assert "the package p: its inside has SHA-256 " in said


def test_when_nobody_has_it_each_source_is_named_with_its_reason(tmp_path, server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/{NAME}"

    def package():
        raise Failure("there is no apt-get on this machine")

    said = refusal(lambda: fetch(NAME, DIGEST, url, package, "Debian's package p"))
    assert said.splitlines() == [
        f"no source has {NAME} with SHA-256 {DIGEST}:",
        "  THAW_MIRROR: not set (a folder of your own)",
        f"  {url}: Connection refused",
        "  Debian's package p: there is no apt-get on this machine",
        f"      On a machine without network: fetch {url} elsewhere, put it in a folder and set "
        "THAW_MIRROR to that folder.",
    ]
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / "empty"))
    assert f"  THAW_MIRROR: holds no {NAME}\n" in refusal(lambda: fetch(NAME, DIGEST, url))
    (tmp_path / "empty" / NAME).write_bytes(b"abc")
    said = refusal(lambda: fetch(NAME, DIGEST, url))
    digest = hashlib.sha256(b"abc").hexdigest()
    assert f"THAW_MIRROR: {tmp_path}/empty/{NAME} is another file, with SHA-256 {digest}" in said


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/passwd", "data:,a", "a"]
)
def test_only_https_is_asked_beyond_this_machine(server, url):
    said = refusal(lambda: fetch("a", "0" * 64, url))
    assert f"{url}: expected an address that begins with https://, not " in said


@pytest.mark.parametrize("to", ["https://127.0.0.1/a", "ftp://127.0.0.1/a", "file:///etc/passwd"])
def test_no_redirect_to_another_scheme_is_followed(get, server, to):
    server.redirect = to
    said = refusal(get)
    scheme = to.partition(":")[0]
    ours = f"the server sends us from http to {scheme}, which is not followed"
    assert (ours if scheme != "file" else f"Redirection to url '{to}' is not allowed") in said
    assert len(server.asked) == 1


def test_no_redirect_away_from_this_machine_is_followed_without_encryption(get, server):
    server.redirect = "http://example.org/a"
    assert "expected an address that begins with https://, not http://" in refusal(get)


def test_a_redirect_within_the_scheme_is_followed(get, server, kept):
    server.files["other"] = CONTENT
    server.redirect = f"{server.url}other"
    assert get().read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == [NAME, "other"]


@pytest.mark.parametrize("says", [True, False])
def test_a_file_that_is_too_large_is_not_kept(get, server, kept, monkeypatch, says):
    monkeypatch.setattr(room, "MOST_BYTES", 300_000)
    server.says_length = says
    assert "bytes or more, expected 300,000 at most" in refusal(get)
    assert os.listdir(kept.parent) == [f"{NAME}.lock"]


@pytest.mark.parametrize("length", ["-1", "1e9", "x", "9" * 5000])
def test_a_length_that_is_none_is_no_harm(get, server, kept, length):
    server.length = length
    server.says_length = True
    try:
        assert get().read_bytes() == CONTENT
    except UserError as refused:
        assert "\n  " in str(refused)
