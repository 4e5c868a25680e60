"""`python -m tests.browser.picture [report|serve] OUT.png`: a page as a picture for the README.

The report is report/index.html. For the other, `thaw serve` is started (`serve MODEL` names another
model than its first), and shown a few of data/raw's test images. The committed ones are of
Fashion-MNIST, whose licence (MIT) allows it.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.conftest import launch
from thaw.data.raw import original_path
from thaw.storage.arrays import ArrayFolder

WIDTH, HEIGHT = 1280, 900
"""Of one part of the picture; two stand side by side."""
MOST_BYTES = 300_000
SHOWN = 3
"""Test images of the serve page."""


def main(*arguments: str) -> None:
    """Write the picture, of so few colours that it stays below 300 kB."""
    which = arguments[0] if arguments[0] in PAGES else "report"
    *rest, out = arguments[1:] if arguments[0] in PAGES else arguments
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = launch(playwright)
        parts = PAGES[which](browser, Path(folder), *rest)
        browser.close()
        both = Image.new("RGB", (len(parts) * WIDTH, HEIGHT))
        for number, part in enumerate(parts):
            with Image.open(part) as opened:
                both.paste(opened, (number * WIDTH, 0))
    small = both.resize((WIDTH, HEIGHT * WIDTH // both.width), Image.Resampling.LANCZOS)
    for colours in (256, 128):
        small.quantize(colours).save(out, optimize=True)
        if (size := Path(out).stat().st_size) < MOST_BYTES:
            break
    assert size < MOST_BYTES, f"{out} has {size:,} bytes"
    print(f"{out}: {size:,} bytes")


def report(browser: Browser, folder: Path) -> list[Path]:
    """The answer, and an image opened."""
    page = _page(browser, Path("report/index.html").resolve().as_uri())
    parts = [folder / "0.png", folder / "1.png"]
    page.screenshot(path=parts[0])
    page.locator("#gallery").scroll_into_view_if_needed()
    page.locator("#cards button").first.click()
    page.wait_for_timeout(500)
    page.screenshot(path=parts[1])
    return parts


def serve(browser: Browser, folder: Path, *model: str) -> list[Path]:
    """The page with test images of the first classes looked at."""
    command = [sys.executable, "-m", "thaw.cli.main", "serve", *model, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        found = None
        for line in server.stdout:
            if found := re.search(r" at (http://\S+)", line):
                break
        assert found, "thaw serve did not start"
        page = _page(browser, found.group(1))
        page.locator("#files").set_input_files(_tests(folder))
        status = page.get_by_role("status")
        expect(status).to_have_text(f"{SHOWN} of {SHOWN} images done.", timeout=120_000)
        page.screenshot(path=folder / "0.png")
        return [folder / "0.png"]
    finally:
        server.terminate()
        server.wait(20)


def _tests(folder: Path) -> list[Path]:
    """Files of one test image each of as many classes as there are, the first ones."""
    split = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    index = pd.read_csv("data/index.csv", dtype=str, keep_default_na=False)
    paths = index.drop_duplicates("pixel_sha256").set_index("pixel_sha256")["path"]
    tests = split[split["split"] == "test"]
    tests = tests.assign(turn=tests.groupby("label").cumcount()).sort_values(["turn", "pixel_sha256"])
    images, files = ArrayFolder("data/images"), []
    for row in tests.head(SHOWN).itertuples(index=False):
        files.append(folder / Path(original_path(paths[row.pixels])).with_suffix(".png").name)
        Image.fromarray(images[row.pixels].squeeze()).save(files[-1])
    return files


def _page(browser: Browser, url: str):
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
    page.goto(url)
    return page


PAGES = {"report": report, "serve": serve}

if __name__ == "__main__":
    main(*sys.argv[1:])
