"""The page that `thaw report` writes, without a browser."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT
from tests.thaw.report.conftest import COUNTS, commit, walk
from thaw.cli.main import command
from thaw.errors import UserError
from thaw.report.audit import verdict


class Page(HTMLParser):
    """A page's text by the `id` of the section it is in, its tags, and what its script reads."""

    VOID = {"meta", "img", "input", "br", "link", "hr"}

    def __init__(self, text: str):
        super().__init__()
        self.source, self.tags, self.words = text, [], []
        self._open: list[str] = []
        self.feed(text)
        held = re.search(r'<script type="application/json" id="told">(.*?)</script>', text, re.S)
        self.told = json.loads(held.group(1))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open and self._open[-1] == tag, f"</{tag}> closes <{self._open[-1:]}>"
        self._open.pop()

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words).replace("\u00a0", " "))


def written(*arguments: str) -> Page:
    assert command(["report", *arguments]) == 0
    return Page(Path("report/index.html").read_text(encoding="utf-8"))


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def details(name: str) -> dict:
    return json.loads(Path(f"results/details/{name}.json").read_text())


def test_the_answer_comes_first_with_interval_baseline_and_last_commit(inside):
    page = written()
    own = details("logistic")
    low, high = own["intervals_95"]["accuracy"]
    assert 0.6 < own["metrics"]["accuracy"] < 1, "of which each sixth label is wrong"
    assert page.text.index("logistic is right about") < page.text.index("Every model")
    assert f"{100 * own['metrics']['accuracy']:.1f} % of {own['counts']['test']} test" in page.text
    assert f"95 % interval: {100 * low:.1f} % to {100 * high:.1f} %" in page.text
    counts = np.array(own["confusion"]).sum(axis=1)
    share = counts[own["classes"].index("disc")] / counts.sum()
    assert "always answering “disc”, the class with the most training images" in page.text
    assert f"which is right about {100 * share:.1f} %" in page.text
    assert "accuracy on validation images" in page.text and "of 2 models" in page.text
    assert "There is no earlier commit to compare with." in page.text


def test_what_changed_since_the_commit_is_said_in_words(inside):
    path = Path("results/metrics/logistic.json")
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, "accuracy": 0.5, "log_loss": 9.0}))
    (path.parent / "gone.json").write_text(json.dumps({"accuracy": 0.25}))
    commit("worse ones")
    path.write_text(json.dumps(held))
    (path.parent / "gone.json").unlink()
    page = written()
    rise = 100 * (held["accuracy"] - 0.5)
    assert "“worse ones”: accuracy rose by " + f"{rise:.1f} points" in page.text
    assert f"log loss fell from 9.000 to {held['log_loss']:.3f}" in page.text
    assert "gone: gone, accuracy was 25.0 %" in page.text
    assert "other: nothing changed." in page.text

    commit("as they are now")  # nothing differs from it, so the one before counts
    assert "“worse ones”: accuracy rose by" in written().text


def test_every_model_is_in_the_table_and_what_is_missing_is_said(inside):
    page = written()
    table = page.source[page.source.index('id="models"') : page.source.index('id="closer"')]
    for name in ("logistic", "other", "gap256"):
        assert f'<th scope="row" data-value="{name}">' in table
    assert "gap256: it was not evaluated yet: dvc repro does so." in page.text
    record = json.loads(Path("models/logistic/record.json").read_text())
    for value in (*details("logistic")["metrics"].values(), record["parameters"]):
        assert f'data-value="{value}"' in table
    size = Path("models/logistic/model.npz").stat().st_size
    assert f'data-value="{size}"' in table
    assert "not recorded" in table, "there is no run log"


