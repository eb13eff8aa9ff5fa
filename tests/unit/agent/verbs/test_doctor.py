"""What doctor makes of what it is told: by systemd, by the running agent, by a driver. No process, no network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent import config, probes
from agent.contract.box import CameraHealth, Health, LinkHealth, OutboxHealth, SensorHealth
from agent.ops.health import pulse_path
from agent.ops.service import Service
from agent.outbox import Outbox
from agent.verbs import doctor
from agent.verbs.doctor import Examination
from drivers.base import CameraEnded, CameraRefused, CameraStalled, CameraUnavailable
from drivers.cameras import holders
from drivers.fakes import FakeCamera

RUNS = Service("loaded", "active", "running", "success", 0, 0, False, 10_000.0, "")


@pytest.fixture
def box(tmp_path: Path) -> Examination:
    """One camera in the network, one sensor, one broker; nothing has been asked yet."""
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'[box]\nsite = "s"\nid = "b"\nidentity = "{tmp_path}/identity"\n[outbox]\npath = "{tmp_path}/outbox.db"\n'
        '[[broker]]\nhost = "ioc"\ntls = false\n'
        '[[camera]]\nid = "north"\nsource = "rtsp://10.0.0.21/s"\n'
        '[[camera]]\nid = "usb"\nsource = "v4l2:/dev/video7"\n'
        '[[sensor]]\nid = "t"\ndriver = "hwmon"\npath = "/none/temp1_input"\n'
    )
    return Examination(path, settings=config.load(path))


def health(**parts: object) -> Health:
    return Health(time=1, uptime_s=1.0, agent="1", clock_trusted=True, **parts)  # type: ignore[arg-type]


def kinds(box: Examination) -> list[str]:
    return [one.kind for one in box.findings]


def pulse(box: Examination, age_s: float, said: Health) -> None:
    path = pulse_path(box.settings.outbox.path)  # type: ignore[union-attr]
    path.write_text(said.model_dump_json(exclude_none=True))
    when = path.stat().st_mtime - age_s
    os.utime(path, (when, when))


# ---- the service and its pulse ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "age_s", "at_work", "wanted"),
    [
        pytest.param(RUNS, 30.0, True, [], id="runs and says so"),
        pytest.param(RUNS, 900.0, False, ["service-silent"], id="runs and stands still"),
        pytest.param(replace(RUNS, up_s=20.0), 900.0, False, [], id="has only begun, the pulse is an earlier run's"),
        pytest.param(replace(RUNS, active="inactive"), 30.0, False, [], id="has just been stopped"),
        pytest.param(None, 30.0, True, [], id="runs by hand"),
        pytest.param(RUNS, -3600.0, False, ["service-silent"], id="the clock was set back: the pulse proves nothing"),
    ],
)
def test_the_pulse_says_whether_the_agent_is_at_work(
    box: Examination, service: Service | None, age_s: float, at_work: bool, wanted: list[str]
) -> None:
    pulse(box, age_s, health())
    box.service = service
    box._ask_the_service()
    assert (box.is_at_work, kinds(box)) == (at_work, wanted)


@pytest.mark.parametrize("content", [None, b"", b'{"time": "yesterday"}'])
def test_a_service_without_a_pulse_that_can_be_read_stands_still(box: Examination, content: bytes | None) -> None:
    if content is not None:
        pulse_path(box.settings.outbox.path).write_bytes(content)  # type: ignore[union-attr]
    box.service = RUNS
    box._ask_the_service()
    assert (box.is_at_work, kinds(box)) == (False, ["service-silent"])


# ---- cameras ---------------------------------------------------------------------------------------------------------


def about_camera(box: Examination, number: int) -> list[str]:
    return [one.kind for one in box._camera(box.settings.camera[number])]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (CameraHealth(state="open", fps=10.0), []),
        (CameraHealth(state="ended"), []),
        (CameraHealth(state="open", faults=("dark", "moved")), ["camera-faults"]),
    ],
)
def test_a_camera_that_the_agent_has_is_taken_at_its_word(
    box: Examination, said: CameraHealth, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "reach", lambda *_: pytest.fail("a camera at work was asked"))
    box.is_at_work, box.health = True, health(cameras={"north": said})
    assert about_camera(box, 0) == wanted


def script(monkeypatch: pytest.MonkeyPatch, step: Exception | None, *, opens: bool = True) -> None:
    """The network answers, and the camera does this."""
    monkeypatch.setattr(probes, "reach", lambda *_: None)
    errors = [] if opens or step is None else [step]
    camera = FakeCamera("north", [step] if opens else [], open_errors=errors)  # type: ignore[list-item]
    monkeypatch.setattr(probes, "make_driver", lambda *_: camera)


@pytest.mark.parametrize(
    ("step", "opens", "wanted"),
    [
        (CameraRefused("camera north: no (401)", status=401), False, "camera-login"),
        (CameraRefused("camera north: no (403)", status=403), False, "camera-login"),
        (CameraRefused("camera north: no (404)", status=404), False, "camera-refused"),
        (CameraRefused("camera north: too big"), False, "camera-refused"),
        (CameraUnavailable("camera north: nothing that can be decoded"), False, "camera-undecodable"),
        (CameraStalled("camera north: no picture for 12 s"), True, "camera-no-picture"),
        (CameraEnded("camera north: over"), True, "camera-bad"),
    ],
)
def test_what_a_camera_answers_decides_what_is_told(
    box: Examination, step: Exception, opens: bool, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, step, opens=opens)
    (one,) = box._camera(box.settings.camera[0])  # type: ignore[union-attr]
    assert one.kind == wanted
    assert not str(one.values["why"]).startswith("camera north")


def test_a_bug_in_a_driver_is_not_told_as_the_cameras_fault(box: Examination, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, ZeroDivisionError("in the driver"))
    with pytest.raises(ZeroDivisionError):
        about_camera(box, 0)


def test_a_usb_camera_that_somebody_has_is_not_tried(box: Examination, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "holders", lambda _: ["pid 7 ffmpeg"])
    (one,) = box._camera(box.settings.camera[1])  # type: ignore[union-attr]
    assert (one.kind, one.values) == ("camera-busy", {"who": "pid 7 ffmpeg"})


def test_a_usb_camera_of_which_the_agent_gets_nothing_is_told_by_its_word(box: Examination) -> None:
    box.is_at_work = True
    box.health = health(cameras={"usb": CameraHealth(state="silent", error="is gone; was it unplugged?")})
    (one,) = box._camera(box.settings.camera[1])  # type: ignore[union-attr]
    assert (one.kind, one.values) == ("camera-bad", {"why": "is gone; was it unplugged?"})


def test_who_has_a_device_open_is_found(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    assert holders(device) == []
    with device.open():
        (holder,) = holders(device)
    assert holder.startswith(f"pid {os.getpid()} ")


# ---- sensors, brokers, folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["silent", "invalid", "stuck"])
def test_a_sensor_is_told_by_the_agents_word(box: Examination, state: str) -> None:
    box.is_at_work = True
    box.health = health(sensors={"t": SensorHealth(state=state, error="no answer")})  # type: ignore[arg-type]
    box._sensors(box.settings)  # type: ignore[arg-type]
    assert kinds(box) == [f"sensor-{state}"]


def test_a_sensor_is_left_to_a_service_that_has_not_said_how_it_is(box: Examination) -> None:
    box.service = RUNS
    box._sensors(box.settings)  # type: ignore[arg-type]
    assert kinds(box) == ["sensor-busy"]


@pytest.mark.parametrize(
    ("rows", "error", "wanted"),
    [
        (3, "broker refused gw/v1/s/b/alert/north: not authorised (0x87)", ["broker-not-authorised"]),
        (3, "broker refused the subscription to gw/v1/s/b/command", ["broker-not-authorised"]),
        (3, "broker refused gw/v1/s/b/alert/north: quota exceeded (0x97)", ["broker-other"]),
        (0, "broker refused gw/v1/s/b/alert/north: quota exceeded (0x97)", []),
        (3, None, []),
    ],
)
def test_what_a_connected_broker_does_not_take_is_told_while_something_waits(
    box: Examination, rows: int, error: str | None, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "reach", lambda *_: None)
    monkeypatch.setattr(probes, "log_in", lambda *_: pytest.fail("some brokers throw the service out for that"))
    link = LinkHealth(state="up", broker="ioc:1883", error=error)
    box.is_at_work = True
    box.health = health(link=link, outbox=OutboxHealth(rows=rows, bytes=0, max_bytes=1, last={}))
    uplink = doctor.app.uplink_settings(box.settings)  # type: ignore[arg-type]
    found = [one.kind for one in box._broker(uplink.brokers[0], uplink)]
    assert found == ["broker-plain", *wanted]


@pytest.mark.parametrize(
    ("raised", "wanted"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name"),
        (UnicodeError("label too long"), "name"),
        (TimeoutError("timed out"), "silent"),
        (ConnectionRefusedError(111, "Connection refused"), "closed"),
        (OSError(113, "No route to host"), "no-way"),
    ],
)
def test_why_an_address_cannot_be_reached_is_told_apart(
    raised: Exception, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(socket, "create_connection", connect)
    unreached = probes.reach("camera", 554)
    assert unreached is not None
    assert unreached[0] == wanted


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look for somebody else")
@pytest.mark.parametrize(("mode", "fits"), [(0o700, False), (0o707, True), (0o770, False)])
def test_root_sees_whether_the_services_user_may_write(
    tmp_path: Path, mode: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "SERVICE_USER", "nobody")
    tmp_path.chmod(mode)
    folder, why = probes.why_not_writable(tmp_path / "evidence")
    assert folder == tmp_path
    assert why == (None if fits else f"user nobody may not write in {tmp_path}")


# ---- a user who may not look -----------------------------------------------------------------------------------------


@pytest.fixture
def locked(box: Examination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Examination]:
    """As a technician sees a box who forgot sudo: the agent's folder and its secrets are not for him."""
    if os.geteuid() != 0:
        pytest.skip("only root may be somebody else")
    inside = tmp_path / "state"
    inside.mkdir(mode=0o700)
    text = box.config_path.read_text().replace(f"{tmp_path}/outbox.db", f"{inside}/outbox.db")
    text = text.replace(f"{tmp_path}/identity", f"{inside}/identity")
    login = f'source = "rtsp://10.0.0.21/s"\ncredentials_file = "{inside}/north"'
    box.config_path.write_text(text.replace('source = "rtsp://10.0.0.21/s"', login))
    Outbox(inside / "outbox.db").close()
    monkeypatch.setattr(probes, "reach", lambda *_: None)
    monkeypatch.setattr(probes, "log_in", lambda *_: None)
    Examination(
        box.config_path
    ).examine()  # loads what is loaded at its first use: Python may lie in a folder of root's
    folders = [tmp_path, *tmp_path.parents]
    modes = {folder: folder.stat().st_mode for folder in folders}
    for folder in folders:
        folder.chmod(modes[folder] | 0o055)
    os.seteuid(65534)
    try:
        yield Examination(box.config_path)
    finally:
        os.seteuid(0)
        for folder in folders:
            folder.chmod(modes[folder])


def test_who_forgot_sudo_is_told_what_he_could_not_see_and_no_nonsense(
    locked: Examination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "is_root_or_service", lambda: False)  # there is a service's user, and we are not it
    locked.examine()
    told = {one.kind: one for one in locked.findings}
    assert set(told) & {"secret-unreadable", "outbox-folder", "outbox-unreadable", "camera-bad"} == {"camera-bad"}
    assert str(told["camera-bad"].name) == "usb"
    assert "state" in told["doctor-blind"].found


def test_who_may_not_read_the_configuration_is_told_to_use_sudo(
    locked: Examination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "is_root_or_service", lambda: False)
    os.seteuid(0)
    locked.config_path.chmod(0o600)
    os.seteuid(65534)
    locked.examine()
    assert "config-unreadable" in kinds(locked)
    assert "config-wrong" not in kinds(locked)


def test_the_same_is_a_problem_when_it_is_the_services_own_right(
    locked: Examination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "is_root_or_service", lambda: True)
    locked.examine()
    assert {"secret-unreadable", "outbox-folder"} <= set(kinds(locked))
