"""The web application."""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from benchmarks.peers.peer import DATABASE
from benchmarks.peers.stack.tuned.worker import run_job

POOL: Final = 8
INSERT: Final = "INSERT INTO jobs (id, a, b, status) VALUES ($1, $2, $3, 'queued')"


class Job(BaseModel):
    """What is submitted."""

    a: int
    b: int


class Accepted(BaseModel):
    """What is answered."""

    id: uuid.UUID
    status: str = "queued"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ[DATABASE], min_size=POOL, max_size=POOL) as pool:
        app.state.pool = pool
        yield


app: Final = FastAPI(lifespan=_lifespan)


@app.post("/jobs", status_code=202)
async def submit(job: Job, request: Request) -> Accepted:
    """Store a job and send its task."""
    job_id = uuid.uuid4()
    await request.app.state.pool.execute(INSERT, job_id, job.a, job.b)
    await run_in_threadpool(run_job.apply_async, (str(job_id), job.a, job.b))
    return Accepted(id=job_id)
