"""The stages scan, download, preprocess and split on images at an address."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages import download, preprocess, scan, split
from tests.conftest import ROOT
from thaw.errors import UserError
from thaw.storage.remote import Remote


def draw(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype="uint8")
    Image.fromarray(pixels).save(file)


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> Path:
    """Return a folder with 20 images of two classes, a note and leftovers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    folder = tmp_path / "bucket" / "pets"
    for number in range(20):
        draw(folder / ["cat", "dög #1"][number % 2] / f"{number} é%.png", number)
    (folder / "README.txt").write_text("pets")
    draw(folder / ".trash" / "old.png", 99)
    return folder


@pytest.fixture
def transfers(monkeypatch) -> list[str]:
    """Return a list to which the name of every object is added that is transferred."""
    names: list[str] = []
    for method in ("read", "_receive"):
        original = getattr(Remote, method)

        def record(self, file, *rest, original=original):
            names.append(Path(file.path).name)
            return original(self, file, *rest)

        monkeypatch.setattr(Remote, method, record)
    return names


def choose(path: str, kind: str = "folder", **source) -> None:
    dataset = yaml.safe_load((ROOT / f"conf/dataset/{kind}.yaml").read_text())
    dataset["source"] |= {"path": path, **source}
    dataset["image"]["size"] = 8
    Path("params.yaml").write_text(yaml.safe_dump({"dataset": dataset}))


def run() -> bytes:
    scan.main("folder")
    for stage in (download, preprocess, split):
        stage.main()
    return Path("data/index.csv").read_bytes() + Path("data/split.csv").read_bytes()


def test_a_remote_folder_gives_what_the_local_folder_gives(bucket, transfers):
    choose(str(bucket))
    local = run()
    for keep_raw in (True, False):
        choose(f"file://{bucket}", keep_raw=keep_raw)
        transfers.clear()
        assert run() == local
        assert len(transfers) == 20 and "old.png" not in transfers and "README.txt" not in transfers
        assert Path("data/raw/images").exists() == keep_raw


@pytest.mark.parametrize("keep_raw", [True, False])
def test_only_new_and_changed_objects_are_transferred(bucket, transfers, keep_raw):
    choose(f"file://{bucket}", keep_raw=keep_raw)
    run()
    before = Path("data/inventory.csv").read_bytes()
    transfers.clear()
    run()
    assert not transfers and Path("data/inventory.csv").read_bytes() == before
    draw(bucket / "cat" / "new.png", 30)
    draw(bucket / "cat" / "0 é%.png", 31)
    (bucket / "cat" / "2 é%.png").unlink()
    run()
    assert sorted(transfers) == ["0 é%.png", "new.png"]


def test_a_damaged_object_in_the_store_is_downloaded_again(bucket, transfers, capsys):
    choose(f"file://{bucket}")
    before = run()
    kept = next(Path("store/objects").glob("*/*-3 é%.png"))
    kept.write_bytes(bytes([255]) + kept.read_bytes()[1:])
    transfers.clear()
    assert run() == before and transfers == ["3 é%.png"]
    assert "was truncated or modified and is downloaded again" in capsys.readouterr().out


def test_a_remote_manifest_gives_what_the_local_one_gives(bucket, transfers):
    rows = [f"{['cat', 'dög #1'][n % 2]}/{n} é%.png,{'xy'[n % 2]}" for n in range(16)]
    (bucket / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    choose(f"{bucket}/labels.csv", "manifest")
    local = run()
    for path, images, keep_raw in (
        (f"file://{bucket}/labels.csv", None, True),
        (f"file://{bucket}", None, True),
        (f"{bucket}/labels.csv", f"file://{bucket}", True),
        (f"file://{bucket}/labels.csv", f"file://{bucket}", False),
        (f"file://{bucket}/labels.csv", str(bucket), True),
    ):
        shutil.rmtree("store")
        transfers.clear()
        choose(path, "manifest", images=images, keep_raw=keep_raw)
        assert run() == local, (path, images)
        remote_images = 16 if images != str(bucket) else 0
        assert len(transfers) == remote_images + path.startswith("file:"), (path, images)


def test_a_manifest_apart_from_its_images_is_read(bucket, transfers):
    images = shutil.move(bucket, bucket.parent / "other")
    (bucket / "below").mkdir(parents=True)
    rows = [f"{n},{['cat', 'dög #1'][n % 2]}/{n} é%.png,{'xy'[n % 2]}" for n in range(16)]
    text = "\n".join(["number,file,label", *rows]) + "\n"
    (bucket / "below" / "labels.csv").write_text(text)
    choose(f"file://{bucket}", "manifest", images=str(images))
    run()
    listed = Path("data/inventory.csv").read_text()
    assert "images/cat/0 é%.png," in listed and "below/labels.csv," in listed
    table = Path("data/split.csv").read_text()
    shutil.copytree(images, bucket / "below", dirs_exist_ok=True)
    choose(f"file://{bucket}", "manifest", keep_raw=False)
    run()
    assert Path("data/split.csv").read_text() == table


def test_a_remote_archive_is_downloaded_once(bucket, server, transfers):
    archive = Path(shutil.make_archive("pets", "zip", bucket))
    choose(str(archive))
    local = run()
    server.files["pets.zip?token=1"] = archive.read_bytes()
    choose(f"{server.url}pets.zip?token=1")
    assert run() == local and run() == local
    assert transfers == ["pets.zip?token=1"]
    server.files["pets.zip?token=1"] = b"\0" + archive.read_bytes()  # another size
    run()
    assert len(transfers) == 2


def test_a_truncated_download_is_repeated_and_then_reported(bucket, server, monkeypatch):
    server.files["pets.zip"] = Path(shutil.make_archive("pets", "zip", bucket)).read_bytes()
    choose(f"{server.url}pets.zip")
    server.disconnect_at = [100, 100]
    run()
    shutil.rmtree("store")
    server.disconnect_at = [100, 100, 100]
    with pytest.raises(UserError, match="pets.zip.*Run the same command again to continue"):
        run()
    run()


def test_an_object_that_vanished_after_the_listing_is_reported(bucket, monkeypatch):
    choose(f"file://{bucket}")
    scan.main("folder")
    listed = Remote.files

    def files(self):
        found = listed(self)
        (bucket / "cat" / "0 é%.png").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Remote, "files", files)
    with pytest.raises(UserError, match="0 é%.png was listed and does not exist any more"):
        download.main()
    assert not Path("data/raw").exists()
    run()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file:///nowhere/at/all", "no object below this address"),
        ("https://example.org/photos", "a web server cannot list a folder"),
        ("http://127.0.0.1:9/pets.zip", r"pets.zip cannot be reached \("),
        ("xyz://bucket/pets", "Protocol not known: xyz. Expected an address such as s3://"),
        ("gs://bucket/pets", "gs:// needs a missing package"),
    ],
)
def test_addresses_that_cannot_be_read_give_one_message(bucket, path, message):
    choose(path)
    with pytest.raises(UserError, match=message) as error:
        scan.main("folder")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["photos", "s3://bucket/photos.zip"])
def test_raw_files_are_kept_unless_single_objects_are_at_an_address(bucket, path):
    choose(path, keep_raw=False)
    with pytest.raises(UserError, match="keep_raw.*false needs the address of a folder"):
        run()
