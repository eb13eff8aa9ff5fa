"""What several of these tests run against: a real broker, and a consumer that checks the ledger as the IOC would."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.uplink.settings import Broker
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.postgres import BINARIES, Postgres


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if PROGRAM is None:
        pytest.skip("no mosquitto; apt-get install mosquitto")
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def ioc(broker: Mosquitto) -> Iterator[Consumer]:
    with Consumer(Broker("127.0.0.1", broker.port)) as consumer:
        yield consumer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One for all tests that do not break it."""
    if BINARIES is None:
        pytest.skip("no PostgreSQL; apt-get install postgresql")
    with Postgres() as running:
        yield running


@pytest.fixture
def postgres(postgres_server: Postgres) -> tuple[Postgres, str]:
    """The server, and the name of a new, empty database on it."""
    name = f"t{secrets.token_hex(6)}"
    postgres_server.make(name)
    return postgres_server, name
