"""The four examples as one FastAPI program: tasks in the event loop, a semaphore in memory, files on disk."""

import asyncio
import hashlib
import logging
import os
import uuid
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import aiofiles
import httpx
from fastapi import FastAPI, HTTPException, UploadFile
from fastapi.responses import StreamingResponse

DATA_URL = os.environ["DATA_URL"]
CONCURRENCY = int(os.environ["CONCURRENCY"])
UPLOAD_DIR = Path(os.environ["UPLOAD_DIR"])
CHUNK_SIZE = 1024 * 1024  # bytes

logging.basicConfig(level=logging.INFO, format="%(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
log = logging.getLogger("program")

app = FastAPI()
semaphore = asyncio.Semaphore(CONCURRENCY)
client = httpx.AsyncClient()
running: set[asyncio.Task[None]] = set()


def start(work: Coroutine[Any, Any, None]) -> None:
    """Runs concurrently with everything else. The set is needed: the event loop keeps only a weak reference."""
    task = asyncio.create_task(work)
    running.add(task)
    task.add_done_callback(running.discard)


async def task_a() -> None:
    await asyncio.sleep(2)
    log.info("Task A completed.")


async def task_b() -> None:
    await asyncio.sleep(3)
    log.info("Task B completed.")


async def greeting() -> AsyncIterator[str]:
    yield "Hello,"
    await asyncio.sleep(1)
    yield "world!"


@app.get("/hello")
async def hello() -> StreamingResponse:
    return StreamingResponse(greeting(), media_type="text/plain")


@app.get("/run-tasks")
async def run_tasks() -> dict[str, str]:
    start(task_a())
    start(task_b())
    return {"message": "Tasks scheduled"}


@app.get("/data")
async def data() -> Any:
    async with semaphore:
        try:
            response = await client.get(DATA_URL)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise HTTPException(503, "External API request failed") from error
    return response.json()


@app.post("/upload-file", status_code=201)
async def upload_file(file: UploadFile) -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    async with aiofiles.open(UPLOAD_DIR / str(uuid.uuid4()), "wb") as saved:
        while chunk := await file.read(CHUNK_SIZE):
            digest.update(chunk)
            size += len(chunk)
            await saved.write(chunk)
    return {"filename": file.filename, "size": size, "sha256": digest.hexdigest()}
