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

from thaw.data.download import fetch as fetch_module
from thaw.data.download.fetch import Failure, fetch, has_digest, opened
from thaw.errors import UserError

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "images.bin"


@pytest.fixture
def kept(tmp_path) -> Path:
    return tmp_path / "store" / "downloads" / DIGEST / NAME


@pytest.fixture
def partial(kept) -> Path:
    """Return the path of an unfinished download."""
    kept.parent.mkdir(parents=True)
    return kept.with_name(f"{NAME}.partial")


@pytest.fixture
def get(server):
    """Return a function that fetches NAME from the server, which has it."""
    server.files[NAME] = CONTENT
    return lambda **more: fetch(NAME, DIGEST, server.url + NAME, **more)


def error_of(get, **more) -> str:
    with pytest.raises(UserError) as error:
        get(**more)
    return str(error.value)


def test_file_is_downloaded_once_with_a_progress_bar(get, server, kept, capsys):
    assert get() == kept and kept.read_bytes() == CONTENT
    assert get() == kept
    assert server.requests == [(NAME, None)]
    assert NAME in capsys.readouterr().err
    assert sorted(os.listdir(kept.parent)) == [NAME, f"{NAME}.lock"]


def test_file_in_the_mirror_is_used_in_place(get, server, tmp_path, monkeypatch):
    mirrored = tmp_path / "mirror" / "deep" / NAME.upper()
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(CONTENT)
    (tmp_path / "mirror" / NAME).write_bytes(b"another file of that name")
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / "mirror"))
    assert get() == mirrored and server.requests == []


def test_mirrored_file_with_another_digest_is_ignored(get, tmp_path, monkeypatch, kept):
    (tmp_path / NAME).write_bytes(b"another")
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / NAME))
    assert get() == kept


def test_file_may_be_compressed_or_not(server, tmp_path, monkeypatch):
    server.files[f"{NAME}.gz"] = gzip.compress(CONTENT)
    file = fetch(f"{NAME}.gz", DIGEST, f"{server.url}{NAME}.gz")
    assert opened(file).read() == CONTENT
    (tmp_path / NAME).write_bytes(CONTENT)
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / NAME))
    plain = fetch(f"{NAME}.gz", DIGEST, f"{server.url}{NAME}.gz")
    assert plain == tmp_path / NAME and opened(plain).read() == CONTENT


def test_damaged_gzip_files_do_not_have_the_digest(tmp_path):
    other = gzip.compress(os.urandom(5000))
    for number, damaged in enumerate([other[:-20], other[:50] + b"?" * 50 + other[100:], other]):
        (tmp_path / f"{number}").write_bytes(damaged)
        assert not has_digest(tmp_path / f"{number}", DIGEST)


def test_lost_connection_is_resumed(get, server, kept):
    server.disconnect_at = [100_000, 300_000]
    assert get().read_bytes() == CONTENT
    assert server.requests == [(NAME, None), (NAME, "bytes=100000-"), (NAME, "bytes=300000-")]


def test_process_resumes_the_download_of_a_killed_one(server, kept, tmp_path):
    server.files[NAME] = CONTENT
    server.disconnect_at = [100_000]
    killed = (
        "import os, sys\n"
        "from thaw.data.download import fetch\n"
        "fetch.time.sleep = lambda _: os._exit(9)\n"  # called before the second attempt
        "fetch.fetch(*sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", killed, NAME, DIGEST, server.url + NAME]
    assert subprocess.run(command, capture_output=True).returncode == 9
    assert fetch(NAME, DIGEST, server.url + NAME).read_bytes() == CONTENT
    assert server.requests == [(NAME, None), (NAME, "bytes=100000-")]


def test_concurrent_processes_download_a_file_once(server, kept):
    server.files[NAME] = CONTENT
    code = "import sys; from thaw.data.download.fetch import fetch; print(fetch(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, NAME, DIGEST, server.url + NAME]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == [str(kept)] * 2
    assert server.requests == [(NAME, None)]


def test_server_without_range_requests_restarts_the_download(get, server, partial):
    partial.write_bytes(b"?" * 1000)
    server.ranges = False
    assert get().read_bytes() == CONTENT


def test_partial_file_with_other_content_is_discarded(get, server, partial):
    partial.write_bytes(b"?" * 1000)
    assert get().read_bytes() == CONTENT
    assert server.requests == [(NAME, "bytes=1000-"), (NAME, None)]


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"?"])
def test_complete_or_too_long_partial_file_gives_the_right_content(get, server, partial, left):
    partial.write_bytes(left)
    assert get().read_bytes() == CONTENT
    assert server.requests[0] == (NAME, f"bytes={len(left)}-")


def test_file_with_another_digest_is_deleted_and_reported(get, server, kept):
    server.files[NAME] = b"<html>please log in</html>"
    message = error_of(get)
    digest = hashlib.sha256(server.files[NAME]).hexdigest()
    assert (
        f"{server.url}{NAME}: the downloaded file has SHA-256 {digest} and was deleted" in message
    )
    assert os.listdir(kept.parent) == [f"{NAME}.lock"]
    assert len(server.requests) == 1


def test_lost_connections_to_a_server_with_another_file_end_in_an_error(get, server):
    server.files[NAME] = CONTENT[::-1]
    server.disconnect_at = [100_000] * 2
    assert "was deleted" in error_of(get)


