"""What the adapters make of their drivers' errors."""

import asyncio

import aiormq.exceptions as amqp
import asyncpg
import pytest
from pamqp.exceptions import PAMQPException

from distriqueue.broker import postgres_session, rabbitmq_session
from distriqueue.core.errors import BrokerUnavailable


@pytest.mark.parametrize(
    "error",
    [
        amqp.AMQPConnectionError("refused"),
        amqp.ChannelNotFoundEntity("no queue"),
        amqp.ChannelInvalidStateError("closed"),
        PAMQPException(),
        ConnectionResetError(),
        TimeoutError(),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_fault_of_rabbitmq_is_unavailable(error: BaseException) -> None:
    with pytest.raises(BrokerUnavailable) as caught, rabbitmq_session.faults():
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.AdminShutdownError("bye"),
        asyncpg.CannotConnectNowError("starting"),
        asyncpg.TooManyConnectionsError("full"),
        asyncpg.InvalidPasswordError("wrong"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.UndefinedTableError("dropped"),
        ConnectionRefusedError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_postgres_is_unavailable(error: Exception) -> None:
    with pytest.raises(BrokerUnavailable) as caught, postgres_session.faults():
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [asyncpg.PostgresSyntaxError("typo"), KeyError("bug")])
def test_a_mistake_of_ours_is_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)), postgres_session.faults(), rabbitmq_session.faults():
        raise error


async def test_a_cancel_that_somebody_asked_for_is_one() -> None:
    async def guarded() -> None:
        with rabbitmq_session.faults():
            await asyncio.sleep(60)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(guarded())
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


async def test_a_timeout_of_ours_stays_one() -> None:
    with pytest.raises(BrokerUnavailable, match="TimeoutError"), rabbitmq_session.faults():
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
