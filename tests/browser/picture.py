"""`python -m tests.browser.picture OUT.png`: report/index.html as a picture for the README.

The committed one is of Fashion-MNIST, whose licence (MIT) allows it.
"""

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.conftest import launch

WIDTH, HEIGHT = 1280, 900
"""Of one part of the picture; two stand side by side: the answer, and an image opened."""
MOST_BYTES = 300_000


def main(out: str) -> None:
    """Write the picture, of so few colours that it stays below 300 kB."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce"
        )
        page.goto(Path("report/index.html").resolve().as_uri())
        page.screenshot(path=f"{out}.0.png")
        page.locator("#gallery").scroll_into_view_if_needed()
        page.locator("#cards button").first.click()
        page.wait_for_timeout(500)
        page.screenshot(path=f"{out}.1.png")
        browser.close()
    both = Image.new("RGB", (2 * WIDTH, HEIGHT))
    for number in (0, 1):
        part = Path(f"{out}.{number}.png")
        with Image.open(part) as opened:
            both.paste(opened, (number * WIDTH, 0))
        part.unlink()
    small = both.resize((WIDTH, HEIGHT // 2), Image.Resampling.LANCZOS)
    small.quantize(128).save(out, optimize=True)
    size = Path(out).stat().st_size
    assert size < MOST_BYTES, f"{out} has {size:,} bytes"
    print(f"{out}: {size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
