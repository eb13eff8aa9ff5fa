"""The short run: each fault against a box at work, then many at random. No event is lost, out of order, or twice.

The long run is `python -m tests.fault`. Each test prints its seed.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.outbox.store import connect, read_counters
from agent.uplink.settings import Broker
from tests.fault import faults as f
from tests.fault.campaign import Campaign
from tests.fault.rig import Rig
from tests.support.command import Agent, broker_lines, eventually, write_config
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.traffic import write_traffic

if PROGRAM is None:
    pytest.skip("no mosquitto; apt-get install mosquitto", allow_module_level=True)

KILLS = 20
LIVES = 4
Starter = Callable[..., Campaign]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    with ExitStack() as stack:

        def start_(*, also_kill: float = 0.0) -> Campaign:
            seed = random.randrange(1 << 32)
            print(f"seed {seed}")
            return Campaign(stack.enter_context(Rig(tmp_path / "rig", seed)), also_kill=also_kill)

        yield start_


GROUPS = {
    "the process": (f.Killed, f.Terminated),
    "the broker": (f.BrokerKilled, f.BrokerRestarted, f.BrokerForgot, f.BrokerFrozen),
    "the other side": (f.Refused, f.ConsumerAway, f.LinkSevered, f.Oversized),
    "the wire": (f.LinkCut, f.LinkLossy, f.LinkLate, f.LinkThin),
    "the disk": (f.DiskFull, f.DiskReadOnly, f.DiskBroken),
    "sync": (f.SyncFails,),
    "the clock": (f.ClockJumps, f.BootedWithoutClock, f.RebootedAfterClock, f.RebootedBeforeClock),
    "the database": (f.HeaderCorrupted, f.PageCorrupted, f.LogCorrupted),
}


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_a_fault_loses_nothing(start: Starter, group: Sequence[type[f.Fault]]) -> None:
    possible = [fault for fault in group if fault.why_not() is None]
    if not possible:
        pytest.skip(f"{', '.join(fault.name for fault in group)}: {group[0].why_not()}")
    campaign = start()
    for fault in possible:
        campaign.inflict(fault())
    verdict(campaign)


def test_every_fault_is_in_the_short_run() -> None:
    assert sorted(fault.name for group in GROUPS.values() for fault in group) == sorted(x.name for x in f.FAULTS)


def test_many_kills_among_faults_drawn_at_random_lose_nothing(start: Starter) -> None:
    campaign = start(also_kill=0.5)
    rig = campaign.rig
    others = [fault for fault in f.FAULTS if fault.why_not() is None and fault is not f.Killed]
    while rig.kills < KILLS:
        campaign.inflict(f.Killed())
        campaign.inflict(rig.chance.choice(others)())
    verdict(campaign)


def verdict(campaign: Campaign) -> None:
    print(campaign.table())
    assert campaign.clean, "\n".join([campaign.table(), *campaign.notes, *campaign.holes()])
    accounts = campaign.accounts.values()
    assert all(account.accepted == account.received + account.named for account in accounts)
    assert all(account.received > 0 for account in accounts), "a run in which nothing arrives proves nothing"


# ---- the whole agent ------------------------------------------------------------------------------------------------


def test_the_agent_killed_again_and_again_loses_nothing_it_had_numbered(tmp_path: Path) -> None:
    """`gateway-agent run` with a camera, a detector and all its threads; now and then without a broker, too."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    clip = write_traffic(tmp_path / "traffic.mp4", 2)
    broker = Mosquitto(tmp_path / "broker")
    config = write_config(tmp_path, clip, camera="loop = true\ncount_interval_s = 1", broker=broker_lines(broker.port))
    outbox = tmp_path / "outbox.db"
    with broker, Consumer(Broker("127.0.0.1", broker.port)) as ioc:
        broker.save()
        for life in range(LIVES):
            before = numbered(outbox)
            agent = Agent(config).start()
            try:
                if life % 2:
                    broker.kill()
                assert eventually(lambda before=before: sum(numbered(outbox).values()) >= sum(before.values()) + 2)
                time.sleep(chance.uniform(0.0, 3.0))
            finally:
                agent.stop(signal.SIGKILL)
            if life % 2:
                broker.start()
        accepted = {(stream, n) for stream, last in numbered(outbox).items() for n in range(1, last + 1)}
        with Agent(config):
            assert eventually(lambda: arrived(ioc) >= accepted)
        assert (ioc.missing(), ioc.disorder) == ({}, [])
        sent = [(message["topic"].split("/")[-2], message["seq"]) for message in ioc.messages]
        assert len(sent) == len(set(sent)), "each once, after the ledger"


def numbered(path: Path) -> dict[str, int]:
    """The last number given out in each stream: an event has it when `put` has returned."""
    if not path.exists():
        return {}
    with contextlib.closing(connect(path, read_only=True)) as db:
        try:
            counters = read_counters(db)
        except sqlite3.OperationalError:  # the file is being made, and has no tables yet
            return {}
        return {stream.value: counter.last_seq for stream, counter in counters.items() if counter.last_seq}


def arrived(ioc: Consumer) -> set[tuple[str, int]]:
    return {(message["topic"].split("/")[-2], message["seq"]) for message in list(ioc.messages)}
