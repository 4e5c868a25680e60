"""The HTTP interface, by a real server on a loopback port."""

import asyncio
import http.client
import io
import re
import socket
import struct
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.thaw.serve.conftest import LIMITS, Held, listening
from thaw.serve.app import Limits


def png(width: int, height: int) -> bytes:
    """A file whose head says these dimensions, and that holds no more."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def sent(client, *files: tuple[str, bytes], **query) -> httpx.Response:
    return client.post("/predict", files=[("images", file) for file in files], params=query)


def sentence(answer: httpx.Response) -> str:
    """The answer's only content, which is one line."""
    (said,) = answer.json().values()
    assert list(answer.json()) == ["error"] and "\n" not in said and said.endswith(".")
    return said


def test_one_image_has_class_probabilities_and_time(client, photos, served):
    answer = sent(client, ("a.png", photos[0].read_bytes()))
    assert answer.status_code == 200
    assert list(answer.json()) == ["model", "images"] and answer.json()["model"] == "logistic"
    (said,) = answer.json()["images"]
    assert list(said) == ["file", "class", "probability", "probabilities", "milliseconds"]
    assert said["file"] == "a.png" and list(said["probabilities"]) == ["disc", "square"]
    assert said["probability"] == max(said["probabilities"].values())
    assert said["probabilities"][said["class"]] == said["probability"]
    assert 0 < said["milliseconds"] < 20_000
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost:80", "LOCALHOST", "127.0.0.1", "[::1]:8000"])
def test_it_answers_to_names_of_this_machine(client, host):
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "]"],
)
def test_a_page_that_leads_its_own_name_here_reads_nothing(client, photos, host):
    """DNS rebinding: to the browser, answers would come from that page's own server."""
    for answer in (
        client.get("/", headers={"Host": host}),
        client.post("/predict", files={"images": photos[0].read_bytes()}, headers={"Host": host}),
    ):
        assert answer.status_code in (400, 421) and "classes" not in answer.text
        if answer.status_code == 421:
            assert sentence(answer).startswith(f"{host} is no name of this machine's own")


def test_a_server_for_other_machines_answers_to_any_name(served):
    with listening(served, local=False) as address:
        assert httpx.get(f"{address}/health", headers={"Host": "cells:8000"}).status_code == 200


def test_explaining_adds_where_it_looked_and_training_images(client, photos):
    (said,) = sent(client, ("a.png", photos[0].read_bytes()), explain=True).json()["images"]
    explained = said["explanation"]
    assert (explained["map"]["height"], explained["map"]["width"]) == (2, 2)
    assert [list(each) for each in explained["neighbours"]] == [
        ["file", "label", "similarity", "picture"]
    ] * 4
    assert explained["picture"].startswith("data:image/jpeg;base64,")


def test_training_images_that_are_gone_spoil_no_answer(served, photos, tmp_path, monkeypatch):
    """As where a run beside the server rewrites data/."""
    monkeypatch.chdir(tmp_path)
    with listening(served) as address, httpx.Client(base_url=address, timeout=30) as client:
        answer = sent(client, ("a.png", photos[0].read_bytes()), explain=True)
    assert answer.status_code == 200
    explained = answer.json()["images"][0]["explanation"]
    assert explained["neighbours"] is None and explained["map"]["height"] == 2


def test_a_queue_for_more_files_than_starlette_reads_takes_them(served):
    limits = Limits(**{**vars(LIMITS), "queue": 1100})
    with listening(served, limits) as address, httpx.Client(base_url=address) as client:
        answer = sent(client, *[("a", b"")] * 1100)
        assert answer.status_code == 200
        assert [each["error"] for each in answer.json()["images"]] == ["zero bytes"] * 1100
        refused = sent(client, *[("a", b"")] * 1101)
    assert refused.status_code == 400
    assert sentence(refused) == "Too many files. Maximum number of files is 1100."


