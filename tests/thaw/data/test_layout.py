"""Layouts as data sets are published, in small: LAYOUTS are read, QUESTIONS are asked about."""

import itertools
import re
import shlex

import pytest

from tests.conftest import ROOT
from thaw.cli.help import sections
from thaw.config.dataset import FolderSource
from thaw.data.folder_names import LABEL_PATTERNS, split_of, suggest_label_pattern
from thaw.data.layout import Interpreter
from thaw.data.tree import selector
from thaw.errors import UserError
from thaw.sources.folder import Parameters

AB = ("a", "b")
SECTIONS = sections((ROOT / "docs/your-images.md").read_text())


def under(*levels: str | tuple[str, ...], count: int = 2) -> list[str]:
    """Return paths of images in each combination of folders."""
    parts = [(level,) if isinstance(level, str) else level for level in levels]
    return [f"{'/'.join(f)}/{n}.jpg" for f in itertools.product(*parts) for n in range(count)]


def named(folder: str = "") -> list[str]:
    return [f"{folder}{label}.{n}.jpg" for label in ("cat", "dog") for n in range(3)]


def section_of(error: UserError) -> str:
    """Return the section of the guide that a message names."""
    return re.findall(r"See `thaw help your-images ([a-z-]+)`$", str(error))[0]


def read(images: list[str], **options) -> tuple[dict[str, tuple[str, str]], Interpreter]:
    """Return the split and label of the first image of each folder, and the interpreter."""
    interpreter = Interpreter(FolderSource(kind="folder", **options), "mine")
    rows = interpreter.read(sorted(images))
    assert [row.path for row in rows] == sorted(images)
    return {row.path: (row.split, row.label) for row in rows}, interpreter


