"""The runtime of params.yaml."""

import sys

import pytest
import yaml

from thaw.config.runtime import Local, Ray, selected_runtime, validate_runtime
from thaw.errors import UserError

RAY = {"kind": "ray", "address": None, "workers": None, "threads": 1}
INVALID = {
    "unknown kind": (
        {"kind": "rai"},
        r"runtime.kind = 'rai': expected one of local, ray. Did you mean ray\?",
    ),
    "no kind": ({}, "runtime.kind = None: expected one of local, ray."),
    "key of another kind": (
        {"kind": "local", "workers": 2},
        "runtime.workers is no parameter. runtime takes: kind.",
    ),
    "no workers": ({**RAY, "workers": 0}, "runtime.workers = 0: .*greater than or equal to 1"),
    "no threads": ({**RAY, "threads": None}, "runtime.threads = None: .*valid integer"),
    "invalid address": (
        {**RAY, "address": "ray://head:10001"},
        "runtime.address = 'ray://head:10001': string should match pattern",
    ),
}


@pytest.fixture
def installed(monkeypatch):
    """Pretend that Ray is installed: the validation only looks for it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)


@pytest.mark.parametrize("case", INVALID)
def test_invalid_parameters_are_refused(installed, case):
    values, message = INVALID[case]
    with pytest.raises(UserError, match=message):
        validate_runtime(values)


def test_the_runtimes_of_conf_are_valid(installed, composed, compose):
    assert validate_runtime(composed["runtime"]) == Local(kind="local")
    values = compose("runtime=ray", "runtime.address=10.0.0.1:6379", "runtime.workers=4")
    assert validate_runtime(values["runtime"]) == Ray(
        kind="ray", address="10.0.0.1:6379", workers=4, threads=1
    )


def test_the_message_without_ray_says_what_to_install(compose, tmp_path, monkeypatch):
    """Composed by `dvc exp run`, and read from params.yaml by a stage."""
    monkeypatch.setitem(sys.modules, "ray", None)
    message = r"runtime.kind = 'ray': Ray is not installed. Install it by pip install -e '.\[ray\]'"
    with pytest.raises(SystemExit, match=message):
        compose("runtime=ray")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"runtime": RAY}))
    with pytest.raises(UserError, match=message):
        selected_runtime()