def test_an_image_that_waits_keeps_no_bytes_of_its_file(served, photos):
    held = Held(served)
    content = photos[0].read_bytes() + bytes(20_000_000)
    limits = Limits(**{**vars(LIMITS), "bytes": 30_000_000})
    with listening(held, limits) as address, ThreadPoolExecutor(1) as pool:
        httpx.get(f"{address}/health")
        tracemalloc.start()
        try:
            files = {"images": ("a.png", io.BytesIO(content))}
            waiting = pool.submit(httpx.post, f"{address}/predict", files=files, timeout=30)
            while not held.passes:
                assert not waiting.done()
                time.sleep(0.01)
            kept, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            held.let.set()
        assert waiting.result().status_code == 200
    assert most > 20_000_000 and kept < 10_000_000


def test_of_several_files_each_has_its_answer_or_its_error(client, photos):
    content = photos[0].read_bytes()
    files = [("a.png", content), ("page.jpg", b"<html>404</html>"), ("b.png", content)]
    files += [("cut.png", content[:60]), ("vast.png", png(5000, 5000)), ("empty", b"")]
    answer = sent(client, *files)
    assert answer.status_code == 200
    said = answer.json()["images"]
    assert [each["file"] for each in said] == [name for name, _ in files]
    good = [name in ("a.png", "b.png") for name, _ in files]
    assert ["class" in each for each in said] == good
    assert ["error" in each for each in said] == [not is_good for is_good in good]
    assert said[1] == {"file": "page.jpg", "error": "no image that Pillow can read"}


@pytest.mark.parametrize(
    ("file", "status", "said"),
    [
        (b"<html>404 not found</html>", 415, "no image that Pillow can read."),
        (b"", 422, "zero bytes."),
        (png(1000, 1001), 422, "1,000 x 1,001 pixels are too many: at most 1,000,000 are decoded."),
        (png(2**31 - 1, 2**31 - 1), 422, "2,147,483,647 x 2,147,483,647 pixels are too many"),
    ],
    ids=["rubbish", "empty", "pixels", "bomb"],
)
def test_one_file_that_cannot_be_used_has_a_status_and_a_sentence(client, file, status, said):
    answer = sent(client, ("a.png", file))
    assert answer.status_code == status
    assert sentence(answer).startswith(said)


