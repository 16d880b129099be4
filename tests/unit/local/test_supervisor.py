"""All processes of a stack."""

import asyncio

import pytest

from distriqueue.local.state import Condition, Role
from distriqueue.local.supervisor import StartFailed, Supervisor
from tests.unit.local.conftest import DRAINS, KeptLines, program


def supervisor_in(group: asyncio.TaskGroup, lines: KeptLines, steps: list[str]) -> Supervisor:
    return Supervisor(group, lines=lines, announce=steps.append, changed=lambda: None)


async def test_stages_start_in_order_and_drain_in_reverse(lines: KeptLines) -> None:
    steps: list[str] = []
    async with asyncio.TaskGroup() as group:
        supervisor = supervisor_in(group, lines, steps)
        await supervisor.start(program(DRAINS, "postgres", Role.POSTGRES))
        await supervisor.run(program("print('migrated')", "migrate", Role.MIGRATE, once=True, ready_line=None))
        await supervisor.start(program(DRAINS, "gateway1"), program(DRAINS, "orchestrator1", Role.ORCHESTRATOR))
        await supervisor.start(program(DRAINS, "worker1", Role.WORKER))
        assert [each.name for each in supervisor.processes()] == ["postgres", "gateway1", "orchestrator1", "worker1"]
        assert {each.state for each in supervisor.processes()} == {Condition.RUNNING}
        await supervisor.drain()
    names = [name for name, line in lines.kept if line == "drained"]
    assert names[0] == "worker1"
    assert set(names[1:3]) == {"gateway1", "orchestrator1"}
    assert names[3] == "postgres"
    assert [step for step in steps if step.startswith("stopping")] == [
        "stopping worker1",
        "stopping gateway1, orchestrator1",
        "stopping postgres",
    ]


async def test_a_process_that_does_not_come_up_is_named_with_its_last_lines(lines: KeptLines) -> None:
    async with asyncio.TaskGroup() as group:
        supervisor = supervisor_in(group, lines, [])
        await supervisor.start(program(DRAINS, "postgres", Role.POSTGRES))
        with pytest.raises(StartFailed, match="gateway1 did not start: ended with exit code 2") as failed:
            await supervisor.start(program("print('port is taken'); raise SystemExit(2)"))
        assert failed.value.tail == ["port is taken"]
        await supervisor.drain()
    assert lines.of("postgres") == ["up", "drained"]


async def test_a_failed_migration_stops_the_start(lines: KeptLines) -> None:
    async with asyncio.TaskGroup() as group:
        supervisor = supervisor_in(group, lines, [])
        with pytest.raises(StartFailed, match="migrate did not start: ended with exit code 1"):
            await supervisor.run(program("raise SystemExit(1)", "migrate", Role.MIGRATE, once=True, ready_line=None))
        await supervisor.drain()
