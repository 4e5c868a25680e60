"""Take a screenshot for the README: `python -m tests.browser.picture [report|serve] OUT.png`.

`report` shows report/index.html. `serve` starts `thaw serve` and classifies a few test images of
data/raw; `serve MODEL OUT.png` chooses the model. The committed screenshots show Fashion-MNIST,
whose licence (MIT) allows it.
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

WIDTH, HEIGHT = 1280, 900  # pixels of a screenshot; the report has two, side by side
MAX_BYTES = 300_000  # keeps the repository small
IMAGES = 3  # test images on the page of `thaw serve`


def main(*arguments: str) -> None:
    """Write the screenshot with few enough colours to stay below MAX_BYTES."""
    page_name = arguments[0] if arguments[0] in PAGES else "report"
    *rest, out = arguments[1:] if arguments[0] in PAGES else arguments
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = launch(playwright)
        parts = PAGES[page_name](browser, Path(folder), *rest)
        browser.close()
        joined = Image.new("RGB", (len(parts) * WIDTH, HEIGHT))
        for number, part in enumerate(parts):
            with Image.open(part) as opened:
                joined.paste(opened, (number * WIDTH, 0))
    small = joined.resize((WIDTH, HEIGHT * WIDTH // joined.width), Image.Resampling.LANCZOS)
    for colours in (256, 128):
        small.quantize(colours).save(out, optimize=True)
        if (size := Path(out).stat().st_size) < MAX_BYTES:
            break
    assert size < MAX_BYTES, f"{out} has {size:,} bytes"
    print(f"{out}: {size:,} bytes")


def report(browser: Browser, folder: Path) -> list[Path]:
    """Return screenshots of the summary and of an image in the gallery."""
    page = _page(browser, Path("report/index.html").resolve().as_uri())
    parts = [folder / "0.png", folder / "1.png"]
    page.screenshot(path=parts[0])
    page.locator("#gallery").scroll_into_view_if_needed()
    page.locator("#cards button").first.click()
    page.wait_for_timeout(500)
    page.screenshot(path=parts[1])
    return parts


def serve(browser: Browser, folder: Path, *model: str) -> list[Path]:
    """Return a screenshot of the page with classified test images."""
    command = [sys.executable, "-m", "thaw.cli.main", "serve", *model, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        match = None
        for line in server.stdout:
            if match := re.search(r" at (http://\S+)", line):
                break
        assert match, "thaw serve did not start"
        page = _page(browser, match.group(1))
        page.locator("#files").set_input_files(_test_images(folder))
        status = page.get_by_role("status")
        expect(status).to_have_text(f"{IMAGES} of {IMAGES} images classified.", timeout=120_000)
        page.screenshot(path=folder / "0.png")
        return [folder / "0.png"]
    finally:
        server.terminate()
        server.wait(20)


def _test_images(folder: Path) -> list[Path]:
    """Write the first test image of each of the first classes to files in `folder`."""
    split = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    index = pd.read_csv("data/index.csv", dtype=str, keep_default_na=False)
    paths = index.drop_duplicates("pixel_sha256").set_index("pixel_sha256")["path"]
    tests = split[split["split"] == "test"]
    tests = tests.assign(rank=tests.groupby("label").cumcount())
    tests = tests.sort_values(["rank", "pixel_sha256"])
    images, files = ArrayFolder("data/images"), []
    for row in tests.head(IMAGES).itertuples(index=False):
        files.append(folder / Path(original_path(paths[row.pixel_sha256])).with_suffix(".png").name)
        Image.fromarray(images[row.pixel_sha256].squeeze()).save(files[-1])
    return files


def _page(browser: Browser, url: str):
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
    page.goto(url)
    return page


PAGES = {"report": report, "serve": serve}

if __name__ == "__main__":
    main(*sys.argv[1:])
