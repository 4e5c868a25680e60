"""The application: the page, `POST /predict`, its documentation, and `GET /health`."""

import asyncio
import base64
import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated

import numpy as np
from fastapi import FastAPI, File, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from thaw.errors import UserError
from thaw.report.thumbnails import thumbnail
from thaw.serve import pages
from thaw.serve.batches import Batches, Full
from thaw.serve.guard import Guard
from thaw.serve.network import Answer, Predictor
from thaw.serve.uploads import Unusable, pixels

DIGITS = 6
LARGE = 320
"""Pixels."""
FILES = 1000
"""Of a request, that Starlette reads unless it is told another number."""


@dataclass
class Limits:
    """What a client may ask for.

    Attributes:
        bytes: of a request's body.
        pixels: of an image, before it is resized.
        queue: images that wait or are worked on at once.
        seconds: of a request.
    """

    bytes: int
    pixels: int
    queue: int
    seconds: float


class Map(BaseModel):
    """Where in the image the likeliest class was seen (Grad-CAM)."""

    height: int
    width: int
    values: Annotated[str, Field(description="base64, a byte a place, row by row; 255: most")]


class Neighbour(BaseModel):
    """A training image."""

    file: str
    label: str
    similarity: Annotated[float, Field(description="cosine of features averaged over the image")]
    picture: Annotated[str | None, Field(description="a data URI; null: it is not here")]


class Explanation(BaseModel):
    """What the parameter explain adds."""

    picture: Annotated[str, Field(description="what the model sees, as a data URI")]
    map: Annotated[Map | None, Field(description="null: the model has no feature map")]
    neighbours: Annotated[
        list[Neighbour] | None,
        Field(description="the most similar training images; null: they are not here"),
    ]


class ImageAnswer(BaseModel):
    """Of one file: either what it shows, or an error."""

    file: str
    error: Annotated[str | None, Field(description="why there is no answer")] = None
    class_: Annotated[str | None, Field(alias="class", description="the likeliest")] = None
    probability: Annotated[float | None, Field(description="of that class")] = None
    probabilities: Annotated[dict[str, float] | None, Field(description="by class")] = None
    milliseconds: Annotated[float | None, Field(description="waiting included")] = None
    explanation: Explanation | None = None


class Answers(BaseModel):
    """Of all files, in their order."""

    model: str
    images: list[ImageAnswer]


class Health(BaseModel):
    """The server answers."""

    status: str
    model: str
    classes: list[str]
    images: Annotated[int, Field(description="that wait or are worked on now")]


class Problem(BaseModel):
    """Why there is no answer."""

    error: Annotated[str, Field(description="one sentence")]


PROBLEMS = {
    400: "nothing was sent",
    413: "the request has too many bytes or files",
    415: "the file is no image, or the request no multipart/form-data",
    421: "its header Host is no name of the machine that is asked",
    422: "the image is damaged or has too many pixels, or a parameter is wrong",
    503: "too many images wait; the header Retry-After says for how many seconds to stay away",
    504: "it took too long",
}