def test_missing_file_is_requested_once(get, server):
    server.files.clear()
    assert f"{server.url}{NAME}: the server answers 404 Not Found" in error_of(get)
    assert len(server.requests) == 1


def test_busy_server_is_retried(get, server):
    server.status = [503, 429]
    assert get().read_bytes() == CONTENT
    server.status = [503] * 9
    assert "503" in error_of(lambda: fetch("x", "0" * 64, server.url + "x"))
    assert len(server.requests) == 3 + fetch_module.TRIES


def test_silent_server_times_out_once_per_process(get, server, monkeypatch):
    server.silent = True
    monkeypatch.setattr(fetch_module, "SECONDS", 0.1)
    started = time.monotonic()
    assert "no answer within 0.1 s" in error_of(get)
    assert "no answer within 0.1 s" in error_of(get)
    assert len(server.requests) == fetch_module.TRIES
    assert time.monotonic() - started < 5


def test_slow_download_times_out_and_keeps_the_partial_file(get, server, kept, monkeypatch):
    seconds = iter(range(0, 100_000, 40))  # seconds between two readings of the clock
    clock = SimpleNamespace(monotonic=lambda: next(seconds), sleep=time.sleep)
    with monkeypatch.context() as patch:
        patch.setattr(fetch_module, "SECONDS_IN_ALL", 100)
        patch.setattr(fetch_module, "time", clock)
        assert "not finished after 100 s; repeat the command to resume" in error_of(get)
    size = kept.with_name(f"{NAME}.partial").stat().st_size
    assert 0 < size < len(CONTENT)
    assert get().read_bytes() == CONTENT
    assert server.requests[-1] == (NAME, f"bytes={size}-")


def test_package_is_the_last_source_and_its_digest_is_checked(get, server, kept, tmp_path):
    server.files.clear()
    (tmp_path / "inside").write_bytes(gzip.compress(CONTENT))
    assert opened(get(package=lambda: tmp_path / "inside")).read() == CONTENT
    assert get() == kept and len(server.requests) == 1
    kept.unlink()
    (tmp_path / "inside").write_bytes(b"another")
    message = error_of(get, package=lambda: tmp_path / "inside", package_name="the package p")
    assert "the package p: its inside has SHA-256 " in message


def test_message_gives_the_reason_of_each_source(tmp_path, server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/{NAME}"

    def package():
        raise Failure("this machine has no apt-get")

    message = error_of(lambda: fetch(NAME, DIGEST, url, package, "Debian package p"))
    assert message.splitlines() == [
        f"no source has {NAME} with SHA-256 {DIGEST}:",
        "  THAW_MIRROR: not set (a folder with downloaded files)",
        f"  {url}: Connection refused",
        "  Debian package p: this machine has no apt-get",
        f"      On a machine without network: download {url} on another one, copy it into a folder "
        "and set THAW_MIRROR to that folder.",
    ]
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / "empty"))
    assert f"  THAW_MIRROR: contains no {NAME}\n" in error_of(lambda: fetch(NAME, DIGEST, url))
    (tmp_path / "empty" / NAME).write_bytes(b"abc")
    message = error_of(lambda: fetch(NAME, DIGEST, url))
    digest = hashlib.sha256(b"abc").hexdigest()
    assert f"THAW_MIRROR: {tmp_path}/empty/{NAME} has another SHA-256, {digest}" in message


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/passwd", "data:,a", "a"]
)
def test_remote_urls_must_use_https(server, url):
    message = error_of(lambda: fetch("a", "0" * 64, url))
    assert f"{url}: expected a URL that starts with https://, not " in message


@pytest.mark.parametrize("to", ["https://127.0.0.1/a", "ftp://127.0.0.1/a", "file:///etc/passwd"])
def test_redirects_to_another_scheme_are_refused(get, server, to):
    server.redirect = to
    message = error_of(get)
    scheme = to.partition(":")[0]
    expected = f"the server redirects from http to {scheme}, which is not allowed"
    assert (
        expected if scheme != "file" else f"Redirection to url '{to}' is not allowed"
    ) in message
    assert len(server.requests) == 1


def test_redirects_from_loopback_to_unencrypted_hosts_are_refused(get, server):
    server.redirect = "http://example.org/a"
    assert "expected a URL that starts with https://, not http://" in error_of(get)


def test_redirects_within_the_scheme_are_followed(get, server, kept):
    server.files["other"] = CONTENT
    server.redirect = f"{server.url}other"
    assert get().read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == [NAME, "other"]


@pytest.mark.parametrize("sends_length", [True, False])
def test_too_large_files_are_deleted(get, server, kept, monkeypatch, sends_length):
    monkeypatch.setattr(fetch_module, "MAX_BYTES", 300_000)
    server.sends_length = sends_length
    assert "bytes, expected at most 300,000" in error_of(get)
    assert os.listdir(kept.parent) == [f"{NAME}.lock"]


@pytest.mark.parametrize("length", ["-1", "1e9", "x", "9" * 5000])
def test_invalid_content_length_is_harmless(get, server, kept, length):
    server.length = length
    server.sends_length = True
    try:
        assert get().read_bytes() == CONTENT
    except UserError as error:
        assert "\n  " in str(error)
