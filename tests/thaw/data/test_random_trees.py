"""Random directory trees: each image is used, ignored with a message, or refused by name."""

import contextlib
import io
import itertools
import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from thaw.data.collecting import read_layout
from thaw.data.folder_names import split_of
from thaw.data.tree import is_image
from thaw.errors import UserError
from thaw.sources.folder import Parameters

NAMES = st.sampled_from(
    ["cat", "dog", "Owl", "train", "seg_train", "Testing", "val", "test_set", "images", "masks",
     "fold1", "fold2", "patient_1", "patient_2", "@eaDir", "$RECYCLE.BIN", ".cache", "notes",
     "unlabelled", "data", "part_a", "2024-05-01"]
)  # fmt: skip
FILES = st.sampled_from(
    ["1.jpg", "2.PNG", "cat.1.jpg", "dog.2.jpg", "a.txt", "Thumbs.db", "._1.jpg", "3.tif"]
)
PATHS = st.builds(
    lambda folders, file: "/".join([*folders, file]), st.lists(NAMES, max_size=4), FILES
)
TREES = st.lists(PATHS, min_size=1, max_size=25, unique=True)
CLASSES = st.lists(st.sampled_from(["cat", "dog", "Owl", "7"]), min_size=2, unique=True)
SPLITS = st.sampled_from(
    [[""], ["train"], ["train", "Test"], ["seg_train", "seg_test"], ["training_set", "val", "dev"]]
)
OTHERS = st.lists(NAMES | st.just(""), min_size=1, max_size=2, unique=True)


@st.composite
def regular_trees(draw: st.DrawFn) -> list[str]:
    """Return a tree of classes, in most cases with other levels and a few other files."""
    wrapper, inner = draw(OTHERS)[:1], draw(OTHERS | st.just([""]))
    levels = draw(st.permutations([draw(SPLITS), draw(CLASSES)]) | st.just([[""], ["a", "b"]]))
    names = ["1.jpg", "2.jpg"]
    paths = ["/".join(filter(None, p)) for p in itertools.product(wrapper, *levels, inner, names)]
    return sorted({*paths, *draw(st.lists(PATHS, max_size=1))})


def check_output(paths: list[str], rows: list[dict[str, str]], said: str) -> None:
    images = {path for path in paths if is_image(path)}
    used = {row["path"] for row in rows}
    assert said.count("\n") == 1 and len(used) == len(rows) and used <= images
    counts = re.findall(r"([\d,]+) (?:images|thumbnails)", said)  # used and ignored
    assert sum(int(count.replace(",", "")) for count in counts) == len(images)
    labels = {row["label"] for row in rows if row["label"]}
    assert not any(map(split_of, labels)) and len(labels) >= 2
    for row in rows:
        assert row["split"] in ("", "train", "validation", "test")
        assert not row["label"] or row["label"] in row["path"].split("/")
    unlabelled = sum(not row["label"] for row in rows)
    assert unlabelled == sum(int(count) for count in re.findall(r"(\d+) unlabelled", said))


def test_every_image_is_used_ignored_with_a_message_or_refused():
    read = refused = 0

    @settings(max_examples=200)
    @given(paths=TREES | regular_trees())
    def check(paths):
        nonlocal read, refused
        with tempfile.TemporaryDirectory() as folder:
            for path in paths:
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, path).touch()
            output = io.StringIO()
            try:
                with contextlib.redirect_stdout(output):
                    rows = read_layout(Path(folder), "mine", Parameters(kind="folder", path="mine"))
            except UserError as error:
                assert "mine" in str(error)
                refused += 1
            else:
                check_output(paths, rows, output.getvalue())
                read += 1

    check()
    assert min(read, refused) > 20  # or too little would have been checked
