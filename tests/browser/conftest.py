"""Fixtures: reports opened from disk in Chromium without network, and the page of `thaw serve`."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from tests.thaw.report.conftest import COUNTS, run_pipeline
from tests.thaw.serve.conftest import after_training, photos, predictor  # noqa: F401
from thaw.cli.main import command

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def launch(playwright: Playwright) -> Browser:
    """Start the installed Chromium without a window."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    assert executable, "no Chromium on the PATH: install Debian's package `chromium`"
    # Chromium's sandbox does not start as root
    flags = [*FLAGS, "--no-sandbox"] if os.getuid() == 0 else FLAGS
    return playwright.chromium.launch(executable_path=executable, args=flags)


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        opened = launch(playwright)
        yield opened
        opened.close()


@dataclass
class Report:
    """A project with a report.

    Attributes:
        folder: of the project.
        browser: that opens the report.
        messages: lines of the browser's console, and errors of the page's script.
        requests: URLs that the page requested, its own included.
    """

    folder: Path
    browser: Browser
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return (self.folder / "report" / "index.html").as_uri()

    def open(self, width: int = 1280, scheme: str = "light") -> Page:
        context = self.browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
            offline=True,
        )
        page = context.new_page()
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(self.url)
        expect(page.locator("#gallery-status")).not_to_be_empty()
        return page

    def quiet(self) -> None:
        """Assert that the page logged nothing and requested nothing else."""
        assert self.messages == []
        others = [url for url in self.requests if not url.startswith("data:") and url != self.url]
        assert others == []


def closing(browser: Browser, opened):
    """Yield `opened` to a test, then close its pages and assert that they were quiet."""
    yield opened
    for context in browser.contexts:
        context.close()
    opened.quiet()


def _report(folder: Path, counts: dict[str, int], **options) -> Path:
    previous = os.getcwd()
    try:
        run_pipeline(folder, counts, **options)
        command(["report"])
    finally:
        os.chdir(previous)
    return folder


@pytest.fixture(scope="session")
def two_classes(tmp_path_factory, store) -> Path:
    return _report(tmp_path_factory.mktemp("two") / "run", COUNTS)


@pytest.fixture(scope="session")
def three_classes(tmp_path_factory, store) -> Path:
    counts = {"disc": 20, "square": 20, "a < b & c": 20}
    return _report(tmp_path_factory.mktemp("three") / "run", counts, grouped=False)


@pytest.fixture
def two(two_classes, browser):
    """A report on two classes, two groups and a model without results."""
    yield from closing(browser, Report(two_classes, browser))


@pytest.fixture
def three(three_classes, browser):
    """A report on three classes, one of which has special characters in its name."""
    yield from closing(browser, Report(three_classes, browser))