INTEL = [
    *under("seg_train", "seg_train", ("sea", "ice")),
    *under("seg_test", "seg_test", ("sea", "ice")),
    *under("seg_pred", "seg_pred"),
]
# images, one of them, its split and its label
LAYOUTS = {
    "classes": (under(AB), "a/0.jpg", ("", "a")),
    "a wrapper": (under("v1", "Images", AB), "v1/Images/a/0.jpg", ("", "a")),
    "splits": (under(("Training", "TESTING"), AB), "TESTING/b/1.jpg", ("test", "b")),
    "doubled splits": (INTEL, "seg_test/seg_test/sea/0.jpg", ("test", "sea")),
    "images to predict": (INTEL, "seg_pred/seg_pred/0.jpg", ("", "")),
    "sets": (
        under(("training_set", "test_set"), AB) + under("single_prediction"),
        "training_set/a/0.jpg",
        ("train", "a"),
    ),
    "words in names": (
        under(("trainImages", "Validation-Data", "hold_out"), AB),
        "hold_out/a/0.jpg",
        ("test", "a"),
    ),
    "a common prefix": (under(("x_train", "x_dev"), AB), "x_dev/a/0.jpg", ("validation", "a")),
    "numbers": (under(("train_1", "train_2", "test2017"), AB), "train_2/b/0.jpg", ("train", "b")),
    "folders around splits": (
        under("archive (1)", "my_training_data", ("train", "eval"), AB),
        "archive (1)/my_training_data/eval/a/0.jpg",
        ("test", "a"),
    ),
    "validation in train": (
        under("train", ("train", "val"), AB) + under("test", AB),
        "train/val/a/0.jpg",
        ("validation", "a"),
    ),
    "splits in classes": (under(AB, ("train", "test")), "b/test/0.jpg", ("test", "b")),
    "ImageNet": (
        under("I", "Data", "train", ("n01", "n02")) + under("I", "Data", ("val", "test")),
        "I/Data/val/0.jpg",
        ("", ""),
    ),
    "GTSRB": (
        under("Final_Training", "Images", ("00000", "00001")) + under("Final_Test", "Images"),
        "Final_Training/Images/00000/0.jpg",
        ("train", "00000"),
    ),
    "Tiny ImageNet": (
        under("tiny", "train", ("n01", "n02"), "images") + under("tiny", ("val", "test"), "images"),
        "tiny/val/images/0.jpg",
        ("", ""),
    ),
    "doubled splits with a prefix": (
        under("asl_train", "asl_train", AB) + under("asl_test", "asl_test"),
        "asl_test/asl_test/0.jpg",
        ("", ""),
    ),
    "splits in other languages": (
        under(("Entraînement", "验证集"), AB) + under("Testdaten", AB),
        "验证集/a/0.jpg",
        ("validation", "a"),
    ),
    "unlabelled test in another language": (
        under("entrenamiento", AB) + under("prueba"),
        "prueba/0.jpg",
        ("", ""),
    ),
    "accents in two encodings": (
        under("train", ("caf\u00e9", "x")) + under("test", ("cafe\u0301", "x")),
        "test/cafe\u0301/0.jpg",
        ("test", "caf\u00e9"),
    ),
    "wordnet names": (under("Images", ("n02085620-Chihuahua", "n02085782-Japanese_spaniel")),
        "Images/n02085620-Chihuahua/0.jpg", ("", "n02085620-Chihuahua")),
    "video clips": (under("a", ("v1_g1", "v1_g2")) + under("b", ("v2_g1", "v2_g2")),
        "b/v2_g1/0.jpg", ("", "b")),
    "unlabelled test": (under("train", AB) + under("test"), "test/0.jpg", ("", "")),
    "unknown test": (under("train", AB) + under("test", "unknown"), "test/unknown/0.jpg", ("", "")),
    "unlabelled beside classes": (under((*AB, "unlabeled")), "unlabeled/0.jpg", ("", "")),
    "names that only contain a split": (under(("test tube", "mask")), "mask/0.jpg", ("", "mask")),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts_are_recognized(case):
    images, image, expected = LAYOUTS[case]
    rows, interpreter = read(images)
    assert rows[image] == expected
    assert not any(label and split_of(label) for _, label in rows.values())
    assert (
        not interpreter.split_folders
        or all(map(split_of, interpreter.split_folders))
        or ("prefix" in case)
    )


OFFICE = under("office", ("amazon", "dslr"), "images", ("bike", "mug"))
PLANTS = under("plants", ("color", "gray"), ("rust", "scab"))
BREAKHIS = under("breast", "benign", "SOB", ("adenosis", "tubular"), "slide", ("40X", "100X"))
BREAKHIS += under("breast", "malignant", "SOB", ("ductal", "lobular"), "slide", ("40X", "100X"))
MASKS = under(("covid", "normal"), ("images", "masks"))
XRAY = under("x", ("train", "test"), AB) + under("x", "x", ("train", "test"), AB)
COPY = under((*AB, "copy")) + under("copy", AB)
# images, what the message says, the chosen override, one image, its split and label
QUESTIONS = {
    "same sub-folders": (
        OFFICE, "amazon/, dslr/ contain the same sub-folders, bike/, mug/",
        "layout=folders/classes", "office/dslr/images/bike/0.jpg", ("", "bike"),
    ),
    "a split with few of the classes": (
        under("प्रशिक्षण", ("a", "b", "c", "d")) + under("परीक्षण", "a"),
        "contain the same sub-folders, a/",
        "layout=folders/classes", "परीक्षण/a/0.jpg", ("", "a"),
    ),
    "a split with nothing but images": (
        under("प्रशिक्षण", ("0", "1")) + under("परीक्षण"),
        "Either may be the classes. If they are splits",
        "root=\"प्रशिक्षण\"", "प्रशिक्षण/0/0.jpg", ("", "0"),
    ),
    "classes in classes": (
        under("colon", ("aca", "n")) + under("lung", ("scc", "normal")),
        "colon/, lung/ contain aca/, n/, normal/, scc/. Either may be the classes",
        "layout=folders/classes", "lung/scc/0.jpg", ("", "scc"),
    ),
    "a class only in the test images": (
        under("train", ("good", "fine")) + under("test", ("good", "fine", "broken")),
        "classes that train/ lacks: broken", "layout=folders/classes",
        "test/broken/0.jpg", ("", "broken"),
    ),
    "one of them": (
        PLANTS, "contain the same", "root=plants/color", "plants/color/rust/0.jpg", ("", "rust"),
    ),
    "the outer ones": (
        BREAKHIS, "contain the same sub-folders, SOB/", "layout=classes",
        "breast/benign/SOB/tubular/slide/40X/0.jpg", ("", "benign"),
    ),
    "masks": (
        MASKS, "sub-folders that look like different kinds of image: images/, masks/",
        "include=[images]", "covid/images/0.jpg", ("", "covid"),
    ),
    "masks left out": (MASKS, "masks/", "exclude=[masks]", "covid/images/0.jpg", ("", "covid")),
    "masks in a split": (
        under(("train", "test"), AB, ("images", "masks")), "different kinds",
        "layout=splits/classes", "test/a/masks/0.jpg", ("test", "a"),
    ),
    "masks beside": (
        under("d", ("images", "masks"), AB), "masks/ beside images/ seems to be another kind",
        "exclude=[/d/masks]", "d/images/a/0.jpg", ("", "a"),
    ),
    "MVTec": (
        under("train", AB) + under("test", AB) + under("ground_truth", AB),
        r"mixes split folders (test/, train/) with others (ground_truth/)",
        "exclude=[/ground_truth]", "test/b/0.jpg", ("test", "b"),
    ),
    "a class named train": (
        under(("train", "bus")), "mixes split folders (train/) with others (bus/)",
        "layout=classes", "train/0.jpg", ("", "train"),
    ),
    "a copy": (
        COPY[:4] + COPY[6:], "copy/ looks like a second copy: it contains a/, b/ as well",
        "root=copy", "copy/a/0.jpg", ("", "a"),
    ),
    "a copy of splits": (XRAY, "others (x/)", "root=x/x", "x/x/test/a/0.jpg", ("test", "a")),
    "several data sets": (
        under(("one", "two"), ("train", "test"), AB), "one/, two/ contain test/, train/, which",
        "root=one", "one/test/b/0.jpg", ("test", "b"),
    ),
    "splits in some classes": (
        under("a", ("train", "test")) + under("b"), "a/ contain test/, train/",
        "layout=classes", "a/train/0.jpg", ("", "a"),
    ),
    "numbered parts": (
        under(("images_part_1", "images_part_2")), "are numbered parts without class folders",
        "layout=classes", "images_part_1/0.jpg", ("", "images_part_1"),
    ),
    "class and split in one": (
        under(("a_train", "a_test", "b_train", "b_test")), "seem to combine a class and a split",
        "layout=classes", "a_test/0.jpg", ("", "a_test"),
    ),
    "no class folders": (
        named("train/") + under("test1"), "The file names seem to contain the labels cat, dog",
        'label_pattern="^([^0-9]+)[._-][0-9]+[.]"', "train/dog.1.jpg", ("train", "dog"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", QUESTIONS)
def test_questions_name_parameters_that_answer_them(case, compose):
    images, message, override, image, expected = QUESTIONS[case]
    with pytest.raises(UserError) as question:
        read(images)
    assert message in str(question.value) and section_of(question.value) in SECTIONS
    given = [line.rpartition("-S ")[2] for line in str(question.value).split("\n") if "-S " in line]
    overrides = [shlex.split(each)[0] for each in given]
    assert f"dataset.source.{override}" in overrides
    for each in overrides:  # Hydra reads all of them
        source = compose("dataset=folder", "dataset.source.path=mine", each)["dataset"]["source"]
        options = Parameters.model_validate(source)
        if each == f"dataset.source.{override}":
            answer = options

    kept = filter(selector(answer), images)
    rows, _ = read(list(kept), **answer.model_dump(exclude={"kind", "path", "keep_raw"}))
    assert rows[image] == expected


REFUSED = {
    "one class": (under("cats"), "mine has one class, 'cats'. Expected two or more sub-folders"),
    "images outside class folders": (
        [*under(AB), "1.jpg"], r"1 images are in no class folder of mine.*:\n  1.jpg\n",
    ),
    "images outside class folders of a split": (
        [*under("train", AB), "train/9.jpg"],
        r"1 images are in no class folder of mine.*:\n  train/9.jpg\n",
    ),
    "no training images": (under(("test", "val"), AB), "mine has test/, val/ but no train/"),
    "a class only in test": (
        under("train", ("Cat", "dog")) + under("test", ("cat", "dog")),
        "the test images have classes that train/ lacks: cat. Did you mean Cat",
    ),
    "classes that differ in case": (under(("Cat", "cat", "dog")), "'Cat', 'cat' differ only in"),
    "classes that differ in spaces": (under(("a b", "a  b", "c")), "'a  b', 'a b' differ only in"),
    "train in test": (under("test", ("train", "x"), AB) + under("train", AB), "mixes|inside"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_layouts_are_refused(case):
    images, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as refusal:
        read(images)
    assert section_of(refusal.value) in SECTIONS


def test_message_lists_twenty_images_and_counts_the_rest():
    stray = [f"{n:02}.jpg" for n in range(25)]
    with pytest.raises(
        UserError, match=r"25 images are in no class folder.*\n(  .*\n){20}  ... and 5 more\n"
    ):
        read([*stray, *under(AB)])


def test_a_class_may_lack_test_images():
    _, interpreter = read(under("train", ("a0", "a90", "a180")) + under("test", ("a0", "a90")))
    assert interpreter.notes == ["no test image of a180"]


def test_folds_are_read_as_one_set_and_become_groups():
    images = under(("fold1", "fold2"), AB)
    interpreter = Interpreter(FolderSource(kind="folder"), "mine")
    rows = interpreter.read(images)
    assert {(row.label, row.group) for row in rows} == set(
        itertools.product(AB, ("fold1", "fold2"))
    )
    assert "dataset.split.group=group" in interpreter.notes[0]


def test_mvtec_is_read_with_the_documented_parameters():
    kinds = ("good", "broken")
    images = under("bottle", "train", "good") + under("bottle", "test", kinds)
    rows, _ = read(images, layout="folders/classes", exclude=["ground_truth"])
    assert rows["bottle/test/broken/0.jpg"] == ("", "broken")
    assert rows["bottle/train/good/0.jpg"] == ("", "good")


def test_folders_of_patients_are_no_classes_but_are_pointed_out():
    rows, interpreter = read(under(("benign", "malignant"), ("patient_00", "patient_01")))
    assert {label for _, label in rows.values()} == {"benign", "malignant"}
    assert "patient_00/ look like groups: -S dataset.split.group=folder" in interpreter.notes[0]


def test_label_pattern_reads_names_or_paths():
    assert read(named(), label_pattern="^([a-z]+)")[0]["cat.0.jpg"] == ("", "cat")
    images = under(("north", "south"), ("2023_a", "2023_b"))
    rows, _ = read(images, label_pattern="[0-9]_([a-z])/")
    assert rows["north/2023_b/0.jpg"] == ("", "b")
    with pytest.raises(UserError, match=r"finds no label in 2 of 8 images.*:\n  train/x/0.jpg"):
        read(named("train/") + under("train", "x"), label_pattern="^([a-z]+)")


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat.{n}.jpg", "dog.{n}.jpg"], ["cat", "dog"]),
        (["american_bulldog_{n}.jpg", "american_shorthair_{n}.jpg"],
         ["american_bulldog", "american_shorthair"]),
        (["cat ({n}).jpg", "dog ({n}).jpg"], ["cat", "dog"]),
        (["{n}_cat.png", "{n}_dog.png"], ["cat", "dog"]),
        (["IMG_{n}.jpg", "DSC_{n}.jpg"], None),
        (["IMG_{n}.jpg"], None),
    ],
)  # fmt: skip
def test_patterns_are_suggested_only_if_names_contain_labels(names, labels):
    found = suggest_label_pattern([name.format(n=n) for name in names for n in range(10, 30)])
    assert (found and found[1]) == labels


@pytest.mark.parametrize("pattern", LABEL_PATTERNS)
def test_suggested_patterns_can_be_set_on_the_command_line(pattern, compose):
    values = compose(
        "dataset=folder", "dataset.source.path=mine", f'dataset.source.label_pattern="{pattern}"'
    )
    assert values["dataset"]["source"]["label_pattern"] == pattern


def test_a_thousand_classes_are_read_quickly():
    rows, _ = read(under("train", tuple(f"class {n:04}" for n in range(1000)), count=5))
    assert len(rows) == 5000