def test_the_script_is_given_what_the_models_said(inside):
    told = written().told
    test = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    test = test[test["split"] == "test"].reset_index(drop=True)
    assert told["tests"] == len(told["images"]) == len(test)
    true = floats(told["true"]).astype(int)
    assert true.tolist() == test["class"].astype(int).tolist()
    for model in told["models"]:
        own = details(model["name"])
        positive = floats(model["all"]) > 0.5
        counts = [[int((positive[true == t] == bool(p)).sum()) for p in (0, 1)] for t in (0, 1)]
        assert counts == own["confusion"]
        probabilities = floats(model["p"]).reshape(-1, 2)
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        assert model["maps"]["places"] == list(range(len(test)))
        maps = np.frombuffer(base64.b64decode(model["maps"]["values"]), "uint8")
        maps = maps.reshape(-1, model["maps"]["height"], model["maps"]["width"])
        assert maps.shape == (len(test), 4, 4) and maps.max() == 255
    image = told["images"][0]
    assert image["k"] == test["pixels"][0][:12] and image["g"] in ("north", "south")
    assert told["thumbs"][image["k"]].startswith("data:image/jpeg;base64,")


def test_the_nearest_training_images_are_those_of_the_highest_cosine(inside):
    from thaw.storage.arrays import ArrayFolder

    told, features = written().told, ArrayFolder("data/features/vgg16")
    rows = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    train = rows[rows["split"] == "train"].reset_index(drop=True)
    test = rows[rows["split"] == "test"].reset_index(drop=True)

    def direction(key: str) -> np.ndarray:
        mean = features[key].astype("float64").mean(axis=(0, 1))
        return mean / np.linalg.norm(mean)

    among = np.stack([direction(key) for key in train["pixels"]])
    for image in told["images"]:
        cosines = among @ direction(test["pixels"][image["n"]])
        best = np.sort(cosines)[::-1][:4]
        assert [c for _, c in image["like"]] == pytest.approx(best, abs=1e-3)
        for number, cosine in image["like"]:
            key, label, _ = told["train"][str(number)]
            assert cosines[number] == pytest.approx(cosine, abs=1e-3)
            assert (key, label) == (train["pixels"][number][:12], train["label"][number])
            assert key in told["small"]


def test_the_same_results_make_the_same_bytes(inside):
    first = written().source
    shutil.rmtree("report")
    assert written().source == first


def test_nothing_is_fetched_and_every_tag_is_closed(inside):
    page = written()
    assert not page._open
    links = [v for _, given in page.tags for k, v in given.items() if k in ("src", "href")]
    assert links and all(v.startswith(("#", "data:")) for v in links)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert len(ids) == len(set(ids))
    anchors = {v[1:] for v in links if v.startswith("#")}
    assert anchors <= set(ids)
    assert all("alt" in given for tag, given in page.tags if tag == "img")
    assert all(given.get("aria-label") for tag, given in page.tags if tag == "svg")


def test_the_data_is_described(inside):
    page = written()
    assert "1 of 69 files could not be read" in page.text and "disc/broken.png" in page.text
    rows = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    for label in COUNTS:
        for name in ("train", "validation", "test"):
            count = int(((rows["label"] == label) & (rows["split"] == name)).sum())
            assert f'data-value="{count}">{count}</td>' in page.source
    assert "48 × 40 (68)" in page.text
    assert "0 files have the very bytes of another" in page.text
    assert "north" in page.text and "By group" in page.text


def test_pictures_that_are_there_twice_are_counted_across_splits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # and back afterwards
    walk(tmp_path / "twins", COUNTS)
    rows = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    index = pd.read_csv("data/index.csv", dtype=str, keep_default_na=False)
    key = rows.loc[rows["split"] == "train", "pixels"].iloc[0]
    # a user's own splits may hold a picture twice: once with the same bytes, once encoded anew
    row = index[index["pixels"] == key].iloc[0]
    again = [row.copy(), row.copy()]
    again[0]["path"], again[1]["path"] = "images/same bytes.png", "images/same pixels.png"
    again[1]["sha256"] = "f" * 64
    again[1]["label"] = "square" if row["label"] == "disc" else "disc"
    pd.concat([index, pd.DataFrame(again)]).to_csv("data/index.csv", index=False)
    twins = rows[rows["pixels"] == key].iloc[[0, 0]].copy()
    twins["split"], twins["label"] = ["validation", "unused"], [a["label"] for a in again]
    both = pd.concat([rows, twins])
    both["sha256"] = ""
    order = both.sort_values(["pixels", "label"], kind="stable").drop(columns="sha256")
    order.to_csv("data/split.csv", index=False)
    text = written().text
    assert "1 file has the very bytes of another; 1 such file in more than one split" in text
    assert "1 more file has the very pixels of another" in text
    assert "1 picture stands under several labels" in text and "same pixels.png" in text


