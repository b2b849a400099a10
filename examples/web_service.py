"""A web service: requests run on a pool of processes, or on a process of their own that streams its answer.

    pip install fastapi uvicorn
    uvicorn web_service:app --app-dir examples
    curl 'http://127.0.0.1:8000/primes?below=100000'
    curl 'http://127.0.0.1:8000/countdown?start=3'

The server joins a job that it starts. Ctrl-C ends both.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse

import cmpi
from cmpi import Pid, ProcessPool, Receiver, Sender

cmpi.init()
cmpi.preload("fastapi")  # once, and not in each process that is to call a function of this module
Number = Annotated[int, Query(ge=0, le=10_000_000)]


def count_primes(below: int) -> int:
    composite = bytearray(max(below, 2))
    for n in range(2, int(below**0.5) + 1):
        if not composite[n]:
            composite[n * n :: n] = b"\1" * len(range(n * n, below, n))
    return composite.count(0) - 2


def count_down(parent: Pid, start: int) -> None:
    with Sender[int](parent) as numbers:
        for n in range(start, 0, -1):
            numbers.send(n)


@asynccontextmanager
async def pool_of(app: FastAPI) -> AsyncIterator[None]:
    async with ProcessPool(2) as app.state.pool:
        yield


app = FastAPI(lifespan=pool_of)


@app.get("/primes")
async def primes(below: Number) -> dict[str, int]:
    return {"below": below, "primes": await app.state.pool.asubmit(count_primes, below)}


@app.get("/countdown")
async def countdown(start: Number) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        child = await cmpi.aspawn(count_down, start)
        async for n in Receiver[int](child):
            yield f"{n}\n"
        yield "liftoff\n"

    return StreamingResponse(lines(), media_type="text/plain")
