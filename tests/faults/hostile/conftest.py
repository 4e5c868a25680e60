"""Trials of hostile input, and their count at the end of the run."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.hostile.trials import Trials

KEY = "hostile"


@pytest.fixture
def trials(request):
    """A function that makes Trials, and a check at the end that none ended as none may."""
    made: list[Trials] = []
    memory = Path("/dev/shm")  # where 100,000 files are made in seconds
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4e9

    with tempfile.TemporaryDirectory(dir=memory if roomy else None) as folder:

        def make(room: str, **limits) -> Trials:
            made.append(Trials(Path(folder) / f"box{len(made)}", room, **limits))
            return made[-1]

        yield make
        counted = [{"room": one.room, **one.summary()} for one in made]
    bad = []
    for one, count in zip(made, counted, strict=True):
        request.node.user_properties.append((KEY, count))
        bad += one.bad
        one.close()
    assert not bad, f"{len(bad)} inputs:\n" + "\n".join(bad[:40])


def pytest_terminal_summary(terminalreporter) -> None:
    """A line for each kind of input: how many there were and how they ended."""
    rooms: dict[str, Counter] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") != "teardown":
                continue
            for key, found in report.user_properties:
                if key == KEY:
                    held = rooms.setdefault(found.pop("room"), Counter())
                    for name, value in found.items():
                        most = max(held[name], value)
                        held[name] = most if "," in name else held[name] + value
    if rooms:
        terminalreporter.section("hostile input")
        for room, held in [*rooms.items(), ("in all", _total(rooms))]:
            said = ", ".join(f"{name} {value:g}" for name, value in held.items())
            terminalreporter.write_line(f"{room}: {said}")


def _total(rooms: dict[str, Counter]) -> Counter:
    held: Counter = Counter()
    for room in rooms.values():
        for name, value in room.items():
            held[name] = max(held[name], value) if "," in name else held[name] + value
    return held
