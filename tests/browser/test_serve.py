"""The page of `thaw serve` in a browser. It must log nothing and contact no other server."""

import base64
import csv
import io
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import closing
from tests.browser.test_report import _serious
from tests.thaw.serve.conftest import LIMITS, listening
from thaw.serve.app import Limits


@pytest.fixture(scope="module")
def address(predictor, after_training):
    with pytest.MonkeyPatch.context() as patch, listening(predictor) as address:
        patch.chdir(after_training)
        yield address


class Pages:
    """Opens pages of a server.

    Attributes:
        messages: lines of the browser's console, and errors of the page's script.
        requests: URLs that the page requested.
    """

    def __init__(self, browser, address: str):
        self.browser, self.address, self.messages, self.requests = browser, address, [], []

    def open(self, width: int = 1280, scheme: str = "light", path: str = "/") -> Page:
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        page = context.new_page()
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(f"{self.address}{path}")
        return page

    def quiet(self) -> None:
        assert self.messages == []
        own = (self.address, "data:", "blob:")
        assert [url for url in self.requests if not url.startswith(own)] == []


@pytest.fixture
def pages(browser, address):
    yield from closing(browser, Pages(browser, address))


def choose(page: Page, files) -> None:
    page.locator("#files").set_input_files(files)


def expect_classified(page: Page, count: int) -> None:
    text = f"{count} of {count} image{'s' if count > 1 else ''} classified."
    expect(page.get_by_role("status")).to_have_text(text, timeout=30_000)