def test_pictures_that_are_much_alike_across_splits_are_shown(inside):
    page = written()
    assert "The most alike across splits" in page.text
    rows = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    split_of = dict(zip(rows["pixels"], rows["split"], strict=True))
    from thaw.data.duplicates import embeddings
    from thaw.storage.arrays import ArrayFolder

    keys = [key for key in rows["pixels"] if key]
    made = embeddings(ArrayFolder("data/features/vgg16"), keys)
    highest = max(
        float(made[a] @ made[b])
        for a in range(len(keys))
        for b in range(a)
        if split_of[keys[a]] != split_of[keys[b]]
    )
    shown = re.search(r'<ul class="pairs">.*?<br>([0-9.]+)', page.source, re.S).group(1)
    assert float(shown) == pytest.approx(highest, abs=2e-3)


def test_the_run_log_gives_seconds_and_says_what_ran(inside):
    log = Path("logs/runs.jsonl")
    log.parent.mkdir()
    lines = [
        {"stage": "train_subnet logistic", "started": "2026-01-01T10:00:00Z", "seconds": 3.25},
        {"stage": "train_subnet logistic", "started": "2026-01-02T10:00:00Z", "seconds": 4.5},
        {"stage": "split", "started": "2026-01-01T09:00:00Z", "seconds": 0.5},
    ]
    some = [json.dumps({**line, "exit": 0, "peak_mb": 321}) for line in lines]
    log.write_text("\n".join(some) + '\n{"stage": "half a li')
    page = written("--since", "2026-01-02T00:00:00Z")
    assert "1 of 14 stages ran since 2026-01-02T00:00:00Z" in page.text
    table = page.source[page.source.index('id="stages"') :]
    row = table[table.index('data-value="train_subnet@logistic"') :].split("</tr>")[0]
    assert ">ran</td>" in row and "4.5 s" in row and "321 MB" in row
    row = table[table.index('data-value="split"') :].split("</tr>")[0]
    assert "unchanged or cached" in row and "0.5 s" in row
    models = page.source[page.source.index('id="models"') : page.source.index('id="closer"')]
    assert 'data-value="4.5"' in models
    again = written("--since", "2026-01-02T00:00:00Z").source
    assert again == page.source


def test_parameters_that_differ_from_the_default_are_listed(inside):
    page = written()
    table = page.text[page.text.index("Parameters that differ") : page.text.index("Versions")]
    for words in ("dataset.image.size", "32", "evaluate.bootstrap", "subnets.fc256", "absent"):
        assert words in table
    assert "threads" not in table


def test_three_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    walk(tmp_path / "three", {"disc": 20, "square": 20, "a < b & c": 20}, grouped=False)
    page = written()
    assert page.told["classes"] == ["a < b & c", "disc", "square"]
    assert 'id="threshold"' not in page.source, "a slider is for two classes"
    assert "ROC, by class" in page.text and "means over the classes" in page.text
    assert "a < b & c" in page.text and "<b>" not in page.source
    assert floats(page.told["models"][0]["p"]).size == 3 * page.told["tests"]


def test_without_features_nothing_is_near_and_pixels_are_compared(inside):
    shutil.rmtree("data/features")
    shutil.rmtree("results/doubts")
    page = written()
    assert "No features are cached, so there are no nearest training images" in page.text
    assert page.told["features"] is None and "like" not in page.told["images"][0]
    assert "pixels, averaged to 16 × 16" in page.text


def test_what_was_not_pulled_is_said(inside):
    shutil.rmtree("data")
    shutil.rmtree("results/predictions")
    page = written()
    assert "logistic is right about" in page.text
    assert "there is no gallery" in page.text
    assert "data/split.csv and data/index.csv are not here together" in page.text


def test_predictions_of_another_split_are_not_shown(inside):
    table = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    table.loc[table.index[table["split"] == "test"][0], "split"] = "train"
    table.to_csv("data/split.csv", index=False)
    page = written()
    assert page.told["models"] == []
    assert "its predictions are of another split: dvc repro makes them anew" in page.text


