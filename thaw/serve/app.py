"""The web application: the page, `POST /predict`, `GET /health` and the documentation."""

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, File, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from thaw.errors import UserError
from thaw.report.thumbnails import thumbnail
from thaw.serve import pages
from thaw.serve.batch_queue import BatchQueue, QueueFull
from thaw.serve.guard import Guard
from thaw.serve.predictor import Prediction, Predictor
from thaw.serve.uploads import UploadError, decode_upload

DIGITS = 6  # decimal places of probabilities in responses
PICTURE_SIZE = 320  # pixels; of the picture that a response explains
STARLETTE_MAX_FILES = 1000  # files in one request that Starlette accepts by default


@dataclass
class Limits:
    """Limits for requests.

    Attributes:
        bytes: the largest request body.
        pixels: the largest image, width times height before it is resized.
        queue: the largest number of images that wait or are processed at once.
        seconds: the longest duration of a request.
    """

    bytes: int
    pixels: int
    queue: int
    seconds: float


class Heatmap(BaseModel):
    """The Grad-CAM map of the predicted class: which parts of the image support it."""

    height: int
    width: int
    values: Annotated[
        str, Field(description="base64 of one byte for each cell, row by row; 255: the maximum")
    ]


class SimilarImage(BaseModel):
    """A training image that is similar to the image."""

    file: str
    label: str
    similarity: Annotated[float, Field(description="cosine of the features' spatial averages")]
    picture: Annotated[
        str | None, Field(description="a data URI; null if the image is not on this machine")
    ]


class Explanation(BaseModel):
    """The answers that the parameter `explain` adds."""

    picture: Annotated[str, Field(description="the resized image that the model reads, a data URI")]
    map: Annotated[Heatmap | None, Field(description="null if the model has no feature map")]
    neighbours: Annotated[
        list[SimilarImage] | None,
        Field(description="the most similar training images; null if they are not available"),
    ]


class ImageResult(BaseModel):
    """The result for one file: a prediction or an error."""

    file: str
    error: Annotated[str | None, Field(description="why there is no prediction")] = None
    class_: Annotated[str | None, Field(alias="class", description="the most probable class")] = (
        None
    )
    probability: Annotated[float | None, Field(description="probability of that class")] = None
    probabilities: Annotated[
        dict[str, float] | None, Field(description="probability of each class")
    ] = None
    milliseconds: Annotated[
        float | None, Field(description="time since the upload, waiting included")
    ] = None
    explanation: Explanation | None = None


class Results(BaseModel):
    """The results for all files, in the order of the request."""

    model: str
    images: list[ImageResult]


class Health(BaseModel):
    """The state of the server."""

    status: str
    model: str
    classes: list[str]
    images: Annotated[int, Field(description="images that wait or are processed now")]


class ErrorMessage(BaseModel):
    """Why the request failed."""

    error: Annotated[str, Field(description="the reason, in one line")]


ERRORS = {
    400: "the request contains no file",
    413: "the request has too many bytes or files",
    415: "the file is not an image, or the request is not multipart/form-data",
    421: "the Host header is not a name of this machine",
    422: "the image is damaged or has too many pixels, or a parameter is invalid",
    503: "too many images are waiting; the header Retry-After gives the seconds to wait",
    504: "the request took too long",
}


