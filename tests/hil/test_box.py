"""The agent as the service runs it, with the profile's configuration and a real broker: what happens is told there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.uplink.settings import Broker
from tests.hil.connected import NO_PROFILE, PROFILE, each
from tests.hil.hands import do, shows, undo
from tests.hil.profile import EventConfig, Profile
from tests.support.command import Agent, eventually
from tests.support.consumer import Consumer
from tests.support.mosquitto import Mosquitto

pytestmark = [pytest.mark.hil, pytest.mark.skipif(PROFILE is None, reason=NO_PROFILE)]
_LOG_LINES = 15


class Box:
    def __init__(self, profile: Profile, agent: Agent, ioc: Consumer) -> None:
        self.agent, self.ioc = agent, ioc
        self._top = f"gw/v1/{profile.config.box.site}/{profile.config.box.id}"

    def health(self) -> dict[str, Any]:
        """The last pulse; empty before the first."""
        return next((fields for topic, fields in reversed(self.ioc.other[:]) if topic == f"{self._top}/health"), {})

    def unwell(self) -> list[str]:
        """What is not as it should be, as far as the last pulse knows."""
        if not (pulse := self.health()):
            return ["the agent has not said anything at the broker"]
        cameras = {f"camera {name}": (_state(camera), camera.get("error")) for name, camera in pulse["cameras"].items()}
        sensors = {
            f"sensor {name}": ("" if sensor["state"] == "ok" else sensor["state"], sensor.get("error"))
            for name, sensor in (pulse.get("sensors") or {}).items()
        }
        outputs = {
            f"output {name}": ("cannot be reached" if output.get("error") else "", output.get("error"))
            for name, output in (pulse.get("outputs") or {}).items()
        }
        found = {**cameras, **sensors, **outputs}.items()
        return [f"{name} is {state}: {error}" for name, (state, error) in found if state]

    def alerts(self, event: EventConfig) -> list[dict[str, Any]]:
        return [
            message
            for message in self.ioc.messages[:]
            if message["topic"] == f"{self._top}/alert/{event.source}"
            and event.rule in (message.get("rule"), message["kind"])
        ]

    def last_words(self) -> str:
        return "\n".join(self.agent.log().splitlines()[-_LOG_LINES:])


def _state(camera: dict[str, Any]) -> str:
    """Empty if it is well."""
    if camera["state"] == "open":
        return "" if camera["fps"] > 0 else "open, without a picture yet"
    return "" if camera["state"] == "ended" else str(camera["state"])


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    assert PROFILE is not None
    folder: Path = tmp_path_factory.mktemp("box")
    with (
        Mosquitto(folder / "broker") as broker,
        Consumer(Broker("127.0.0.1", broker.port)) as ioc,
        Agent(
            PROFILE.for_the_suite(folder / "agent", {"host": "127.0.0.1", "port": broker.port, "tls": False})
        ) as agent,
    ):
        yield Box(PROFILE, agent, ioc)


def test_every_device_is_well(box: Box, record_property: Callable[[str, object], None]) -> None:
    assert PROFILE is not None
    began_s = time.monotonic()
    if not eventually(lambda: not box.unwell(), PROFILE.hil.settle_s):
        pytest.fail("\n".join([*box.unwell(), "the agent's last words:", box.last_words()]), pytrace=False)
    pulse = box.health()
    values = [
        f"{name}: {', '.join(f'{quantity} {value:g}' for quantity, value in sensor['values'].items())}"
        for name, sensor in (pulse.get("sensors") or {}).items()
    ]
    rates = [f"{name}: {camera['fps']:g} pictures per s" for name, camera in pulse["cameras"].items()]
    size = f"{pulse['rss_bytes'] / 1e6:.0f} MB resident"
    record_property("answered", "; ".join([f"after {time.monotonic() - began_s:.0f} s", *rates, *values, size]))


@pytest.mark.parametrize("event", each(PROFILE.hil.event if PROFILE else (), "[[hil.event]]"))
def test_what_happens_is_told(box: Box, event: EventConfig, record_property: Callable[[str, object], None]) -> None:
    """The alert is raised after doing and cleared after undoing, under one id."""
    before = box.alerts(event)
    if before and before[-1]["state"] == "raised":
        pytest.fail(f"{event.raises} is raised already, since before: {before[-1]}; undo what raised it", pytrace=False)
    try:
        raised, raised_s = _wait_for(box, event, event.do, lambda: do(event), "raised", len(before))
        if event.shows is not None and not eventually(lambda: shows(event), event.within_s):
            pytest.fail(f"{event.raises} is raised, but this does not show it: {event.shows}", pytrace=False)
    finally:
        undone_s = time.monotonic()
        undo(event)
    cleared, cleared_s = _wait_for(box, event, event.undo, lambda: None, "cleared", len(before) + 1, undone_s)
    assert cleared["alert"] == raised["alert"], "raised under one id and cleared under another"
    assert cleared["lasted_s"] > 0
    if event.shows is not None and not eventually(lambda: not shows(event), event.within_s):
        pytest.fail(f"{event.raises} is cleared, but this still shows it: {event.shows}", pytrace=False)
    said = {name: raised[name] for name in ("value", "unit", "reason") if raised.get(name) is not None}
    detail = f" ({', '.join(map(str, said.values()))})" if said else ""
    record_property("answered", f"raised after {raised_s:.1f} s{detail}, cleared after {cleared_s:.1f} s")


def _wait_for(
    box: Box,
    event: EventConfig,
    what: str,
    act: Callable[[], None],
    state: str,
    known: int,
    began_s: float | None = None,
) -> tuple[dict[str, Any], float]:
    """The alert that follows, and after how long. known: how many there are that do not count."""
    if began_s is None:
        began_s = time.monotonic()
    act()
    if not eventually(lambda: len(box.alerts(event)) > known, event.within_s):
        reasons = box.unwell() or ["every device is well by itself"]
        pytest.fail(
            f"no alert {event.raises} was {state} within {event.within_s:g} s after: {what}; look at its limits in the "
            f"profile and at its wiring. {'; '.join(reasons)}. The agent's last words:\n{box.last_words()}",
            pytrace=False,
        )
    found = box.alerts(event)[known]
    assert found["state"] == state, f"wanted {event.raises} {state}, found {found}"
    return found, time.monotonic() - began_s


def test_nothing_was_lost(box: Box, record_property: Callable[[str, object], None]) -> None:
    """The ledger's account of all that was told. And the agent that began is the one that ends."""
    assert box.agent.process is not None
    assert box.agent.process.poll() is None, f"the agent ended by itself:\n{box.last_words()}"
    assert box.agent.stop() == 0, box.last_words()
    assert (box.ioc.missing(), box.ioc.repeats, box.ioc.disorder) == ({}, 0, [])
    record_property("answered", f"{len(box.ioc.messages)} messages")
