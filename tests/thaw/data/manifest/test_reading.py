import pytest

from thaw.data.inventory import SourceNotHere
from thaw.errors import UserError

AB = ["a.jpg", "b.jpg"]


def labels(manifest) -> dict[str, str]:
    return {row["path"]: row["label"] for row in manifest.rows}


def csv(*lines: str) -> str:
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", ["file_name", "Filename", "image", "image_id", "ID", "file path"])
@pytest.mark.parametrize("label", ["label", "Class", "target", "diagnosis", "category"])
def test_columns_with_common_names_are_detected_and_reported(read, path, label):
    manifest = read(csv(f"age,{label},{path}", "7,x,a.jpg", "9,y,b.jpg"), *AB)
    assert labels(manifest) == {"a.jpg": "x", "b.jpg": "y"}
    assert manifest.notes == [
        f"l.csv: 2 rows, 2 images, 2 classes (path = {path}; label = {label}; also kept: age)"
    ]


def test_a_column_that_names_files_has_the_paths_whatever_its_name(read):
    manifest = read(csv("photo,kind", "a.jpg,x", "b.jpg,y", "c.jpg,y"), *AB, "c.jpg")
    assert labels(manifest) == {"a.jpg": "x", "b.jpg": "y", "c.jpg": "y"}


def test_file_names_are_preferred_to_numbers_that_are_file_names_too(read):
    text = csv("id,file_name,label", "1,2.jpg,x", "2,1.jpg,y")
    assert labels(read(text, "1.jpg", "2.jpg")) == {"2.jpg": "x", "1.jpg": "y"}


@pytest.mark.parametrize(
    ("cell", "file", "other"),
    [
        ("a", "a.JPG", "z.jpg"),
        ("a.jpg", "a.jpg", "z.jpg"),
        ("./sub/a", "sub/a.png", "z.jpg"),
        ("sub\\a.jpg", "sub/a.jpg", "z.jpg"),
        ("é a", "é a.jpg", "z.jpg"),
        ("a", "deep/er/a.jpg", "deep/z.jpg"),
        ("er/a.jpg", "deep/er/a.jpg", "deep/z.jpg"),
        ("a.v2", "deep/a.v2.tiff", "deep/z.jpg"),
    ],
)
def test_paths_may_lack_extension_and_folders(read, cell, file, other):
    assert labels(read(csv("file,label", f"{cell},x", "z,y"), file, other)) == {
        file: "x",
        other: "y",
    }


def test_absolute_paths_inside_the_folder_are_read_and_others_refused(read, folder):
    text = csv("file,label", f"{folder}/a.jpg,x", f"{folder}/b.jpg,y")
    assert labels(read(text, *AB)) == {"a.jpg": "x", "b.jpg": "y"}
    (folder.parent / "c.jpg").write_text("c")
    for outside in ("../c.jpg", f"{folder.parent}/c.jpg", "C:\\c.jpg"):
        with pytest.raises(UserError, match="1 of 3 rows of l.csv name files that are not in mine"):
            read(text + f"{outside},x\n")


def test_missing_files_stop_with_the_rows_and_a_suggestion(read):
    text = csv("file,label", "a.jpg,x", "B.jpg,y", "gone.jpg,y", ",x")
    with pytest.raises(UserError) as error:
        read(text, *AB)
    assert "3 of 4 rows of l.csv name files that are not in mine (column file)" in str(error.value)
    assert "set dataset.source.images to the folder" in str(error.value)
    assert "  line 3: B.jpg Did you mean b.jpg?\n  line 4: gone.jpg\n" in str(error.value)
    assert not isinstance(error.value, SourceNotHere)
    with pytest.raises(SourceNotHere, match="2 of 2 rows"):
        read(csv("file,label", "c.jpg,x", "d.jpg,y"))


@pytest.mark.parametrize("names", [("a.jpg", "a.png", "b.jpg"), ("1/a.jpg", "2/a.jpg", "1/b.jpg")])
def test_names_that_match_several_files_stop(read, names):
    with pytest.raises(UserError, match="1 rows .* name several files in mine.*\n  line 2: a = "):
        read(csv("id,label", "a,x", "b,y"), *names)


