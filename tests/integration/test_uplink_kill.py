"""The agent's process killed again and again: what `put` accepted arrives, in order, once."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from agent.contract.event import Stream
from agent.uplink import Broker
from tests.support.consumer import Consumer, eventually
from tests.support.mosquitto import Mosquitto

REPOSITORY = Path(__file__).parents[2]
KILLS = 8
PER_LIFE = 3000


class Producer:
    """tests.support.producer in a process of its own; its output tells what was accepted."""

    def __init__(self, outbox: Path, port: int, first: int, last: int) -> None:
        self._log = outbox.with_name(f"accepted-{first}")
        with self._log.open("wb") as log:
            arguments = [str(outbox), str(port), str(first), str(last)]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.producer", *arguments], stdout=log, cwd=REPOSITORY
            )

    def lines(self) -> list[str]:
        text = self._log.read_text()
        return text[: text.rfind("\n") + 1].split()

    def accepted(self) -> list[int]:
        return [int(line) for line in self.lines() if line.isdigit()]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)


def test_a_killed_agent_loses_nothing_that_was_accepted(broker: Mosquitto, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    outbox = tmp_path / "outbox.db"
    accepted: list[int] = []
    with Consumer(Broker("127.0.0.1", broker.port)) as ioc:
        for life in range(KILLS):
            first = 1 + life * PER_LIFE
            producer = Producer(outbox, broker.port, first, first + PER_LIFE - 1)
            wanted = chance.randrange(1, PER_LIFE)
            try:
                assert eventually(lambda p=producer, n=wanted: len(p.accepted()) >= n)
            finally:
                producer.kill()
            accepted += producer.accepted()
        last = Producer(outbox, broker.port, 10**6, 10**6 + 2)
        try:
            assert eventually(lambda: "drained" in last.lines())
        finally:
            last.kill()
        accepted += last.accepted()
        assert eventually(lambda: set(accepted) <= set(ioc.tracks()))
        assert (ioc.missing(), ioc.disorder) == ({}, [])
        arrived = ioc.tracks()
        assert len(arrived) == len(set(arrived)), "each once, after the ledger"
        for stream in Stream:
            assert ioc.tracks(stream.value) == sorted(ioc.tracks(stream.value))
        # Beyond what was accepted, at most the three puts under way at each kill may have reached the disk.
        assert len(set(arrived) - set(accepted)) <= 3 * KILLS
