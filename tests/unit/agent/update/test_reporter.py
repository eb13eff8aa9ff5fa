"""The agent's part: reports told once they are stored, a pulse that is believed only while it is fresh."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.clock import FakeClock
from agent.contract.event import BoxUpdate, Event
from agent.errors import EventStoreError
from agent.update import Heart, Places, UpdateReporter, state
from agent.update.proof import Pulse, baseline, doubts, read_pulse, write_pulse
from agent.update.state import Job, State


class Store:
    def __init__(self) -> None:
        self.bodies: list[BoxUpdate] = []
        self.is_full = False

    def put(self, *events: Event) -> None:
        if self.is_full:
            raise EventStoreError("full")
        for event in events:
            assert isinstance(event.body, BoxUpdate)
            assert (event.stream, event.source) == ("alert", "box")
            self.bodies.append(event.body)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name in ("opt/update", "etc", "var", "run"):
        (tmp_path / name).mkdir(parents=True)
    return Places(tmp_path / "opt", tmp_path / "etc" / "gateway.toml", tmp_path / "var", tmp_path / "run")


def report(places: Places, result: Any, reason: str | None = None) -> None:
    job = Job(file="u.gwu", kind="release", name="gateway-agent", version="0.2.0", previous="0.1.0", update_id="ab12")
    state.save(places.state, state.load(places.state).with_report(1, result, job, reason))


def reporter(places: Places, store: Store) -> UpdateReporter:
    return UpdateReporter(places, places.var / "updates.told", store.put, clock=FakeClock())


def test_each_report_is_told_once_also_over_starts(places: Places) -> None:
    store = Store()
    report(places, "accepted")
    first = reporter(places, store)
    first.update()
    first.update()
    report(places, "rolled-back", "camera cam is silent")
    again = reporter(places, store)
    assert again.told == 1
    again.update()
    assert (again.told, [body.result for body in store.bodies]) == (2, ["accepted", "rolled-back"])
    told = store.bodies[1]
    assert (told.severity, told.update, told.artifact, told.version) == ("critical", "ab12", "release", "0.2.0")
    assert (told.previous, told.reason, told.file) == ("0.1.0", "camera cam is silent", "u.gwu")


def test_a_report_that_cannot_be_stored_is_not_told_and_tried_again(places: Places) -> None:
    store = Store()
    store.is_full = True
    report(places, "refused", "it has expired")
    one = reporter(places, store)
    one.update()
    assert (one.told, store.bodies) == (0, [])
    store.is_full = False
    one.update()
    assert (one.told, len(store.bodies)) == (1, 1)


def test_a_box_without_updates_has_nothing_to_tell(places: Places) -> None:
    store = Store()
    reporter(places, store).update()
    assert store.bodies == []


def test_a_state_that_cannot_be_read_is_said_once_and_no_harm(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    places.state.write_text('{"reports": [{"no": 1}]}')
    one = reporter(places, Store())
    one.update()
    one.update()
    assert len(caplog.records) == 1


def test_a_state_of_another_form_is_set_aside(places: Places) -> None:
    places.state.write_text('{"format": 2}')
    assert state.load(places.state) == State()
    assert places.state.exists()
    assert state.load(places.state, set_aside=True) == State()
    assert places.state.with_name("state.json.damaged").exists()


def test_a_state_comes_back_as_it_was(places: Places) -> None:
    job = Job(file="u.gwu", source=("/x/\udcff.gwu", 3, 4), baseline={"link": True}, attempts=2)
    saved = replace(State(phase="trying", job=job, installed={"pack:a": "1"}), floor_ms=7)
    saved = saved.with_report(5, "accepted", job, None)
    state.save(places.state, saved)
    assert state.load(places.state) == saved


def test_reports_are_kept_in_bounds(places: Places) -> None:
    for _ in range(40):
        report(places, "refused")
    reports = state.read_reports(places.state)
    assert (len(reports), reports[-1].n) == (30, 40)


# ---- the pulse -------------------------------------------------------------------------------------------------------


def test_the_heart_beats_where_systemd_gave_it_a_place(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    beats = []

    def health() -> dict[str, Any]:
        beats.append(1)
        return {"cameras": {}}

    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    Heart(places, health, version="0.1.0", looked_ms=1.0, clock=clock).update(0)
    assert not places.pulse.exists()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(places.run))
    heart = Heart(places, health, version="0.1.0", looked_ms=1.0, clock=clock)
    heart.update(3)
    heart.update(4)
    assert len(beats) == 1
    pulse = read_pulse(places.pulse, clock.boot_id, clock.mono_s())
    assert pulse is not None
    assert (pulse.told, pulse.pid, pulse.agent) == (3, os.getpid(), "0.1.0")


PULSE = Pulse("boot", 100.0, 7, "0.1.0", 12.0, 3, {"cameras": {"cam": {"state": "open", "fps": 8.0}}})


@pytest.mark.parametrize(
    ("boot_id", "now_s", "believed"),
    [("boot", 110.0, True), ("boot", 116.0, False), ("boot", 99.0, False), ("another", 101.0, False)],
)
def test_a_pulse_is_believed_while_it_is_fresh_and_of_this_boot(
    places: Places, boot_id: str, now_s: float, believed: bool
) -> None:
    write_pulse(places.pulse, PULSE)
    assert (read_pulse(places.pulse, boot_id, now_s) is not None) is believed


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"boot_id": "boot"}', b"[" * 100_000])
def test_what_is_no_pulse_is_no_sign_of_life(places: Places, content: bytes) -> None:
    places.pulse.write_bytes(content)
    assert read_pulse(places.pulse, "boot", 100.0) is None


@pytest.mark.parametrize("wrong", [{"pid": "7"}, {"told": None}, {"health": []}, {"mono_s": "x"}])
def test_a_pulse_of_another_form_is_no_sign_of_life(places: Places, wrong: dict[str, Any]) -> None:
    write_pulse(places.pulse, replace(PULSE, **wrong))
    assert read_pulse(places.pulse, "boot", 100.0) is None


def test_a_camera_that_says_nonsense_of_itself_gives_no_pictures() -> None:
    after = replace(PULSE, pid=8, health={"cameras": {"cam": {"state": "open", "fps": "many"}, "x": 3}})
    assert doubts(after, baseline(PULSE), version=None, report=3) == [
        "camera cam gives many pictures a second; before it gave 8.0"
    ]


def test_no_link_and_no_pipe_is_followed_for_a_pulse(places: Places, tmp_path: Path) -> None:
    write_pulse(tmp_path / "elsewhere", PULSE)
    places.pulse.symlink_to(tmp_path / "elsewhere")
    assert read_pulse(places.pulse, "boot", 100.0) is None
    places.pulse.unlink()
    os.mkfifo(places.pulse)
    assert read_pulse(places.pulse, "boot", 100.0) is None
    places.pulse.unlink()
    places.pulse.mkdir()
    assert read_pulse(places.pulse, "boot", 100.0) is None


def test_a_camera_that_a_new_configuration_does_without_is_not_missed() -> None:
    after = replace(PULSE, pid=8, health={"cameras": {}})
    assert doubts(after, baseline(PULSE), version=None, report=3) == []


def test_a_sensor_that_answered_before_must_answer() -> None:
    before = replace(PULSE, health={"sensors": {"rain": {"state": "ok"}, "wind": {"state": "silent"}}})
    states = {"rain": {"state": "silent", "error": "no answer"}, "wind": {"state": "silent"}}
    after = replace(PULSE, pid=8, health={"sensors": states})
    assert doubts(after, baseline(before), version=None, report=3) == ["sensor rain is silent: no answer"]


def test_the_agent_does_not_load_what_verifies_and_installs() -> None:
    said = (
        "import sys, agent.app; print([m for m in sys.modules if m in ('agent.update.machine', 'agent.update.slots')])"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
