"""The labs, one per adapter."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import forget_topology
from tests.contract.labs import Lab, PostgresLab, RabbitMQLab


@pytest.fixture(params=["postgres", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """An empty broker of each adapter."""
    if request.param == "rabbitmq":
        rabbitmq = request.getfixturevalue("rabbitmq_server")
        await forget_topology(rabbitmq.url)
        yield RabbitMQLab(rabbitmq)
    else:
        postgres = request.getfixturevalue("postgres_server")
        name = await postgres.create_database()
        yield PostgresLab(postgres, name)
        await postgres.drop_database(name)