def create_app(name: str, predictor: Predictor, limits: Limits, local: bool) -> FastAPI:
    """Return the application for one model.

    Args:
        name: the model's name, for the pages and the responses.
        predictor: the loaded model.
        limits: see Limits.
        local: whether to serve this machine only, see thaw.serve.guard.Guard.
    """
    queue = BatchQueue(predictor.predict, predictor.max_batch, limits.queue)
    pool = ThreadPoolExecutor(os.cpu_count(), "decode")
    classes = predictor.bundle.classes

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()
        pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="Thaw",
        summary=f"Classify images into {len(classes)} classes",
        description=f"The model {name} has the classes {', '.join(classes)}.",
        version=version("thaw"),
        docs_url=None,  # FastAPI's own page loads scripts from another server
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, max_bytes=limits.bytes, seconds=limits.seconds, local=local)
    front_page = pages.front_page(name, predictor, limits)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(front_page, headers=pages.HEADERS)

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        url = str(request.base_url).rstrip("/")
        return HTMLResponse(pages.reference_page(app.openapi(), url), headers=pages.HEADERS)

    @app.get("/health")
    async def health() -> Health:
        """Return whether the server runs, its model and how many images it processes."""
        return Health(status="ok", model=name, classes=classes, images=queue.active)

    @app.post(
        "/predict",
        form_limits={"max_files": max(limits.queue, STARLETTE_MAX_FILES)},
        response_model_exclude_unset=True,
        responses={
            status: {"model": ErrorMessage, "description": text} for status, text in ERRORS.items()
        },
    )
    async def predict(
        images: Annotated[
            list[UploadFile], File(description="one or more files: JPEG, PNG, WebP, TIFF, ...")
        ],
        explain: Annotated[
            bool, Query(description="add a Grad-CAM map and the most similar training images")
        ] = False,
    ) -> Results:
        """Return the class and the probabilities of each image.

        If the request has several files, each of them has a prediction or an error. If its only
        file cannot be used, the request fails.
        """
        if len(images) > limits.queue:
            message = f"the request has {len(images)} files. At most {limits.queue} are accepted"
            raise HTTPException(413, message)
        with queue.reserve(len(images)):
            results = await asyncio.gather(
                *(classify(file, number, explain) for number, file in enumerate(images))
            )
        if len(results) == 1 and isinstance(results[0], UploadError):
            raise HTTPException(results[0].status, results[0].message)
        return Results(
            model=name,
            images=[
                ImageResult(file=_name(file, number), error=result.message)
                if isinstance(result, UploadError)
                else result
                for number, (file, result) in enumerate(zip(images, results, strict=True))
            ],
        )

    async def classify(file: UploadFile, number: int, explain: bool) -> ImageResult | UploadError:
        started, loop = time.perf_counter(), asyncio.get_running_loop()
        try:
            pixels = await decode(file)
        except UploadError as error:
            # a copy, since the traceback of `error` keeps the file's bytes in memory
            return UploadError(error.status, error.message)
        prediction: Prediction = await queue.predict(pixels, explain)
        best = classes[prediction.probabilities.argmax()]
        probabilities = {
            label: round(float(p), DIGITS)
            for label, p in zip(classes, prediction.probabilities, strict=True)
        }
        values: dict[str, Any] = {"file": _name(file, number), "class": best}
        values |= {"probability": probabilities[best], "probabilities": probabilities}
        if explain:
            values["explanation"] = await loop.run_in_executor(
                pool, explanation, pixels, prediction
            )
        milliseconds = round(1000 * (time.perf_counter() - started), 1)
        return ImageResult(milliseconds=milliseconds, **values)

    async def decode(file: UploadFile) -> np.ndarray:
        """Return the file's pixels. Its bytes are freed, since the image may wait for long."""
        loop, image = asyncio.get_running_loop(), predictor.bundle.image
        content = await file.read()
        await file.close()
        return await loop.run_in_executor(pool, decode_upload, content, image, limits.pixels)

    def explanation(pixels: np.ndarray, prediction: Prediction) -> Explanation:
        heatmap = None
        if prediction.map is not None:
            height, width = prediction.map.shape
            values = base64.b64encode(prediction.map.tobytes()).decode()
            heatmap = Heatmap(height=height, width=width, values=values)
        similar = None
        # a run in parallel may rewrite data/; the prediction is valid all the same
        with contextlib.suppress(UserError, OSError, ValueError, LookupError):
            if prediction.matches is not None:
                images = predictor.nearest_images.describe(prediction.matches)
                similar = [SimilarImage(**image) for image in images]
        picture = thumbnail(pixels, PICTURE_SIZE)
        return Explanation(picture=picture, map=heatmap, neighbours=similar)

    @app.exception_handler(QueueFull)
    async def queue_full(_: Request, error: QueueFull) -> JSONResponse:
        message = f"too many images are waiting. Try again in {error.retry_seconds} seconds."
        headers = {"Retry-After": f"{error.retry_seconds}"}
        return JSONResponse({"error": message}, 503, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if "images" in first["loc"]:
            message = "the request contains no file. Expected files in the field images."
            return JSONResponse({"error": message}, 400)
        message = f"{first['loc'][-1]} = {first.get('input')!r:.100}: {first['msg']}."
        return JSONResponse({"error": message}, 422)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        path = request.url.path[:100]
        message = {
            404: f"{path} does not exist. See /docs",
            405: f"{path} does not accept {request.method}. See /docs",
        }.get(error.status_code, str(error.detail).removesuffix("."))
        return JSONResponse({"error": f"{message}."}, error.status_code, headers=error.headers)

    @app.exception_handler(500)
    async def model_error(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": f"the model failed: {error!r:.200}."}, 500)

    return app


def _name(file: UploadFile, number: int) -> str:
    return file.filename or f"image {number + 1}"
