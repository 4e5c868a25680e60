import csv

import numpy as np
import pytest
import yaml

from stages import preprocess
from thaw.data.raw import encode_png, packed_archive
from thaw.errors import UserError
from thaw.storage.arrays import ArrayFolder
from thaw.storage.shards import SharedShards
from thaw.storage.shared_images import SharedImages
from thaw.storage.tables import SOURCE_COLUMNS


@pytest.fixture
def preprocessed(tmp_path, monkeypatch):
    """Return a function that packs and preprocesses images, given as pixels or as bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    (tmp_path / "data" / "raw").mkdir(parents=True)

    def run(
        pictures: list, archive: str, on_bad_image: str = "stop", labels: str = "a"
    ) -> list[dict]:
        image = {"size": 8, "resampling": "bicubic", "colour": "grey"}
        parameters = {"dataset": {"image": image, "on_bad_image": on_bad_image}}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(parameters))
        with (
            packed_archive(tmp_path / "data" / "raw" / archive) as add,
            open("data/raw/index.csv", "w", newline="") as file,
        ):
            table = csv.DictWriter(file, SOURCE_COLUMNS, restval="")
            table.writeheader()
            for number, picture in enumerate(pictures):
                content = picture if isinstance(picture, bytes) else encode_png(picture)
                label = labels[number % len(labels)]
                table.writerow({"path": add(f"{label}/{number}.png", content), "label": label})
        preprocess.main()
        with open("data/index.csv", newline="") as file:
            return list(csv.DictReader(file))

    return run


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (700, 8, 8), dtype="uint8"))


@pytest.mark.parametrize("shard", [2**24, 1])
def test_images_in_an_archive_are_decoded_exactly(preprocessed, pictures, monkeypatch, shard):
    monkeypatch.setattr("thaw.data.preprocessing.SHARD_BYTES", shard)  # one shard, or shards of 256
    rows = preprocessed(pictures, "train.zip")
    images = ArrayFolder("data/images")
    assert len(rows) == len(images) == 700
    for row, pixels in zip(rows, pictures, strict=True):
        assert np.array_equal(images[row["pixel_sha256"]][..., 0], pixels)


def test_images_are_uploaded_if_the_store_has_an_address(preprocessed, pictures, monkeypatch):
    monkeypatch.setenv("THAW_STORE", "memory://preprocessed")
    rows = preprocessed(pictures[:5], "train.zip")
    shared = SharedImages((8, 8, 1), {}.__getitem__)  # cannot write any
    places = shared.rows([row["pixel_sha256"] for row in rows])
    read = SharedShards(shared.address).read(places, (8, 8, 1), "uint8")
    assert np.array_equal(read[..., 0], pictures[:5])


def test_bad_images_are_listed_by_their_path_in_the_users_archive(preprocessed, pictures):
    with pytest.raises(UserError, match="2 of 4 images cannot be read.*\n  a/1.png: zero bytes\n"):
        preprocessed([pictures[0], b"", pictures[1], b"?"], "images.zip")
    rows = preprocessed([pictures[0], b"", pictures[1], b"?"], "images.zip", "skip")
    assert [bool(row["problem"]) for row in rows] == [False, True, False, True]


def test_truncated_images_are_used_and_listed_on_request(preprocessed, encoded, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype="uint8")
    whole, second, other = (encoded(pixels, "JPEG") for pixels in noise)
    cut = second[: len(second) // 2]
    rows = preprocessed([whole, cut, other], "images.zip", "truncate")
    said = capsys.readouterr().out
    assert [row["problem"] for row in rows] == ["", "", ""]
    assert [bool(row["truncated"]) for row in rows] == [False, True, False]
    images = ArrayFolder("data/images")
    assert len(images) == 3
    pixels = images[rows[1]["pixel_sha256"]]
    assert np.array_equal(pixels[:2], images_of(preprocessed, [second])[:2])
    assert "1 of 3 images are truncated and used without their end:\n  a/1.png: image" in said
    # other runs do not find its pixels in the store
    with pytest.raises(UserError, match="1 of 3 images cannot be read.*\n  a/1.png: image file"):
        preprocessed([whole, cut, other], "images.zip")
    assert [*preprocessed([whole, cut], "images.zip", "skip")[0]][-1] == "problem"
    with pytest.raises(UserError, match="1 of 2 images cannot be read.*\n  a/1.png: zero bytes"):
        preprocessed([cut, b""], "images.zip", "truncate")


def images_of(preprocessed, pictures: list) -> np.ndarray:
    rows = preprocessed(pictures, "images.zip")
    return ArrayFolder("data/images")[rows[0]["pixel_sha256"]]


def test_a_class_that_loses_all_its_images_stops_the_run(preprocessed, pictures):
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
    message = "no image of 1 of 2 classes.*\n  b: 2 files, such as b/1.png: HEIC that is damaged"
    with pytest.raises(UserError, match=message):
        preprocessed([pictures[0], heic, pictures[1], heic], "images.zip", "skip", "ab")


@pytest.mark.parametrize("brightest", [63, 64])
def test_dark_images_suggest_a_lower_bit_depth(preprocessed, pictures, capsys, brightest):
    preprocessed([np.minimum(picture, brightest) for picture in pictures[:3]], "train.zip")
    output = capsys.readouterr().out
    assert ("The brightest pixel of all images is 63 of 255" in output) == (brightest == 63)
    assert ("-S dataset.image.bit_depth=12" in output) == (brightest == 63)
