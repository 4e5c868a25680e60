"""Tests of the page that `thaw report` writes, without a browser."""

import base64
import contextlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stages import download, preprocess, split
from tests.conftest import ROOT
from tests.pipeline.conftest import draw
from tests.thaw.report.conftest import COUNTS, commit, run_pipeline
from thaw.cli.main import command
from thaw.config.search import Search
from thaw.errors import UserError
from thaw.report.audit import verdict
from thaw.report.run_results import OUTDATED
from thaw.report.split import describe_split
from thaw.storage.arrays import ArrayFolder, write_array_folder
from thaw.training.search import run_search


class Page(HTMLParser):
    """The tags and visible text of a page, and the data that its script reads."""

    VOID = {"meta", "img", "input", "br", "link", "hr"}

    def __init__(self, text: str):
        super().__init__()
        self.source, self.tags, self.words = text, [], []
        self._open: list[str] = []
        self.feed(text)
        pattern = r'<script type="application/json" id="gallery-data">(.*?)</script>'
        self.data = json.loads(re.search(pattern, text, re.S).group(1))

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
    """Return the page that `thaw report` writes in the current folder."""
    assert command(["report", *arguments]) == 0
    return Page(Path("report/index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(after_a_run, tmp_path_factory) -> Page:
    """Return the page of the project as it is after a run."""
    copy = tmp_path_factory.mktemp("page") / "copy"
    shutil.copytree(after_a_run, copy)
    with contextlib.chdir(copy):
        return written()


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def details(name: str) -> dict:
    return json.loads(Path(f"results/details/{name}.json").read_text())


def test_the_summary_comes_first_with_interval_baseline_and_last_commit(inside, page):
    own = details("logistic")
    low, high = own["intervals_95"]["accuracy"]
    assert 0.6 < own["metrics"]["accuracy"] < 1, "every sixth label is wrong"
    accuracy = f"{100 * own['metrics']['accuracy']:.1f} %"
    span = f"{100 * low:.1f} % to {100 * high:.1f} %"
    headline = (
        f"logistic, the best of 2 models on validation images, classifies {accuracy} ({span}) of "
        f"the {own['counts']['test']} test images correctly"
    )
    assert page.text.index(headline) < page.text.index("All models")
    validation = own["validation"]
    reason = (
        f"highest validation accuracy of 2 models, {100 * validation['accuracy']:.1f} % of "
        f"{validation['count']} images. Test images had no part in it."
    )
    assert f"Selected by validation data: {reason}" in page.text
    assert page.source.count("best by validation") == 1, "one row of the table is marked"
    assert f"95 % confidence interval: {span}" in page.text
    counts = np.array(own["confusion"]).sum(axis=1)
    share = counts[own["classes"].index("disc")] / counts.sum()
    assert "Always predicting “disc”, the class with the most training images" in page.text
    assert f"is correct for {100 * share:.1f} %" in page.text
    assert "There is no earlier commit to compare with." in page.text


def test_without_validation_data_test_accuracy_decides_and_the_page_says_so(inside):
    for name in ("logistic", "other"):
        content = {**details(name), "validation": None}
        Path(f"results/details/{name}.json").write_text(json.dumps(content))
    page = written()
    assert "logistic classifies" in page.text and "best by validation" not in page.text
    assert "not every model has a validation accuracy" in page.text


def test_changes_since_the_last_commit_are_described_in_words(inside):
    path = Path("results/metrics/logistic.json")
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps({**metrics, "accuracy": 0.5, "log_loss": 9.0}))
    (path.parent / "gone.json").write_text(json.dumps({"accuracy": 0.25}))
    commit("worse ones")
    path.write_text(json.dumps(metrics))
    (path.parent / "gone.json").unlink()
    page = written()
    rise = 100 * (metrics["accuracy"] - 0.5)
    assert "“worse ones”: accuracy rose by " + f"{rise:.1f} points" in page.text
    assert f"log loss fell from 9.000 to {metrics['log_loss']:.3f}" in page.text
    assert "gone: removed, accuracy was 25.0 %" in page.text
    assert "other: nothing changed." in page.text

    commit("as they are now")  # the same metrics, so the page compares with the commit before
    assert "“worse ones”: accuracy rose by" in written().text


def test_every_model_is_in_the_table_and_missing_results_are_reported(inside, page):
    table = page.source[page.source.index('id="models"') : page.source.index('id="details"')]
    for name in ("logistic", "other", "gap256"):
        assert f'<th scope="row" data-value="{name}">' in table
    assert "gap256: it was not evaluated yet: run dvc repro." in page.text
    record = json.loads(Path("models/logistic/record.json").read_text())
    for value in (*details("logistic")["metrics"].values(), record["parameters"]):
        assert f'data-value="{value}"' in table
    size = Path("models/logistic/model.npz").stat().st_size
    assert f'data-value="{size}"' in table
    assert "not recorded" in table, "there is no run log"


def test_the_script_gets_the_predictions_of_each_model(inside, page):
    data = page.data
    test = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    test = test[test["split"] == "test"].reset_index(drop=True)
    assert data["tests"] == len(data["images"]) == len(test)
    true = floats(data["true"]).astype(int)
    assert true.tolist() == test["class"].astype(int).tolist()
    for model in data["models"]:
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
    image = data["images"][0]
    assert image["k"] == test["pixel_sha256"][0][:12] and image["g"] in ("north", "south")
    assert data["thumbs"][image["k"]].startswith("data:image/jpeg;base64,")


def test_the_most_similar_training_images_have_the_highest_cosine(inside, page):
    data, features = page.data, ArrayFolder("data/features/vgg16")
    rows = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    train = rows[rows["split"] == "train"].reset_index(drop=True)
    test = rows[rows["split"] == "test"].reset_index(drop=True)

    def direction(key: str) -> np.ndarray:
        mean = features[key].astype("float64").mean(axis=(0, 1))
        return mean / np.linalg.norm(mean)

    candidates = np.stack([direction(key) for key in train["pixel_sha256"]])
    for image in data["images"]:
        cosines = candidates @ direction(test["pixel_sha256"][image["n"]])
        best = np.sort(cosines)[::-1][:4]
        assert [c for _, c in image["like"]] == pytest.approx(best, abs=1e-3)
        for number, cosine in image["like"]:
            key, label, _ = data["train"][str(number)]
            assert cosines[number] == pytest.approx(cosine, abs=1e-3)
            assert (key, label) == (train["pixel_sha256"][number][:12], train["label"][number])
            assert key in data["small"]


def test_the_same_results_give_the_same_bytes(inside, page):
    assert written().source == page.source


def test_the_page_loads_nothing_and_closes_every_tag(inside, page):
    assert not page._open
    links = [
        v for _, attributes in page.tags for k, v in attributes.items() if k in ("src", "href")
    ]
    assert links and all(v.startswith(("#", "data:")) for v in links)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = {v[1:] for v in links if v.startswith("#")}
    assert anchors <= set(ids)
    assert all("alt" in attributes for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")


def test_the_data_section_shows_counts_sizes_and_unreadable_files(inside, page):
    assert "1 of 69 files could not be read" in page.text and "disc/broken.png" in page.text
    rows = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    for label in COUNTS:
        for name in ("train", "validation", "test"):
            count = int(((rows["label"] == label) & (rows["split"] == name)).sum())
            assert f'data-value="{count}">{count}</td>' in page.source
    assert "48 × 40 (68)" in page.text
    assert "0 files are byte-identical to another file" in page.text
    assert "north" in page.text and "By group" in page.text


def test_the_data_section_says_how_the_data_were_split(inside, page):
    assert "Drawn at random with seed 0: test (" in page.text
    assert "with equal shares of each label in every split. Only identical images are" in page.text
    rows = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    rows["split_group"] = rows["split"] + (rows.index // 4).astype(str)
    rows.to_csv("data/split.csv", index=False)
    index = pd.read_csv("data/index.csv", dtype=str, keep_default_na=False)
    index["split"] = "test"
    parameters = {"seed": 0, "stratify": [], "test": 0.2, "validation": 0.25, "group": "folder"}
    text = " ".join(describe_split(rows, index, parameters))
    assert text.startswith("The test images are those of the data set's own split. Drawn at random")
    assert "validation (25 % of the others). No group is in two splits." in text
    assert "by dataset.split.group = folder: " in text and "Only identical" not in text


def test_duplicates_are_counted_across_splits(inside):
    rows = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    index = pd.read_csv("data/index.csv", dtype=str, keep_default_na=False)
    key = rows.loc[rows["split"] == "train", "pixel_sha256"].iloc[0]
    # a user's own splits may contain an image twice: with the same bytes, and encoded again
    row = index[index["pixel_sha256"] == key].iloc[0]
    again = [row.copy(), row.copy()]
    again[0]["path"], again[1]["path"] = "images/same bytes.png", "images/same pixels.png"
    again[1]["sha256"] = "f" * 64
    again[1]["label"] = "square" if row["label"] == "disc" else "disc"
    pd.concat([index, pd.DataFrame(again)]).to_csv("data/index.csv", index=False)
    copies = rows[rows["pixel_sha256"] == key].iloc[[0, 0]].copy()
    copies["split"], copies["label"] = ["validation", "unused"], [a["label"] for a in again]
    both = pd.concat([rows, copies])
    both["sha256"] = ""
    order = both.sort_values(["pixel_sha256", "label"], kind="stable").drop(columns="sha256")
    order.to_csv("data/split.csv", index=False)
    text = written().text
    assert (
        "1 file is byte-identical to another file; 1 such image is in more than one split" in text
    )
    assert "1 more file has the same pixels as another file" in text
    assert "1 image has several labels" in text and "same pixels.png" in text


def test_the_most_similar_images_in_different_splits_are_shown(inside, page):
    assert "Most similar images in different splits" in page.text
    rows = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    split_of = dict(zip(rows["pixel_sha256"], rows["split"], strict=True))
    from thaw.data.duplicates import embeddings

    keys = [key for key in rows["pixel_sha256"] if key]
    vectors = embeddings(ArrayFolder("data/features/vgg16"), keys)
    highest = max(
        float(vectors[a] @ vectors[b])
        for a in range(len(keys))
        for b in range(a)
        if split_of[keys[a]] != split_of[keys[b]]
    )
    shown = re.search(r'<ul class="pairs">.*?<br>([0-9.]+)', page.source, re.S).group(1)
    assert float(shown) == pytest.approx(highest, abs=2e-3)


def test_durations_and_states_of_stages_come_from_the_run_log(inside):
    log = Path("logs/runs.jsonl")
    log.parent.mkdir()
    lines = [
        {"stage": "train_subnet logistic", "started": "2026-01-01T10:00:00Z", "seconds": 3.25},
        {"stage": "train_subnet logistic", "started": "2026-01-02T10:00:00Z", "seconds": 4.5},
        {"stage": "split", "started": "2026-01-01T09:00:00Z", "seconds": 0.5},
    ]
    complete = [json.dumps({**line, "exit": 0, "peak_mb": 321}) for line in lines]
    log.write_text("\n".join(complete) + '\n{"stage": "half a li')
    page = written("--since", "2026-01-02T00:00:00Z")
    assert "1 of 15 stages ran since 2026-01-02T00:00:00Z" in page.text
    table = page.source[page.source.index('id="stages"') :]
    row = table[table.index('data-value="train_subnet@logistic"') :].split("</tr>")[0]
    assert ">ran</td>" in row and "4.5 s" in row and "321 MB" in row
    row = table[table.index('data-value="split"') :].split("</tr>")[0]
    assert "unchanged or cached" in row and "0.5 s" in row
    models = page.source[page.source.index('id="models"') : page.source.index('id="details"')]
    assert 'data-value="4.5"' in models
    again = written("--since", "2026-01-02T00:00:00Z").source
    assert again == page.source


def test_parameters_that_differ_from_the_default_are_listed(inside, page):
    table = page.text[page.text.index("Parameters that differ") : page.text.index("Versions")]
    for words in ("dataset.image.size", "32", "evaluate.bootstrap", "subnets.lite0", "absent"):
        assert words in table
    assert "threads" not in table and "derived" not in table


def test_the_trials_of_a_search_and_the_importance_of_its_parameters_are_shown(inside, page):
    assert "Search" not in page.text
    models = {"logistic": {"C": 1.0}, "dense": {"units": [64]}}
    space = {"logistic": {"C": {"low": 0.1, "high": 1.0}}, "dense": {"units": [[], [64]]}}
    result = run_search(
        models,
        space,
        Search(trials=20, folds=3, seconds=None),
        0,
        lambda values: [(values.get("C", 0.5 - len(values.get("units", [])) / 3), 0.75)] * 3,
    )
    folder = Path("results/searches/logistic")
    folder.mkdir(parents=True)
    result.trials_table().to_csv(folder / "trials.csv", index=False)
    result.importance_table().to_csv(folder / "importance.csv", index=False)
    page = written()
    pruned = sum(trial.state == "pruned" for trial in result.trials)
    assert f"{20 - pruned} complete, {pruned} pruned" in page.text
    best = result.trials[result.best]
    assert f"{best.loss:.4f}75.0 %" in page.text and "dense: units = [64]" in page.text
    labels = [tag.get("aria-label", "") for name, tag in page.tags if name == "svg"]
    assert any(label.startswith("log loss by trial; lowest") for label in labels)
    assert any("logistic.C: 100%" in label for label in labels)


def test_three_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_pipeline(tmp_path / "three", {"disc": 20, "square": 20, "a < b & c": 20}, grouped=False)
    page = written()
    assert page.data["classes"] == ["a < b & c", "disc", "square"]
    assert 'id="threshold"' not in page.source, "a slider is for two classes"
    assert "ROC, by class" in page.text and "means over the classes" in page.text
    assert "a < b & c" in page.text and "<b>" not in page.source
    assert floats(page.data["models"][0]["p"]).size == 3 * page.data["tests"]


def test_without_features_pixels_are_compared(inside):
    shutil.rmtree("data/features")
    shutil.rmtree("results/audits")
    page = written()
    assert (
        "There are no features of these images, so similar training images are not shown"
        in page.text
    )
    assert page.data["features"] is None and "like" not in page.data["images"][0]
    assert "pixels, averaged to 16 × 16" in page.text


def test_missing_files_are_reported(inside):
    shutil.rmtree("data")
    shutil.rmtree("results/predictions")
    page = written()
    assert "logistic, the best of 2 models on validation images," in page.text
    assert "There are no predictions of the test images to show" in page.text
    assert "data/split.csv or data/index.csv is missing" in page.text


def test_predictions_and_audit_of_another_split_are_not_shown(inside):
    table = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    table.loc[table.index[table["split"] == "test"][0], "split"] = "train"
    table.to_csv("data/split.csv", index=False)
    page = written()
    assert page.data["models"] == []
    assert f"logistic: its predictions file was {OUTDATED}." in page.text
    assert f"audit vgg16: {OUTDATED}." in page.text


def test_results_of_another_dataset_are_reported(inside):
    """Images were replaced, and only `download`, `preprocess` and `split` ran again."""
    shutil.rmtree("photos")
    draw(Path("photos"), {"disc": 30, "ring": 30, "square": 30})
    for stage in (download, preprocess, split):
        stage.main()
    page = written()
    assert f"logistic: its predictions file was {OUTDATED}." in page.text
    assert f"data/features/vgg16: {OUTDATED}." in page.text
    assert f"audit vgg16: {OUTDATED}." in page.text
    assert "ring" in page.text and page.data["models"] == []


def test_a_model_that_was_evaluated_for_other_classes_is_reported(inside):
    """The data changed, and the training of `other` failed before its evaluation."""
    path = Path("results/details/other.json")
    path.write_text(path.read_text().replace('"square"', '"ring"'))
    shutil.rmtree("models/other")
    page = written()
    assert f"other: its evaluation was {OUTDATED}." in page.text
    assert [model["name"] for model in page.data["models"]] == ["logistic"]


def test_images_of_another_dataset_are_reported(inside):
    """data/images was pulled for another commit than data/split.csv."""
    keys = ArrayFolder("data/images").keys
    shutil.rmtree("data/images")
    row = np.zeros((32, 32, 3), "uint8")
    write_array_folder("data/images", keys[1:], lambda key: row, {})
    page = written()
    assert f"data/images: {OUTDATED}." in page.text
    assert "thumbs" in page.data and page.data["thumbs"] == {}


def test_labels_that_were_not_checked_do_not_prevent_the_report(inside):
    images = pd.read_csv("results/audits/vgg16/images.csv")
    images.loc[images.index[-1], ["suggested", "probability"]] = [None, np.nan]
    images.to_csv("results/audits/vgg16/images.csv", index=False)
    assert "Likely label errors" in written().text


def test_an_edited_code_folder_is_listed_as_changed(inside):
    """The digest is the one that DVC 3 records for such a folder."""
    Path("library/__pycache__").mkdir(parents=True)
    Path("library/a.py").write_text("a = 1\n")
    Path("library/__pycache__/a.pyc").write_bytes(b"compiled")
    md5 = "291c60becb6c2af08977b412796a058d.dir"
    stages = {"split": {"deps": [{"path": "library", "md5": md5}]}}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))

    def row() -> str:
        table = written().source.split('id="stages"')[1]
        return table.split('data-value="split"')[1].split("</tr>")[0]

    assert "library" not in row()
    Path("library/a.py").write_text("a = 2\n")
    assert "library" in row()


@pytest.mark.parametrize("gone", ["results", "params.yaml"])
def test_without_results_the_error_is_one_line(inside, gone):
    shutil.rmtree(gone) if Path(gone).is_dir() else Path(gone).unlink()
    with pytest.raises(UserError, match="dvc repro") as raised:
        command(["report"])
    assert "\n" not in str(raised.value) and not Path("report").exists()


def test_an_invalid_time_is_refused(inside):
    with pytest.raises(UserError, match="--since yesterday: expected a time"):
        command(["report", "--since", "yesterday"])


def test_a_project_without_a_backbone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = [
        "experiment=pixels_only",
        "dataset=folder",
        "dataset.source.path=photos",
        "dataset.image.size=32",
        "dataset.on_bad_image=skip",
        "networks.small_cnn.epochs=2",
        f"networks.small_cnn.losses.main.function='{ROOT}/stages/losses.py:cross_entropy'",
        "evaluate.bootstrap=100",
    ]
    run_pipeline(tmp_path / "pixel_sha256", COUNTS, chosen=chosen)
    page = written()
    assert "small_cnn classifies" in page.text
    assert "It is the only model with results." in page.text
    assert "There are no features of these images" in page.text
    (model,) = page.data["models"]
    assert len(model["maps"]["places"]) == page.data["tests"], "fewer than 100 test images"
    assert min(model["maps"]["height"], model["maps"]["width"]) > 1
    assert "Training: loss" in page.text


def test_the_audit_is_shown_with_the_original_paths(inside):
    images = pd.read_csv("results/audits/vgg16/images.csv")
    assert len(images) == sum(COUNTS.values())
    for path in images["path"]:
        assert Path("photos", path).exists(), path
    swapped = images["path"].str.contains("/from-")
    assert swapped[:5].any(), "an image in the wrong folder is among the first"
    summary = json.loads(Path("results/audits/vgg16/summary.json").read_text())
    page = written()
    count = sum(summary["likely_errors"].values())
    assert f"{count} of {len(images)} labels" in page.text
    first = images[images["likely_error"]].iloc[0]
    assert first["path"] in page.text and f"{first['label']}, or {first['suggested']}?" in page.text
    assert "Would more labels help?" in page.text and "The last doubling, from" in page.text


def test_accuracy_on_near_duplicates_and_other_images_is_compared(inside):
    images = pd.read_csv("results/audits/vgg16/images.csv")
    test = images["split"] == "test"
    images.loc[test, "training_similarity"] = 0.5
    near = images.index[test][:3]
    images.loc[near, "training_similarity"] = 0.999
    images.to_csv("results/audits/vgg16/images.csv", index=False)
    page = written()
    predictions = pd.read_csv("results/predictions/logistic/predictions.csv", dtype=str)
    others = predictions[~predictions["pixel_sha256"].isin(images.loc[near, "pixel_sha256"])]
    accuracy = (others["label"] == others["predicted"]).mean()
    assert "logistic, the best of 2 models" in page.text
    assert (
        f"3 of {test.sum()} test images are near-duplicates of training or validation" in page.text
    )
    assert f"{100 * accuracy:.1f} % on the others" in page.text


@pytest.mark.parametrize(
    ("accuracies", "spread", "measured", "text"),
    [
        (
            (0.80, 0.90),
            0.02,
            1000,
            "changed accuracy by +10.0 points; chance alone can cause 2.0 points",
        ),
        ((0.80, 0.90), 0.02, 1000, "More labels are likely to help."),
        ((0.90, 0.905), 0.01, 10_000, "would hardly help"),
        ((0.90, 0.905), 0.01, 100, "100 images are too few to tell"),
        ((0.80, 0.90), 0.12, 1000, "1,000 images are too few to tell"),
    ],
)
def test_the_verdict_on_more_labels_takes_chance_into_account(accuracies, spread, measured, text):
    curve = [
        {"images": n, "accuracy": a, "lowest": a - spread / 2, "highest": a + spread / 2}
        for n, a in zip((500, 1000), accuracies, strict=True)
    ]
    assert text in verdict(curve, measured)


def test_without_an_audit_the_page_says_how_to_get_one(inside):
    shutil.rmtree("results/audits")
    assert "There is no audit of the current split" in written().text
