"""Pages of `thaw report`, opened from disk in Chromium without network; and `thaw serve`."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.thaw.report.conftest import COUNTS, walk
from tests.thaw.serve.conftest import after_training, photos, served  # noqa: F401
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
    """The Chromium that is installed, without a window."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    assert found, "no Chromium on the PATH: install Debian's package `chromium`"
    # Chromium's sandbox does not start as root
    flags = [*FLAGS, "--no-sandbox"] if os.getuid() == 0 else FLAGS
    return playwright.chromium.launch(executable_path=found, args=flags)


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        opened = launch(playwright)
        yield opened
        opened.close()


@dataclass
class Report:
    """A repository with a page.

    Attributes:
        messages: of the browser's console, and errors of the page's script.
        requests: for anything but the page itself.
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
        page.wait_for_function("document.getElementById('gallery-says').textContent")
        return page

    def quiet(self) -> None:
        """Assert that nothing was said and nothing was asked for."""
        assert self.messages == []
        asked = [url for url in self.requests if not url.startswith("data:") and url != self.url]
        assert asked == []


def closing(browser: Browser, opened):
    """Give what opens pages to a test, then close them and see that they were quiet."""
    yield opened
    for context in browser.contexts:
        context.close()
    opened.quiet()


def _report(folder: Path, counts: dict[str, int], **options) -> Path:
    before = os.getcwd()
    try:
        walk(folder, counts, **options)
        command(["report"])
    finally:
        os.chdir(before)
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
    """Of two classes, two groups, and a model without results."""
    yield from closing(browser, Report(two_classes, browser))


@pytest.fixture
def three(three_classes, browser):
    """Of three classes, one of a name that is not plain."""
    yield from closing(browser, Report(three_classes, browser))