def test_repeated_rows_are_merged_with_a_message(read):
    text = csv("file,label,note", "a.jpg,x,1", "b.jpg,y,2", "a,x,3", "./a.jpg,x,1")
    manifest = read(text, *AB)
    assert labels(manifest) == {"a.jpg": "x", "b.jpg": "y"}
    assert [row["note"] for row in manifest.rows] == ["1", "2"]
    assert "4 rows, 2 images" in manifest.notes[0]
    assert manifest.notes[1] == (
        "merged 2 rows that repeat an image with the same label; of note the first row's value is "
        "kept"
    )


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (
            "file,label",
            ("a,x", "b,y", "a.jpg,y"),
            r"different label.*\n  a.jpg: x \(line 2\), y \(",
        ),
        ("file,label", ("a,x", "b,y", "a.jpg,"), r"different label.*\n  a.jpg: x .*, \(none\)"),
        ("file,label,split", ("a,x,train", "b,y,train", "a,x,test"), "with a different split"),
        ("file,label,group", ("a,x,1", "b,y,2", "a,x,2"), "with a different group"),
    ],
)
def test_contradictory_rows_stop(read, header, rows, message):
    with pytest.raises(UserError, match=message):
        read(csv(header, *rows), *AB)


def test_rows_without_a_label_are_unlabelled_and_unlisted_images_are_ignored(read):
    manifest = read(csv("file,label", "a,x", "b,y", "c,"), *AB, "c.jpg", "d.jpg", "readme.txt")
    assert labels(manifest) == {"a.jpg": "x", "b.jpg": "y", "c.jpg": ""}
    assert manifest.notes[1:] == [
        "1 images have no label: they are kept as unlabelled",
        "ignored 1 images in mine that l.csv does not name: d.jpg",
    ]


@pytest.mark.parametrize("one", ["1", "1.0", "True"])
def test_one_hot_columns_are_classes(read, one):
    zero = {"1": "0", "1.0": "0.0", "True": "False"}[one]
    text = csv("filename, cat, dog, owl", f"a.jpg, {one}, {zero}, {zero}", f"b,{zero},{one},{zero}")
    manifest = read(text, *AB)
    assert labels(manifest) == {"a.jpg": "cat", "b.jpg": "dog"}
    assert "label = one-hot columns" in manifest.notes[0] and "no image is of owl" in manifest.notes


def test_one_hot_rows_without_exactly_one_class_are_refused_with_counts(read):
    text = csv("file,cat,dog", "a,1,0", "b,1,1", "c,0,0", "d,1,1")
    with pytest.raises(UserError, match="1 rows have a 1 in none of the .* 2 rows in several") as e:
        read(text, *AB, "c.jpg", "d.jpg")
    assert "  line 4: c is nothing\n  line 3: b is cat and dog\n" in str(e.value)


def test_columns_may_be_chosen(read):
    text = csv("file,image,label,class,f1,weight", "a,b,x,p,1,2", "b,a,y,q,0,")
    manifest = read(text, *AB, path="image", label="class", group="f1", confidence="weight")
    assert manifest.rows[0] == {
        "path": "b.jpg", "label": "p", "split": "", "group": "1", "confidence": "2",
        "file": "a", "manifest_label": "x", "f1": "1",
    }  # fmt: skip
    assert "renamed the column label to manifest_label: the name is taken" in manifest.notes
    one_hot = read(csv("file,m,n", "a,1,0", "b,0,1"), path="file", label=["m", "n"])
    assert labels(one_hot) == {"a.jpg": "m", "b.jpg": "n"}