@pytest.mark.parametrize("gone", ["results", "params.yaml"])
def test_where_nothing_ran_there_is_one_line(inside, gone):
    shutil.rmtree(gone) if Path(gone).is_dir() else Path(gone).unlink()
    with pytest.raises(UserError, match="dvc repro") as said:
        command(["report"])
    assert "\n" not in str(said.value) and not Path("report").exists()


def test_a_time_that_is_none_is_refused(inside):
    with pytest.raises(UserError, match="--since yesterday: expected a time"):
        command(["report", "--since", "yesterday"])


def test_a_run_without_any_backbone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = [
        "experiment=pixels_only",
        "dataset=folder",
        "dataset.source.path=photos",
        "dataset.image.size=32",
        "dataset.on_bad_image=skip",
        "networks.small_cnn.epochs=2",
        f"networks.small_cnn.loss_file={ROOT}/stages/losses.py",
        "evaluate.bootstrap=100",
    ]
    walk(tmp_path / "pixels", COUNTS, chosen=chosen)
    page = written()
    assert "small_cnn is right about" in page.text
    assert "It is the only model with results." in page.text
    assert "No features are cached" in page.text
    (model,) = page.told["models"]
    assert len(model["maps"]["places"]) == page.told["tests"], "fewer than 100 test images"
    assert min(model["maps"]["height"], model["maps"]["width"]) > 1
    assert "Learning: loss" in page.text


def test_doubts_are_shown_and_the_stage_names_files_as_the_user_knows_them(inside):
    images = pd.read_csv("results/doubts/vgg16/images.csv")
    assert len(images) == sum(COUNTS.values())
    for path in images["path"]:
        assert Path("photos", path).exists(), path
    swapped = images["path"].str.contains("/from-")
    assert swapped[:5].any(), "a picture that was put into the wrong folder is among the first"
    summary = json.loads(Path("results/doubts/vgg16/summary.json").read_text())
    page = written()
    count = sum(summary["suspects"].values())
    assert f"{count} of {len(images)} labels" in page.text
    first = images[images["suspect"]].iloc[0]
    assert first["path"] in page.text and f"{first['label']}, or {first['suggested']}?" in page.text
    assert "Should more be labelled?" in page.text and "The last doubling, from" in page.text


def test_it_is_told_how_right_the_model_is_about_images_that_are_no_twins(inside):
    images = pd.read_csv("results/doubts/vgg16/images.csv")
    test = images["split"] == "test"
    images.loc[test, "alike"] = 0.5
    twins = images.index[test][:3]
    images.loc[twins, "alike"] = 0.999
    images.to_csv("results/doubts/vgg16/images.csv", index=False)
    page = written()
    told = pd.read_csv("results/predictions/logistic/predictions.csv", dtype=str)
    others = told[~told["pixels"].isin(images.loc[twins, "pixels"])]
    right = (others["label"] == others["predicted"]).mean()
    assert "logistic is right about" in page.text
    assert f"3 of {test.sum()} test images look nearly the same as one of train" in page.text
    assert f"of the others {100 * right:.1f}" in page.text


@pytest.mark.parametrize(
    ("accuracies", "spread", "measured", "says"),
    [
        (
            (0.80, 0.90),
            0.02,
            1000,
            "brought +10.0 points of accuracy, of which chance can make 2.0",
        ),
        ((0.80, 0.90), 0.02, 1000, "More labels are worth their while."),
        ((0.90, 0.905), 0.01, 10_000, "would hardly help"),
        ((0.90, 0.905), 0.01, 100, "So 100 images are too few to tell"),
        ((0.80, 0.90), 0.12, 1000, "So 1,000 images are too few to tell"),
    ],
)
def test_whether_to_label_more_is_said_only_where_it_can_be_told(
    accuracies, spread, measured, says
):
    grown = [
        {"images": n, "accuracy": a, "lowest": a - spread / 2, "highest": a + spread / 2}
        for n, a in zip((500, 1000), accuracies, strict=True)
    ]
    assert says in verdict(grown, measured)


def test_without_doubts_the_page_says_what_brings_them(inside):
    shutil.rmtree("results/doubts")
    assert "The stage doubts has left nothing here" in written().text
