"""What the benchmarks say of a server's work is what its sessions have asked for."""

import asyncpg
import pytest

from benchmarks.systems.server import working

COUNT = "SELECT count(*) FROM generate_series(1, 3000000)"
CALL_S = 60.0


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(url, timeout=CALL_S, server_settings={"application_name": "busy"})


async def test_cpu_time_is_told_by_the_name_of_who_asked(database_url: str) -> None:
    busy = await _connect(database_url)
    try:
        await busy.execute(COUNT, timeout=CALL_S)  # before it began: does not count
        async with working(database_url) as idle:
            pass
        async with working(database_url) as work:
            await busy.execute(COUNT, timeout=CALL_S)
    finally:
        await busy.close(timeout=CALL_S)
    assert work.by_name()["busy"] > 5 * idle.by_name()["busy"]
    assert 0.05 < work.by_name()["busy"] < work.total_s + 0.01  # the clock ticks in hundredths


async def test_what_a_session_used_that_no_look_has_met_is_in_the_total(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.systems.server.LOOK_S", CALL_S)
    async with working(database_url) as work:
        busy = await _connect(database_url)
        await busy.execute(COUNT, timeout=CALL_S)
        await busy.close(timeout=CALL_S)
    assert work.total_s > 0.05
    assert work.by_name().get("busy", 0.0) == 0.0


async def test_the_log_that_was_written_is_counted(database_url: str) -> None:
    connection = await _connect(database_url)
    try:
        await connection.execute("CREATE TABLE filled (text text)", timeout=CALL_S)
        async with working(database_url) as work:
            fill = "INSERT INTO filled SELECT repeat('x', 1000) FROM generate_series(1, 1000)"
            await connection.execute(fill, timeout=CALL_S)
    finally:
        await connection.close(timeout=CALL_S)
    assert 1e6 < work.wal_bytes < 1e7
