"""The HTTP API, tested with a server on a loopback port."""

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

from tests.thaw.serve.conftest import LIMITS, BlockedPredictor, listening
from thaw.serve.app import Limits


def png(width: int, height: int) -> bytes:
    """Return a PNG whose header has these dimensions and that has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def post(client, *files: tuple[str, bytes], **query) -> httpx.Response:
    return client.post("/predict", files=[("images", file) for file in files], params=query)


def error_message(response: httpx.Response) -> str:
    """Return the error of a response, which has nothing else."""
    (message,) = response.json().values()
    assert list(response.json()) == ["error"]
    assert "\n" not in message and message.endswith(".")
    return message


def test_one_image_has_class_probabilities_and_time(client, photos):
    response = post(client, ("a.png", photos[0].read_bytes()))
    assert response.status_code == 200
    assert list(response.json()) == ["model", "images"] and response.json()["model"] == "logistic"
    (image,) = response.json()["images"]
    assert list(image) == ["file", "class", "probability", "probabilities", "milliseconds"]
    assert image["file"] == "a.png" and list(image["probabilities"]) == ["disc", "square"]
    assert image["probability"] == max(image["probabilities"].values())
    assert image["probabilities"][image["class"]] == image["probability"]
    assert 0 < image["milliseconds"] < 20_000
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost:80", "LOCALHOST", "127.0.0.1", "[::1]:8000"])
def test_hosts_that_name_this_machine_are_accepted(client, host):
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "]"],
)
def test_other_hosts_are_rejected(client, photos, host):
    """A page whose name resolves to this machine (DNS rebinding) cannot read the responses."""
    for response in (
        client.get("/", headers={"Host": host}),
        client.post("/predict", files={"images": photos[0].read_bytes()}, headers={"Host": host}),
    ):
        assert response.status_code in (400, 421) and "classes" not in response.text
        if response.status_code == 421:
            assert error_message(response).startswith(
                f"the Host header is {host}. Expected localhost"
            )


def test_a_server_for_other_machines_accepts_any_host(predictor):
    with listening(predictor, local=False) as address:
        assert httpx.get(f"{address}/health", headers={"Host": "cells:8000"}).status_code == 200


def test_explain_adds_a_map_and_similar_training_images(client, photos):
    (image,) = post(client, ("a.png", photos[0].read_bytes()), explain=True).json()["images"]
    explanation = image["explanation"]
    assert (explanation["map"]["height"], explanation["map"]["width"]) == (2, 2)
    assert [list(each) for each in explanation["neighbours"]] == [
        ["file", "label", "similarity", "picture"]
    ] * 4
    assert explanation["picture"].startswith("data:image/jpeg;base64,")


def test_predictions_work_without_the_training_images(predictor, photos, tmp_path, monkeypatch):
    """A run in parallel may rewrite data/."""
    monkeypatch.chdir(tmp_path)
    with listening(predictor) as address, httpx.Client(base_url=address, timeout=30) as client:
        response = post(client, ("a.png", photos[0].read_bytes()), explain=True)
    assert response.status_code == 200
    explanation = response.json()["images"][0]["explanation"]
    assert explanation["neighbours"] is None and explanation["map"]["height"] == 2


def test_a_large_queue_raises_starlettes_limit_of_files(predictor):
    limits = Limits(**{**vars(LIMITS), "queue": 1100})
    with listening(predictor, limits) as address, httpx.Client(base_url=address) as client:
        response = post(client, *[("a", b"")] * 1100)
        assert response.status_code == 200
        assert [each["error"] for each in response.json()["images"]] == ["zero bytes"] * 1100
        refused = post(client, *[("a", b"")] * 1101)
    assert refused.status_code == 400
    assert error_message(refused) == "Too many files. Maximum number of files is 1100."


def test_a_waiting_image_does_not_keep_its_file_in_memory(predictor, photos):
    blocked = BlockedPredictor(predictor)
    content = photos[0].read_bytes() + bytes(20_000_000)
    limits = Limits(**{**vars(LIMITS), "bytes": 30_000_000})
    with listening(blocked, limits) as address, ThreadPoolExecutor(1) as pool:
        httpx.get(f"{address}/health")
        tracemalloc.start()
        try:
            files = {"images": ("a.png", io.BytesIO(content))}
            waiting = pool.submit(httpx.post, f"{address}/predict", files=files, timeout=30)
            while not blocked.batches:
                assert not waiting.done()
                time.sleep(0.01)
            kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            blocked.release.set()
        assert waiting.result().status_code == 200
    assert peak > 20_000_000 and kept < 10_000_000


def test_each_of_several_files_has_a_prediction_or_an_error(client, photos):
    content = photos[0].read_bytes()
    files = [("a.png", content), ("page.jpg", b"<html>404</html>"), ("b.png", content)]
    files += [("cut.png", content[:60]), ("vast.png", png(5000, 5000)), ("empty", b"")]
    response = post(client, *files)
    assert response.status_code == 200
    images = response.json()["images"]
    assert [each["file"] for each in images] == [name for name, _ in files]
    good = [name in ("a.png", "b.png") for name, _ in files]
    assert ["class" in each for each in images] == good
    assert ["error" in each for each in images] == [not is_good for is_good in good]
    assert images[1] == {"file": "page.jpg", "error": "an HTML page, not an image"}


@pytest.mark.parametrize(
    ("file", "status", "message"),
    [
        (b"<html>404 not found</html>", 415, "an HTML page, not an image."),
        (b"", 422, "zero bytes."),
        (png(1000, 1001), 422, "the image has 1,000 x 1,001 pixels. At most 1,000,000 are"),
        (png(2**31 - 1, 2**31 - 1), 422, "the image has 2,147,483,647 x 2,147,483,647 pixels"),
    ],
    ids=["html", "empty", "pixels", "bomb"],
)
def test_one_invalid_file_has_a_status_and_a_message(client, file, status, message):
    response = post(client, ("a.png", file))
    assert response.status_code == status
    assert error_message(response).startswith(message)


def test_a_truncated_image_is_refused(client, encoded, picture):
    content = encoded(picture(0, 300, 300), "JPEG")
    response = post(client, ("a.jpg", content[: 3 * len(content) // 4]))
    assert response.status_code == 422 and "truncated" in error_message(response)


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({}, 400, "the request is empty. Expected files in the field images."),
        ({"files": {"image": ("a.png", b"x")}}, 400, "the request contains no file. Expected"),
        (
            {"content": b"\x89PNG", "headers": {"Content-Type": "image/png"}},
            415,
            "the content type is image/png. Expected multipart/form-data",
        ),
        ({"json": {"images": []}}, 415, "the content type is application/json. Expected multi"),
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
        ({"files": [("images", ("a", b""))] * 65}, 413, "the request has 65 files. At most 64 are"),
        ({"files": {"images": ("a.png", b"x" * 200_001)}}, 413, "the request has 200,"),
    ],
    ids=["empty", "field", "raw", "json", "boundary", "parameter", "files", "bytes"],
)
def test_an_invalid_request_has_a_status_and_a_message(client, request_, status, message):
    response = client.post("/predict", **request_)
    assert response.status_code == status
    assert error_message(response).startswith(message)


@pytest.mark.parametrize(("method", "path"), [("GET", "/predict"), ("POST", "/nowhere")])
def test_unknown_paths_and_methods_refer_to_the_documentation(client, method, path):
    response = client.request(method, path)
    assert response.status_code in (404, 405) and error_message(response).endswith("See /docs.")


def test_the_length_is_checked_before_the_body_arrives(client):
    """With a client that sends the headers and waits."""
    host, port = urlsplit(str(client.base_url)).netloc.split(":")
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x"
        f"\r\nContent-Length: 200001\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_limited(client):
    connection = http.client.HTTPConnection(urlsplit(str(client.base_url)).netloc, timeout=10)
    chunks = 0

    def body():
        nonlocal chunks
        yield b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        for _ in range(25):  # 250 kB
            chunks += 1
            yield b"x" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/predict", body(), headers, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413 and b"At most 200,000 are accepted" in response.read()
    connection.close()


def test_a_full_queue_rejects_images_with_a_time_to_retry(predictor, photos):
    blocked, content = BlockedPredictor(predictor), photos[0].read_bytes()
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
            assert error_message(refused).startswith("too many images are waiting. Try again in ")
            blocked.release.set()
            assert [response.status_code for response in await asyncio.gather(*first)] == [200] * 3
            assert (await client.post("/predict", files=files)).status_code == 200

    with listening(blocked, limits) as address:
        asyncio.run(run(address))


def test_a_slow_request_times_out_and_the_next_succeeds(predictor, photos):
    blocked, content = BlockedPredictor(predictor), photos[0].read_bytes()
    limits = Limits(**{**vars(LIMITS), "seconds": 0.4})
    with listening(blocked, limits) as address, httpx.Client(base_url=address) as client:
        response = post(client, ("a.png", content))
        assert response.status_code == 504
        assert (
            error_message(response) == "the request took longer than 0.4 seconds and was cancelled."
        )
        blocked.release.set()
        while client.get("/health").json()["images"]:
            time.sleep(0.01)
        assert post(client, ("a.png", content)).status_code == 200
        # a body that never arrives
        host, port = urlsplit(address).netloc.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 504 ")


def test_fifty_clients_at_once_have_the_same_results_as_one(client, photos):
    contents = [photo.read_bytes() for photo in photos[:8]]
    alone = [post(client, ("a.png", c)).json()["images"][0]["probabilities"] for c in contents]

    async def run() -> list:
        async with httpx.AsyncClient(
            base_url=client.base_url, timeout=30, limits=httpx.Limits(max_connections=50)
        ) as many:
            files = [("images", ("a.png", contents[n % len(contents)])) for n in range(50)]
            return await asyncio.gather(*(many.post("/predict", files=[each]) for each in files))

    for n, response in enumerate(asyncio.run(run())):
        (image,) = response.json()["images"]
        expected = alone[n % len(contents)]
        assert image["probabilities"] == pytest.approx(expected, abs=2e-6)  # rounded to 1e-6


def test_other_image_formats_are_read_as_by_predict(client, picture):
    file = io.BytesIO()
    Image.fromarray(picture()).convert("L").save(file, "TIFF")
    assert post(client, ("a.tif", file.getvalue())).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_respond_to_head(client, path):
    response = client.head(path)
    assert response.status_code == 200 and not response.content


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_other_servers(client, path):
    response = client.get(path)
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    links = re.findall(r'(?:src|href|action)="([^"]*)"', response.text)
    assert links and all(each.startswith(("/", "#", "data:")) for each in links)
    assert not re.search(r"https?://(?!127\.0\.0\.1)", response.text)


def test_the_documentation_lists_every_status_and_field(client):
    openapi = client.get("/openapi.json").json()
    assert set(openapi["paths"]) == {"/predict", "/health"}
    docs = client.get("/docs").text
    responses = openapi["paths"]["/predict"]["post"]["responses"]
    assert set(responses) == {"200", "400", "413", "415", "421", "422", "503", "504"}
    for status, response in responses.items():
        assert f'<th scope="row">{status}</th>' in docs
        assert status == "200" or response["description"] in docs
    for name in ("milliseconds", "probabilities", "neighbours", "similarity", "explain"):
        assert f'<th scope="row">{name}</th>' in docs
