"""The web application."""

import uuid
from typing import Final

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from benchmarks.peers.stack.plain.models import Job, SessionLocal
from benchmarks.peers.stack.plain.worker import run_job


class JobIn(BaseModel):
    """What is submitted."""

    a: int
    b: int


class JobOut(BaseModel):
    """What is answered."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    status: str


app: Final = FastAPI()


@app.post("/jobs", status_code=202)
def submit(job: JobIn) -> JobOut:
    """Store a job and send its task."""
    with SessionLocal() as session:
        row = Job(a=job.a, b=job.b)
        session.add(row)
        session.commit()
        run_job.delay(str(row.id))
        return JobOut.model_validate(row)
