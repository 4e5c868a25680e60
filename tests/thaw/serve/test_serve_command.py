"""`thaw serve` as a process of its own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.conftest import ROOT
from thaw.cli.main import command
from thaw.errors import UserError
from thaw.serve.server import bound


def started(folder, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "thaw.cli.main", "serve", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore Ctrl-C, and hand that down
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_it_says_which_model_and_where_warns_and_ends_in_one_line(after_training, photos):
    running = started(after_training, "--port", "0", "--host", "0.0.0.0", "--max-bytes", "5000000")
    try:
        loading, serving = running.stdout.readline(), running.stdout.readline()
        assert re.fullmatch(
            r"thaw: loading logistic\. It is put first for its accuracy on validation images, .*\n",
            loading,
        )
        place = re.fullmatch(
            r"thaw: serving logistic at http://0\.0\.0\.0:(\d+) \(Ctrl-C ends it\)\n", serving
        )
        address = f"http://127.0.0.1:{place.group(1)}"
        with open(photos[0], "rb") as file:
            answer = httpx.post(f"{address}/predict", files={"images": file}, timeout=20)
        assert answer.json()["images"][0]["class"] in ("disc", "square")
        assert "Up to 5.0 MB" in httpx.get(address).text
        # neither a request under way nor a connection that stays open holds it up
        with httpx.Client() as kept, ThreadPoolExecutor(1) as pool:
            many = [("images", ("a.png", photos[0].read_bytes()))] * 200
            cut = pool.submit(httpx.post, f"{address}/predict", files=many, timeout=20)
            while not kept.get(f"{address}/health").json()["images"]:
                assert not cut.done()
            began = time.monotonic()
            running.send_signal(signal.SIGINT)
            out, errors = running.communicate(timeout=10)
            assert time.monotonic() - began < 5
            assert cut.exception() or cut.result().status_code == 500, "it was under way"
    finally:
        running.kill()
    assert (running.returncode, out) == (130, "")
    warning, *ended = errors.splitlines()
    assert warning == (
        f"thaw: warning: http://0.0.0.0:{place.group(1)} can be reached from other machines, and "
        f"asks nobody for a password."
    )
    assert ended == ["", "thaw: stopped."]


def test_a_busy_port_is_one_line_before_anything_is_loaded(inside, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(UserError) as refusal:
            command(["serve", "logistic", "--port", port])
    assert str(refusal.value) == (
        f"cannot listen at 127.0.0.1, port {port}: Address already in use. Choose another with "
        f"--host or --port."
    )
    assert capsys.readouterr() == ("", "")


def test_a_second_server_is_refused_while_the_first_loads_its_model():
    with bound("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port}: Address already in use. Choose another"):
            bound("127.0.0.1", port)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lojistic"], "there is no model 'lojistic'. Did you mean logistic?"),
        (["logistic", "--host", "nowhere.invalid"], "--host nowhere.invalid: expected an address"),
        (["logistic", "--host", "a..b"], "--host a..b: expected an address"),
    ],
)
def test_what_cannot_be_used_is_refused(inside, arguments, said):
    with pytest.raises(UserError) as refusal:
        command(["serve", *arguments])
    assert str(refusal.value).startswith(said) and "\n" not in str(refusal.value)


def test_without_results_several_models_are_named(inside, tmp_path, monkeypatch):
    shutil.copytree(inside / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refusal:
        command(["serve"])
    assert str(refusal.value) == (
        "which model? models/ has logistic, other, and no results are here to choose by: "
        "thaw serve logistic."
    )
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(UserError, match="and none in models/. Run thaw in the repository"):
        command(["serve"])


def test_without_the_extra_it_says_how_to_have_it(inside):
    """In a process to which its packages are not there."""
    code = (
        "import importlib.util as u, sys\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'uvicorn' else found(n, *a)\n"
        "sys.argv = ['thaw', 'serve']\n"
        "from thaw.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=inside,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "thaw: serving needs fastapi, uvicorn, python_multipart, and not all are installed: "
        "make setup EXTRA=serve. (See `thaw serve --help`.)\n"
    )
