"""What a platform under test stands on, for each broker."""

from pathlib import Path

import pytest

from tests.acceptance.stack import Ground
from tests.conftest import forget_topology


@pytest.fixture(params=["postgres", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def ground(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Ground:
    """An empty database and an empty broker of each kind."""
    if request.param == "postgres":
        return Ground(tmp_path, database_url, database_url)
    rabbitmq = request.getfixturevalue("rabbitmq_server")
    await forget_topology(rabbitmq.url)
    return Ground(tmp_path, database_url, rabbitmq.url)
