import io
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from thaw.data.download.mirror import sha256
from thaw.data.raw import RawFiles
from thaw.data.registry import validate_source
from thaw.errors import UserError
from thaw.sources.published import collect

SHARED = ROOT.parent / "shared" / "data" / "cats_and_dogs_filtered.zip"
FILES = [f"mine/{split}/{label}/1.jpg" for split in ("train", "test") for label in ("a", "b")]


def values(server, content: bytes, digest: str) -> dict:
    server.files["mine.zip"] = content
    url = f"{server.url}mine.zip"
    return {"kind": "published", "url": url, "sha256": digest}


def packed(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return content.getvalue()


def test_archive_is_read_like_a_folder(server, tmp_path):
    content = packed("mine/README.txt", *FILES)
    (tmp_path / "mine.zip").write_bytes(content)
    (tmp_path / "raw").mkdir()
    rows = collect(
        validate_source(values(server, content, sha256(tmp_path / "mine.zip"))), tmp_path / "raw"
    )
    assert [(row["label"], row["split"]) for row in rows] == [
        ("a", "test"), ("b", "test"), ("a", "train"), ("b", "train"),
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["images.zip"]
    with RawFiles(tmp_path / "raw") as raw:
        assert raw.read(rows[0]["path"]) == b"mine/test/a/1.jpg"


def test_messages_name_the_url(server, tmp_path):
    content = packed("mine/a/1.jpg", "mine/a/2.jpg")
    (tmp_path / "mine.zip").write_bytes(content)
    (tmp_path / "raw").mkdir()
    parameters = validate_source(values(server, content, sha256(tmp_path / "mine.zip")))
    with pytest.raises(UserError, match=r"^http://127.*/mine.zip has one class, 'a'. Expected two"):
        collect(parameters, tmp_path / "raw")
    assert not list((tmp_path / "raw").iterdir())


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not on this machine")
def test_cats_and_dogs_from_a_mirror(server, tmp_path, monkeypatch):
    conf = ROOT / "conf" / "dataset" / "cats_dogs.yaml"
    digest = conf.read_text().split("dataset.source.sha256=")[1].split()[0]  # given in a comment
    monkeypatch.setenv("THAW_MIRROR", str(SHARED.parent))
    source = yaml.safe_load(conf.read_text())["source"] | {"sha256": digest}
    rows = collect(validate_source(source), tmp_path)
    counts = [(row["split"], row["label"]) for row in rows]
    assert {key: counts.count(key) for key in counts} == {
        ("train", "cats"): 999,
        ("train", "dogs"): 1000,
        ("validation", "cats"): 500,
        ("validation", "dogs"): 500,
    }
    assert Path(tmp_path / "images.zip").stat().st_size > 60e6