def application(name: str, served: Predictor, limits: Limits, local: bool) -> FastAPI:
    """The application for one model, named `name`; `local` as thaw.serve.guard.Guard."""
    batches = Batches(served.answers, served.most, limits.queue)
    pool = ThreadPoolExecutor(os.cpu_count(), "decode")

    @contextlib.asynccontextmanager
    async def lifespan(_):
        yield
        batches.close()
        pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="Thaw",
        summary=f"Images in, the probabilities of {len(served.trained.classes)} classes out.",
        description=f"The model {name}: {', '.join(served.trained.classes)}.",
        version=version("thaw"),
        docs_url=None,  # FastAPI's own loads its script from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, most_bytes=limits.bytes, seconds=limits.seconds, local=local)
    front = pages.front(name, served, limits)

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(front, headers=pages.HEADERS)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        url = str(request.base_url).rstrip("/")
        return HTMLResponse(pages.reference(app.openapi(), url), headers=pages.HEADERS)

    @app.get("/health")
    async def health() -> Health:
        """Whether the server answers, for what model, and how busy it is."""
        return Health(
            status="ok", model=name, classes=served.trained.classes, images=batches.inside
        )

    @app.post(
        "/predict",
        form_limits={"max_files": max(limits.queue, FILES)},
        response_model_exclude_unset=True,
        responses={
            status: {"model": Problem, "description": said} for status, said in PROBLEMS.items()
        },
    )
    async def predict(
        images: Annotated[
            list[UploadFile], File(description="one file or more: JPEG, PNG, WebP, TIFF, ...")
        ],
        explain: Annotated[
            bool, Query(description="add where the model looked, and similar training images")
        ] = False,
    ) -> Answers:
        """Classes and probabilities of images.

        Of one file that cannot be read the answer is an error; where several were sent, each file
        has its answer or its error.
        """
        if len(images) > limits.queue:
            raise HTTPException(413, f"{len(images)} files are too many: at most {limits.queue}")
        with batches.let_in(len(images)):
            said = await asyncio.gather(
                *(one(file, number, explain) for number, file in enumerate(images))
            )
        if len(said) == 1 and isinstance(said[0], Unusable):
            raise HTTPException(said[0].status, said[0].said)
        return Answers(
            model=name,
            images=[
                ImageAnswer(file=_name(file, number), error=each.said)
                if isinstance(each, Unusable)
                else each
                for number, (file, each) in enumerate(zip(images, said, strict=True))
            ],
        )

    async def one(file: UploadFile, number: int, explain: bool) -> ImageAnswer | Unusable:
        started, loop = time.perf_counter(), asyncio.get_running_loop()
        try:
            given = await decoded(file)
        except Unusable as unusable:
            return Unusable(unusable.status, unusable.said)  # without a traceback, which has bytes
        answer: Answer = await batches.answer(given, explain)
        best = served.trained.classes[answer.probabilities.argmax()]
        each = {
            label: round(float(p), DIGITS)
            for label, p in zip(served.trained.classes, answer.probabilities, strict=True)
        }
        told = {"file": _name(file, number), "class": best, "probability": each[best]}
        told["probabilities"] = each
        if explain:
            told["explanation"] = await loop.run_in_executor(pool, explanation, given, answer)
        return ImageAnswer(milliseconds=round(1000 * (time.perf_counter() - started), 1), **told)

    async def decoded(file: UploadFile) -> np.ndarray:
        """Its pixels; its bytes are let go, since these may wait long for their turn."""
        loop, image = asyncio.get_running_loop(), served.trained.image
        content = await file.read()
        await file.close()
        return await loop.run_in_executor(pool, pixels, content, image, limits.pixels)

    def explanation(given: np.ndarray, answer: Answer) -> Explanation:
        found = None
        if answer.map is not None:
            height, width = answer.map.shape
            values = base64.b64encode(answer.map.tobytes()).decode()
            found = Map(height=height, width=width, values=values)
        like = None
        # a run beside the server may rewrite data/, which spoils no answer
        with contextlib.suppress(UserError, OSError, ValueError, LookupError):
            like = None if answer.like is None else served.neighbours.told(answer.like)
        return Explanation(picture=thumbnail(given, LARGE), map=found, neighbours=like)

    @app.exception_handler(Full)
    async def full(_, error: Full) -> JSONResponse:
        said = f"too many images are waiting: try again in {error.retry} seconds."
        return JSONResponse({"error": said}, 503, headers={"Retry-After": f"{error.retry}"})

    @app.exception_handler(RequestValidationError)
    async def invalid(_, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if "images" in first["loc"]:
            said = "nothing was sent: expected one file or more, named images."
            return JSONResponse({"error": said}, 400)
        said = f"{first['loc'][-1]} = {first.get('input')!r:.100}: {first['msg']}."
        return JSONResponse({"error": said}, 422)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        said = {
            404: f"there is no {request.url.path[:100]} here: see /docs",
            405: f"{request.url.path[:100]} takes no {request.method}: see /docs",
        }.get(error.status_code, str(error.detail).removesuffix("."))
        return JSONResponse({"error": f"{said}."}, error.status_code, headers=error.headers)

    @app.exception_handler(500)
    async def failed(_, error: Exception) -> JSONResponse:
        return JSONResponse({"error": f"the model failed: {error!r:.200}."}, 500)

    return app


def _name(file: UploadFile, number: int) -> str:
    return file.filename or f"image {number + 1}"