AMBIGUOUS = {
    "labels": ("file,label,class", "a,x,p", "b,y,q"),
    "paths": ("file,image,label", "a.jpg,b.jpg,x", "b.jpg,a.jpg,y"),
    "splits": ("file,label,split,subset", "a,x,train,train", "b,y,train,test"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_ambiguous_columns_stop_and_name_the_parameter(read, case):
    with pytest.raises(UserError, match=f"-S 'dataset.source.columns.{case[:-1]}=") as error:
        read(csv(*AMBIGUOUS[case]), *AB)
    assert "l.csv has several columns that may be the" in str(error.value)


def test_missing_columns_stop_and_name_the_parameter(read):
    rows = ("a,1,x", "b,2,y")
    with pytest.raises(UserError, match="column that is clearly the label. .*: age, sex. Set da"):
        read(csv("file,age,sex", *rows), *AB)
    with pytest.raises(UserError, match="label = 'sx': .* no such column. .* Did you mean sex?"):
        read(csv("file,age,sex", *rows), label="sx")
    with pytest.raises(UserError, match=r"no column of l.csv \(x, label\) names files below mine"):
        read(csv("x,label", "q,1", "r,2"))
    with pytest.raises(UserError, match="Its first line must be a header"):
        read(csv("b.jpg,y", "q.jpg,x", "r.jpg,z"))


@pytest.mark.parametrize("name", ["split", "Subset", "fold"])
def test_splits_have_the_names_that_folders_have(read, name):
    text = csv(f"file,label,{name}", "a,x,Train", "b,y,training", "c,x,VAL", "d,y,test")
    manifest = read(text, *AB, "c.jpg", "d.jpg")
    assert [row["split"] for row in manifest.rows] == ["train", "train", "validation", "test"]


def test_unknown_and_missing_splits_are_refused(read):
    files = [*AB, "c.jpg"]
    with pytest.raises(UserError, match=r"column split has the values '1', 'tset'. .*split=\"\"'"):
        read(csv("file,label,split", "a,x,train", "b,y,tset", "c,y,1"), *files)
    with pytest.raises(UserError, match=r"1 of 3 rows .* no split .*\n  line 4$"):
        read(csv("file,label,split", "a,x,train", "b,y,train", "c,y,"), *files)
    with pytest.raises(UserError, match="has test, validation images but no train images"):
        read(csv("file,label,split", "a,x,test", "b,y,val", "c,,train"), *files)
    folds = read(csv("file,label,fold", "a,x,0", "b,y,1", "c,y,1"), *files)
    assert {row["split"] for row in folds.rows} == {""} and folds.rows[0]["fold"] == "0"
    unused = read(csv("file,label,split", "a,x,train", "b,y,odd", "c,y,1"), *files, split="")
    assert [row["manifest_split"] for row in unused.rows] == ["train", "odd", "1"]


def test_names_of_splits_are_no_labels(read):
    with pytest.raises(UserError, match="column class are names of splits"):
        read(csv("file,class", "a,train", "b,test"), *AB)
    with pytest.raises(UserError, match="no column that is clearly the label"):
        read(csv("file,subset", "a,train", "b,train"))
    vehicles = read(csv("file,class", "a,train", "b,bus"))
    assert labels(vehicles) == {"a.jpg": "train", "b.jpg": "bus"}


def test_weights_must_be_numbers_from_zero(read):
    text = csv("file,label,confidence", "a,x,0.5", "b,y,")
    assert [row["confidence"] for row in read(text, *AB).rows] == ["0.5", ""]
    for bad in ("-1", "nan", "inf", "high"):
        with pytest.raises(UserError, match=f"confidence of l.csv are no wei.*\n  line 3: {bad}"):
            read(csv("file,label,confidence", "a,x,0.5", f"b,y,{bad}"))


def test_one_class_and_control_characters_are_refused(read):
    with pytest.raises(UserError, match="l.csv has 1 classes, 'x'. Expected two or more"):
        read(csv("file,label", "a,x", "b,x"), *AB)
    with pytest.raises(UserError, match=r"1 cells of l.csv \(the label\) contain line ends"):
        read(csv("file,label", 'a,"x\ny"', "b,z"))
    noted = read(csv("file,label,note", 'a,x,"1\n2"', "b,z,"))
    assert noted.rows[0]["note"] == "1 2"


@pytest.mark.parametrize("name", ["patient_id", "lesionId", "Video", "subject"])
def test_columns_that_look_like_groups_are_suggested(read, name):
    text = csv(f"file,label,{name}", "a,x,1", "b,y,1", "c,y,2")
    suggestion = f"-S dataset.split.group={name}"
    assert suggestion in read(text, *AB, "c.jpg").notes[-1]
    split = csv(f"file,label,{name},split", "a,x,1,train", "b,y,1,train", "c,y,2,test")
    assert not any(suggestion in note for note in read(split).notes)


def test_each_split_folder_may_have_its_manifest(read, write):
    for split, text in (("train", csv("f,cat,dog", "1.jpg,1,0", "2.jpg,0,1")),
                        ("valid", csv("f,cat,dog", "1.jpg,0,1"))):  # fmt: skip
        write(f"{split}/1.jpg", f"{split}/2.jpg", **{f"{split}/_classes.csv": text})
    manifest = read(csv("f,cat,dog", "1.jpg,1,0"), "test/1.jpg", manifest="test/_classes.csv")
    assert {row["path"]: (row["label"], row["split"]) for row in manifest.rows} == {
        "test/1.jpg": ("cat", "test"),
        "train/1.jpg": ("cat", "train"),
        "train/2.jpg": ("dog", "train"),
        "valid/1.jpg": ("dog", "validation"),
    }
    assert "split = folders test, train, validation" in manifest.notes[0]


def test_several_manifests_stop_and_name_the_parameter(read, write):
    write(**{"k.csv": "x"})
    with pytest.raises(UserError, match="-S dataset.source.path=mine/FILE:\n  k.csv\n  l.csv"):
        read(csv("file,label", "a,x", "b,y"), *AB)
