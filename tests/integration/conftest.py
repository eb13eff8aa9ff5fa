"""What several of these tests run against: a real broker, and a consumer that checks the ledger as the IOC would."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.uplink.settings import Broker
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM, Mosquitto


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
