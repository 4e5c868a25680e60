"""Tests of the report in a browser.

After each test the fixtures assert that the page logged no error and requested nothing.
"""

import json
import re

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

SERIOUS = ("serious", "critical")


def predictions(report, name: str = "logistic") -> pd.DataFrame:
    """Return label, group and probability of each class for each test image."""
    path = report.folder / f"results/predictions/{name}/predictions.csv"
    table = pd.read_csv(path, dtype={"label": str, "pixel_sha256": str}, keep_default_na=False)
    rows = pd.read_csv(report.folder / "data/split.csv", dtype=str, keep_default_na=False)
    table["group"] = rows.loc[rows["split"] == "test", "group"].to_numpy()
    return table


def number(text: str) -> float:
    return float(text.replace("\u00a0", " ").removesuffix(" %")) / 100


def move(page, threshold: float) -> None:
    page.locator("#threshold").fill(str(threshold))


def all_cards(page) -> list[str]:
    while page.locator("#more").is_visible():
        page.locator("#more").click()
    return [re.sub(r"\s+", " ", text) for text in page.locator("#cards li").all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("which", ["two", "three"])
def test_the_accessibility_checker_finds_no_serious_problem(request, which, width, scheme):
    page = request.getfixturevalue(which).open(width, scheme)
    result = Axe().run(page)
    assert len(result.response["passes"]) > 20, "the checker ran"
    assert _serious(result) == []
    page.locator("#cards button").first.click()
    assert _serious(Axe().run(page, "#detail")) == []


def _serious(result) -> list[tuple]:
    return [
        (each["id"], node["html"][:200])
        for each in result.response["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(two, width, scheme):
    page = two.open(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(n) for n in re.findall(r"\d+", dark)[:3]])
    assert (brightness < 60) == (scheme == "dark")


@pytest.mark.parametrize("threshold", [0, 0.13, 0.5, 0.87, 1])
def test_the_slider_updates_metrics_confusion_matrix_and_gallery(two, threshold):
    page, table = two.open(), predictions(two)
    move(page, threshold)
    positive = (table["label"] == "square").to_numpy()
    answers = table["probability of square"].to_numpy() > threshold
    counts = [[int((answers[positive == t] == bool(p)).sum()) for p in (0, 1)] for t in (0, 1)]
    for actual in (0, 1):
        for predicted in (0, 1):
            cell = page.locator(f'.panel:visible [data-cell="{actual},{predicted}"]')
            assert cell.inner_text().split()[0] == str(counts[actual][predicted])
    (tn, fp), (fn, tp) = counts
    shown = {key: page.locator(f"#at-{key}").inner_text() for key in ("precision", "recall")}
    if tp + fp:
        assert number(shown["precision"]) == pytest.approx(tp / (tp + fp), abs=6e-4)
    else:
        assert shown["precision"] == "–"
    assert number(shown["recall"]) == pytest.approx(tp / (tp + fn), abs=6e-4)
    accuracy = number(page.locator("#at-accuracy").inner_text())
    assert accuracy == pytest.approx((tp + tn) / len(table), abs=6e-4)
    assert page.locator("#threshold-value").inner_text() == f"{threshold:.2f}"
    assert (
        f"{tp} of them correctly. It misses {fn}"
        in page.locator("#at-threshold-status").inner_text()
    )
    cards = all_cards(page)
    assert len(cards) == fp + fn
    assert all("wrong" in card for card in cards)
    page.locator("#f-correct").select_option("correct")
    cards = all_cards(page)
    assert len(cards) == tp + tn
    assert sum(card.startswith("square") for card in cards) == tp


def test_the_dot_on_the_curve_marks_the_threshold(two):
    """Ticks of the chart show where 0 and 1 are."""
    page, table = two.open(), predictions(two)
    move(page, 0.87)
    positive = (table["label"] == "square").to_numpy()
    answers = table["probability of square"].to_numpy() > 0.87
    recall, fpr = answers[positive].mean(), answers[~positive].mean()
    chart = page.locator('.panel:visible [data-kind="roc"] svg').first
    box = chart.locator(".now").bounding_box()
    dot = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    ticks = chart.evaluate(
        """svg => [...svg.querySelectorAll("use")].map(use => {
            const box = use.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2, box.width, box.height];
        })"""
    )
    across = sorted(x for x, _, width, height in ticks if height > width)
    up = sorted(y for _, y, width, height in ticks if width > height)
    assert len(across) == len(up) == 6, "0, 0.2, ... 1"
    assert dot[0] == pytest.approx(across[0] + fpr * (across[-1] - across[0]), abs=1.5)
    assert dot[1] == pytest.approx(up[-1] - recall * (up[-1] - up[0]), abs=1.5)


def test_the_slider_moves_by_keyboard_and_resets(two):
    page = two.open()
    page.locator("#threshold").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.locator("#threshold-value").inner_text() == "0.53"
    assert page.locator("#threshold").get_attribute("aria-valuetext") == "probability above 0.53"
    page.locator("#half").click()
    assert page.locator("#threshold-value").inner_text() == "0.50"


def test_the_filters_select_by_class_group_and_correctness(two):
    page, table = two.open(), predictions(two, "other")
    page.locator("#model").select_option(label="other")
    p = table["probability of square"].to_numpy()
    answers = np.where(p > 0.5, "square", "disc")
    seen = 0
    for kind in ("", "correct", "wrong"):
        for true in ("", "disc", "square"):
            for predicted in ("", "disc", "square"):
                for group in ("", "north", "south"):
                    page.locator("#f-correct").select_option(kind)
                    page.locator("#f-true").select_option(label=true or "any")
                    page.locator("#f-predicted").select_option(label=predicted or "any")
                    page.locator("#f-group").select_option(group)
                    correct = answers == table["label"]
                    wanted = correct if kind == "correct" else ~correct if kind else correct | True
                    wanted &= (table["label"] == true) | (not true)
                    wanted &= (answers == predicted) | (not predicted)
                    wanted &= (table["group"] == group) | (not group)
                    shown = page.locator("#gallery-status").inner_text()
                    assert shown.split()[0] == str(int(wanted.sum()))
                    assert page.locator("#cards li").count() == min(int(wanted.sum()), 24)
                    seen += int(wanted.sum())
    assert seen


@pytest.mark.parametrize(("order", "sign"), [("most", -1), ("least", 1)])
def test_the_gallery_is_ordered_by_confidence(two, order, sign):
    page = two.open()
    page.locator("#f-correct").select_option("")
    page.locator("#f-order").select_option(order)
    confidences = [number(re.search(r"[\d.]+ %", card).group()) for card in all_cards(page)]
    assert len(confidences) == len(predictions(two))
    assert confidences == sorted(confidences, reverse=sign < 0)


def test_an_image_opens_by_keyboard_with_its_details(two):
    page, table = two.open(), predictions(two)
    page.locator("#f-correct").select_option("correct")
    card = page.locator("#cards button").first
    card.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#detail")
    assert dialog.is_visible()
    row = table.loc[table[["probability of disc", "probability of square"]].max(axis=1).idxmax()]
    label = row["label"]
    assert page.locator("#detail-title").inner_text() == f"logistic correctly predicts {label}"
    rows = page.locator("#detail-p tr").all_inner_texts()
    assert rows[0].split()[0] == label
    assert number(rows[0].split()[1] + " %") == pytest.approx(
        row[f"probability of {label}"], abs=1e-3
    )
    assert re.search(r"\.png, group (north|south)", page.locator("#detail-path").inner_text())
    assert page.locator("#detail-like li").count() == 4
    for image in page.locator("#detail img").all():
        expect(image).not_to_have_js_property("naturalWidth", 0)

    painted = """() => {
        const canvas = document.getElementById("detail-map");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let most = 0, least = 255;
        for (let n = 3; n < data.length; n += 4) {
          most = Math.max(most, data[n]);
          least = Math.min(least, data[n]);
        }
        return [least, most];
    }"""
    first = page.locator("#detail-path").inner_text()
    steps = 0
    while not page.locator("#detail-map-row").is_visible():
        assert "no area of the image" in page.locator("#detail-no-map").inner_text()
        page.keyboard.press("ArrowRight")
        steps += 1
        assert steps < len(table), "some image has a map"
    least, most = page.evaluate(painted)
    assert most > 100 and most > least, "the map differs from place to place"
    assert page.locator("#detail-map").is_visible()
    page.locator("#detail-show").uncheck()
    assert not page.locator("#detail-map").is_visible()

    for _ in range(steps):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#detail-path").inner_text() == first
    page.keyboard.press("ArrowRight")
    assert page.locator("#detail-path").inner_text() != first
    page.keyboard.press("ArrowLeft")
    assert page.locator("#detail-path").inner_text() == first
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert card.evaluate("element => element === document.activeElement")


def test_choosing_a_model_updates_panel_metrics_and_gallery(two):
    page = two.open()
    for name in ("other", "logistic"):
        page.locator("#model").select_option(label=name)
        assert page.locator(".panel:visible h3").inner_text() == name
        details = json.loads((two.folder / f"results/details/{name}.json").read_text())
        shown = page.locator("#at-accuracy").inner_text()
        assert number(shown) == pytest.approx(details["metrics"]["accuracy"], abs=6e-4)
        assert page.locator("#gallery-model").inner_text() == name


def test_a_column_heading_sorts_and_missing_values_stay_last(two):
    page = two.open()
    heading = page.locator("#models th", has_text="log loss")

    def shown() -> list[str]:  # a second line names the best model
        texts = page.locator("#models tbody th").all_inner_texts()
        return [text.partition("\n")[0] for text in texts]

    assert heading.get_attribute("aria-sort") == "none"
    losses = {
        name: json.loads((two.folder / f"results/details/{name}.json").read_text())["metrics"]
        for name in ("logistic", "other")
    }
    order = sorted(losses, key=lambda name: losses[name]["log_loss"])
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert shown() == [*order[::-1], "gap256"]
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert shown() == [*order, "gap256"]
    page.locator("#models th button", has_text="model").click()
    assert shown() == ["gap256", "logistic", "other"]
    assert page.locator('#models [aria-sort="ascending"]').count() == 1


def test_three_classes_are_filtered_without_a_slider(three):
    page, table = three.open(), predictions(three)
    assert page.locator("#threshold").count() == 0
    columns = [f"probability of {name}" for name in ("a < b & c", "disc", "square")]
    answers = table[columns].idxmax(axis=1).str.removeprefix("probability of ")
    page.locator("#f-correct").select_option("")
    page.locator("#f-predicted").select_option(label="a < b & c")
    cards = all_cards(page)
    assert len(cards) == int((answers == "a < b & c").sum()) > 0
    assert all(card.startswith("a < b & c") for card in cards)


def test_the_printed_page_is_light_and_complete(two):
    page = two.open(scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible() and not page.locator("#filters").is_visible()
    assert page.locator("#cards li").first.is_visible()
    for table in page.locator(".scroll").all():
        if table.is_visible():
            assert table.evaluate("element => getComputedStyle(element).overflowX") == "visible"
    assert page.pdf(format="A4").startswith(b"%PDF")
