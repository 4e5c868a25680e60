"""Trials of hostile input, and a summary of their outcomes at the end of the run."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.hostile.trials import Trials

KEY = "hostile"


@pytest.fixture
def trials(request):
    """Return a function that makes Trials. At the end, check that all outcomes are acceptable."""
    all_trials: list[Trials] = []
    memory = Path("/dev/shm")  # 100,000 files are written in seconds there
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4e9

    with tempfile.TemporaryDirectory(dir=memory if roomy else None) as folder:

        def make(module: str, **limits) -> Trials:
            all_trials.append(Trials(Path(folder) / f"box{len(all_trials)}", module, **limits))
            return all_trials[-1]

        yield make
        counted = [{"module": one.module, **one.summary()} for one in all_trials]
    bad = []
    for one, count in zip(all_trials, counted, strict=True):
        request.node.user_properties.append((KEY, count))
        bad += one.bad
        one.close()
    assert not bad, f"{len(bad)} inputs:\n" + "\n".join(bad[:40])


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the number of inputs and of outcomes for each kind of input."""
    modules: dict[str, Counter] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") != "teardown":
                continue
            for key, outcomes in report.user_properties:
                if key == KEY:
                    counts = modules.setdefault(outcomes.pop("module"), Counter())
                    for name, value in outcomes.items():
                        most = max(counts[name], value)
                        counts[name] = most if "," in name else counts[name] + value
    if modules:
        terminalreporter.section("hostile input")
        for module, counts in [*modules.items(), ("in all", _total(modules))]:
            summary = ", ".join(f"{name} {value:g}" for name, value in counts.items())
            terminalreporter.write_line(f"{module}: {summary}")


def _total(modules: dict[str, Counter]) -> Counter:
    counts: Counter = Counter()
    for outcomes in modules.values():
        for name, value in outcomes.items():
            counts[name] = max(counts[name], value) if "," in name else counts[name] + value
    return counts