DROP = """([type, files]) => {
  const data = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    data.items.add(new File([bytes], name, { type: "image/png" }));
  }
  const event = type === "paste"
    ? new ClipboardEvent(type, { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


def send_event(page: Page, kind: str, files) -> None:
    """Send files to the page in an event of this kind: drop or paste."""
    packed = [[file.name, base64.b64encode(file.read_bytes()).decode()] for file in files]
    page.evaluate(DROP, [kind, packed])


def test_chosen_files_have_class_bars_similar_images_and_time(pages, photos):
    page = pages.open()
    choose(page, photos[:3])
    expect_classified(page, 3)
    for item, photo in zip(page.locator(".result").all(), photos[:3], strict=True):
        expect(item.get_by_role("heading", level=2)).to_have_text(photo.name)
        assert re.fullmatch(r"(disc|square) \d+\.\d.%", item.locator(".prediction").inner_text())
        bars = item.locator(".probabilities li")
        shares = [float(re.search(r"([\d.]+).%", text)[1]) for text in bars.all_inner_texts()]
        assert len(shares) == 2 and sum(shares) == pytest.approx(100, abs=0.15)
        assert shares == sorted(shares, reverse=True)
        widths = [bar.bounding_box()["width"] for bar in item.locator(".track span").all()]
        full = item.locator(".track").first.bounding_box()["width"]
        for share, width in zip(shares, widths, strict=True):
            assert 100 * width / full == pytest.approx(share, abs=0.6)
        similar = item.locator(".similar li")
        assert similar.count() == 4
        assert re.fullmatch(r"(disc|square)\s+similarity\s+[01]\.\d\d", similar.first.inner_text())
        for image in similar.locator("img").all():
            expect(image).to_have_js_property("complete", True)
            assert image.evaluate("image => image.naturalWidth") > 0
        assert re.search(r"\d+ ms|\d\.\d s", item.inner_text())


def test_the_checkbox_hides_and_shows_the_maps(pages, photos):
    page = pages.open()
    choose(page, photos[:4])
    expect_classified(page, 4)
    maps = page.locator(".preview .map")
    count = maps.count()
    assert count >= 1
    shown = page.locator(".preview:has(.map)").first
    picture, overlay = (shown.locator(c).bounding_box() for c in (".shown", ".map"))
    assert list(overlay.values()) == pytest.approx(list(picture.values()), abs=1)
    with_map = shown.screenshot()
    page.get_by_label("Show Grad-CAM maps").focus()
    page.keyboard.press("Space")
    assert page.locator(".preview .map:visible").count() == 0
    assert shown.screenshot() != with_map
    page.keyboard.press("Space")
    assert page.locator(".preview .map:visible").count() == count
    assert shown.screenshot() == with_map


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropped_and_pasted_files_are_classified(pages, photos, kind):
    page = pages.open()
    send_event(page, kind, photos[:2])
    expect_classified(page, 2)
    send_event(page, kind, photos[2:3])
    expect_classified(page, 3)


def test_the_page_works_with_the_keyboard_only(pages, photos):
    page, choosers = pages.open(), []
    # registered early, since the browser needs time to report the first chooser
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "files":
            break
    outline = "getComputedStyle(document.querySelector('.choose')).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_timeout(50)
    choosers[0].set_files(photos[0])
    expect_classified(page, 1)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "overlay"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "download"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # clear
    expect(page.locator(".result")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "files"


def test_the_csv_has_predictions_and_errors(pages, photos, tmp_path):
    page = pages.open()
    bad = tmp_path / 'a "page", cut.png'
    bad.write_text("<html>404</html>")
    choose(page, [*photos[:2], bad])
    expect(page.get_by_role("status")).to_have_text("2 of 3 images classified, 1 failed.")
    expect(page.locator(".failed")).to_have_text("An HTML page, not an image.")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "logistic.csv"
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert list(rows[0]) == [
        "file",
        "class",
        "probability",
        "probability of disc",
        "probability of square",
        "error",
    ]
    assert [row["file"] for row in rows] == [photos[0].name, photos[1].name, bad.name]
    for row, item in zip(rows[:2], page.locator(".result").all(), strict=False):
        probabilities = [float(row[f"probability of {label}"]) for label in ("disc", "square")]
        assert sum(probabilities) == pytest.approx(1, abs=2e-6) and row["error"] == ""
        assert item.locator(".prediction strong").inner_text() == row["class"]
    assert (rows[2]["class"], rows[2]["error"]) == ("", "an HTML page, not an image.")
    # the browser logs every HTTP error itself
    assert [m for m in pages.messages if "415 (Unsupported Media Type)" not in m] == []
    pages.messages.clear()


def test_a_file_that_is_too_large_is_not_sent(pages, tmp_path):
    page = pages.open()
    (tmp_path / "large.png").write_bytes(b"x" * (LIMITS.bytes + 1))
    choose(page, tmp_path / "large.png")
    expect(page.locator(".failed")).to_have_text(
        "The file has 200.0 kB. At most 200.0 kB are accepted."
    )
    assert not [url for url in pages.requests if "/predict" in url]


def test_the_page_retries_while_the_queue_is_full(
    browser, predictor, after_training, photos, monkeypatch
):
    """The queue has room for two images, and the page sends four requests at once."""
    monkeypatch.chdir(after_training)
    with listening(predictor, Limits(**{**vars(LIMITS), "queue": 2})) as address:
        pages = Pages(browser, address)
        page = pages.open()
        choose(page, photos[:10])
        expect_classified(page, 10)
        page.context.close()
    assert [m for m in pages.messages if "503 (Service Unavailable)" not in m] == []


def test_the_server_provides_the_picture_if_the_browser_cannot_decode_the_file(
    pages, tmp_path, picture
):
    Image.fromarray(picture()).save(tmp_path / "a.tif")
    page = pages.open()
    choose(page, tmp_path / "a.tif")
    expect_classified(page, 1)
    assert page.locator(".preview img.shown").evaluate("image => image.naturalWidth") == 64


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_has_no_serious_accessibility_problem(pages, photos, width, scheme):
    page = pages.open(width, scheme)
    assert _serious(Axe().run(page)) == []
    choose(page, photos[:3])
    expect_classified(page, 3)
    result = Axe().run(page)
    assert len(result.response["passes"]) > 15, "the checker ran"
    assert _serious(result) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(n) for n in re.findall(r"\d+", colour)[:3]])
    assert (brightness < 60) == (scheme == "dark")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_documentation_fits_and_has_no_serious_accessibility_problem(pages, width):
    page = pages.open(width, path="/docs")
    assert _serious(Axe().run(page)) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("link", name="Classify images").click()
    expect(page.get_by_text("Choose images")).to_be_visible()