def test_an_image_that_was_cut_is_refused(client, encoded, picture):
    content = encoded(picture(0, 300, 300), "JPEG")
    answer = sent(client, ("a.jpg", content[: 3 * len(content) // 4]))
    assert answer.status_code == 422 and "truncated" in sentence(answer)


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({}, 400, "nothing was sent: expected one file or more, named images."),
        ({"files": {"image": ("a.png", b"x")}}, 400, "nothing was sent: expected one file"),
        ({"content": b"\x89PNG", "headers": {"Content-Type": "image/png"}}, 415, "image/png: expe"),
        ({"json": {"images": []}}, 415, "application/json: expected multipart/form-data"),
        (
            {"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}},
            400,
            "Missing boundary in multipart.",
        ),
        (
            {"files": {"images": ("a.png", b"x")}, "params": {"explain": "perhaps"}},
            422,
            "explain = 'perhaps': ",
        ),
        ({"files": [("images", ("a", b""))] * 65}, 413, "65 files are too many: at most 64."),
        ({"files": {"images": ("a.png", b"x" * 200_001)}}, 413, "200,"),
    ],
    ids=["empty", "field", "raw", "json", "boundary", "parameter", "files", "bytes"],
)
def test_a_request_that_cannot_be_used_has_a_status_and_a_sentence(client, request_, status, said):
    answer = client.post("/predict", **request_)
    assert answer.status_code == status
    assert sentence(answer).startswith(said)


@pytest.mark.parametrize(("method", "path"), [("GET", "/predict"), ("POST", "/nowhere")])
def test_other_addresses_name_the_documentation(client, method, path):
    answer = client.request(method, path)
    assert answer.status_code in (404, 405) and sentence(answer).endswith("see /docs.")


def test_the_length_is_judged_before_the_body_comes(client):
    """By a client that sends a head and waits."""
    host, port = urlsplit(str(client.base_url)).netloc.split(":")
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x"
        f"\r\nContent-Length: 200001\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_cut_at_the_limit(client):
    connection = http.client.HTTPConnection(urlsplit(str(client.base_url)).netloc, timeout=10)
    taken = 0

    def body():
        nonlocal taken
        yield b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        for _ in range(25):  # 250 kB
            taken += 1
            yield b"x" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/predict", body(), headers, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413 and b"at most 200,000 are taken at once" in answer.read()
    connection.close()


def test_a_full_queue_turns_away_and_says_for_how_long(served, photos):
    held, content = Held(served), photos[0].read_bytes()
    limits = Limits(**{**vars(LIMITS), "queue": 3})

    async def run(address: str) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            files = [("images", ("a.png", content))]
            first = [asyncio.create_task(client.post("/predict", files=files)) for _ in range(3)]
            while (await client.get("/health")).json()["images"] < 3:
                await asyncio.sleep(0.01)
            refused = await client.post("/predict", files=files)
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) >= 1
            assert sentence(refused).startswith("too many images are waiting: try again in ")
            held.let.set()
            assert [answer.status_code for answer in await asyncio.gather(*first)] == [200] * 3
            assert (await client.post("/predict", files=files)).status_code == 200

    with listening(held, limits) as address:
        asyncio.run(run(address))


def test_what_takes_too_long_is_given_up_and_the_next_is_answered(served, photos):
    held, content = Held(served), photos[0].read_bytes()
    limits = Limits(**{**vars(LIMITS), "seconds": 0.4})
    with listening(held, limits) as address, httpx.Client(base_url=address) as client:
        answer = sent(client, ("a.png", content))
        assert answer.status_code == 504
        assert sentence(answer) == "this took longer than 0.4 seconds and was given up."
        held.let.set()
        while client.get("/health").json()["images"]:
            time.sleep(0.01)
        assert sent(client, ("a.png", content)).status_code == 200
        # a body that does not come
        host, port = urlsplit(address).netloc.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 504 ")


def test_fifty_clients_at_once_have_the_answers_that_each_would_have_alone(client, photos):
    contents = [photo.read_bytes() for photo in photos[:8]]
    alone = [sent(client, ("a.png", c)).json()["images"][0]["probabilities"] for c in contents]

    async def run() -> list:
        async with httpx.AsyncClient(
            base_url=client.base_url, timeout=30, limits=httpx.Limits(max_connections=50)
        ) as many:
            files = [("images", ("a.png", contents[n % len(contents)])) for n in range(50)]
            return await asyncio.gather(*(many.post("/predict", files=[each]) for each in files))

    for n, answer in enumerate(asyncio.run(run())):
        (said,) = answer.json()["images"]
        expected = alone[n % len(contents)]
        assert said["probabilities"] == pytest.approx(expected, abs=2e-6)  # rounded to 1e-6


def test_pictures_of_other_kinds_are_read_as_predict_reads_them(client, picture):
    file = io.BytesIO()
    Image.fromarray(picture()).convert("L").save(file, "TIFF")
    assert sent(client, ("a.tif", file.getvalue())).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_ask_for_nothing_elsewhere(client, path):
    answer = client.get(path)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    found = re.findall(r'(?:src|href|action)="([^"]*)"', answer.text)
    assert found and all(each.startswith(("/", "#", "data:")) for each in found)
    assert not re.search(r"https?://(?!127\.0\.0\.1)", answer.text)


def test_the_documentation_has_every_status_and_field(client):
    openapi = client.get("/openapi.json").json()
    assert set(openapi["paths"]) == {"/predict", "/health"}
    docs = client.get("/docs").text
    answers = openapi["paths"]["/predict"]["post"]["responses"]
    assert set(answers) == {"200", "400", "413", "415", "421", "422", "503", "504"}
    for status, answer in answers.items():
        assert f'<th scope="row">{status}</th>' in docs
        assert status == "200" or answer["description"] in docs
    for name in ("milliseconds", "probabilities", "neighbours", "similarity", "explain"):
        assert f'<th scope="row">{name}</th>' in docs
