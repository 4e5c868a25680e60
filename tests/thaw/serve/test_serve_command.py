"""`thaw serve` as a process."""

import json
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
from thaw.serve.server import bind


def start(folder, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "thaw.cli.main", "serve", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # background jobs of a shell ignore Ctrl-C, and their children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_it_prints_model_and_url_warns_of_access_and_stops_on_ctrl_c(after_training, photos):
    running = start(after_training, "--port", "0", "--host", "0.0.0.0", "--max-bytes", "5000000")
    try:
        loading, serving = running.stdout.readline(), running.stdout.readline()
        name = json.loads((after_training / "results/best.json").read_text())["model"]
        assert loading == f"thaw: loading {name}\n"
        place = re.fullmatch(
            rf"thaw: serving {name} at http://0\.0\.0\.0:(\d+) \(Ctrl-C ends it\)\n", serving
        )
        address = f"http://127.0.0.1:{place.group(1)}"
        with open(photos[0], "rb") as file:
            response = httpx.post(f"{address}/predict", files={"images": file}, timeout=20)
        assert response.json()["images"][0]["class"] in ("disc", "square")
        assert "Up to 5.0 MB" in httpx.get(address).text
        # neither an open request nor an idle connection delays the shutdown
        with httpx.Client() as idle, ThreadPoolExecutor(1) as pool:
            many = [("images", ("a.png", photos[0].read_bytes()))] * 200
            open_request = pool.submit(httpx.post, f"{address}/predict", files=many, timeout=20)
            while not idle.get(f"{address}/health").json()["images"]:
                assert not open_request.done()
            began = time.monotonic()
            running.send_signal(signal.SIGINT)
            out, errors = running.communicate(timeout=10)
            assert time.monotonic() - began < 5
            error = open_request.exception()
            assert error or open_request.result().status_code == 500, "it was interrupted"
    finally:
        running.kill()
    assert (running.returncode, out) == (130, "")
    chosen, warning, *ended = errors.splitlines()
    assert chosen.startswith(f"thaw: model {name}: highest validation accuracy of 2 models, ")
    assert warning == (
        f"thaw: warning: http://0.0.0.0:{place.group(1)} can be reached from other machines, "
        f"without a password."
    )
    assert ended == ["", "thaw: stopped."]


def test_a_port_in_use_is_one_line_before_anything_is_loaded(inside, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(UserError) as error:
            command(["serve", "logistic", "--port", port])
    assert str(error.value) == (
        f"cannot listen on 127.0.0.1, port {port}: Address already in use. Choose another "
        f"address with --host or --port."
    )
    assert capsys.readouterr() == ("", "")


def test_a_second_server_cannot_take_the_port_while_the_first_loads_its_model():
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port}: Address already in use. Choose another"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lojistic"], "there is no model 'lojistic'. Did you mean logistic?"),
        (["logistic", "--host", "nowhere.invalid"], "--host nowhere.invalid: expected an address"),
        (["logistic", "--host", "a..b"], "--host a..b: expected an address"),
    ],
)
def test_invalid_arguments_are_refused(inside, arguments, message):
    with pytest.raises(UserError) as error:
        command(["serve", *arguments])
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_without_results_an_error_lists_the_models(inside, tmp_path, monkeypatch):
    shutil.copytree(inside / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        command(["serve"])
    assert str(error.value) == (
        "which model? results/best.json does not exist (`dvc repro best` writes it). Name one of "
        "models/: logistic, other."
    )
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(UserError, match="there is no model in models/. Run thaw in the repo"):
        command(["serve"])


def test_without_the_extra_an_error_says_how_to_install_it(inside):
    """In a process that does not find uvicorn."""
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
