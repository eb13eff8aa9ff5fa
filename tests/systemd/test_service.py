"""The unit of the service and the agent under a real systemd, with a real mosquitto: what a box does in the years in
which nobody comes by. Run by `python -m tests.systemd`; times here are patience.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.uplink.settings import Broker
from tests.support.command import eventually
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.rtsp import RtspServer, skip_without_gstreamer
from tests.support.traffic import write_traffic
from tests.systemd.machine import Machine, camera_and_broker
from tests.systemd.root import why_not

pytestmark = pytest.mark.slow
CLIP = "/srv/traffic.mp4"
UNIT = "gateway-agent.service"
CLOCK = "gateway-agent-clock.service"
SHORT_WATCHDOG_S = 8


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    if PROGRAM is None:
        pytest.skip("no mosquitto; apt-get install mosquitto")
    with Mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def ioc(broker: Mosquitto) -> Iterator[Consumer]:
    with Consumer(Broker("127.0.0.1", broker.port)) as consumer:
        yield consumer


@pytest.fixture(scope="module")
def box(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Booted and configured, with a watchdog of little patience."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with Machine(tmp_path_factory.mktemp("box") / "machine") as machine:
        machine.make()
        furnish(machine, broker)
        machine.drop_in("short", f"[Service]\nWatchdogSec={SHORT_WATCHDOG_S}s\n")
        machine.boot()
        yield machine


def furnish(machine: Machine, broker: Mosquitto) -> bool:
    """A recording, and a configuration for this broker. Whether that is a new one."""
    clip = machine.root / CLIP.lstrip("/")
    if not clip.is_file():
        new_recording(clip)
    return machine.configure(camera_and_broker(source=f"file:{CLIP}", more="loop = true", broker_port=broker.port))


def new_recording(clip: Path) -> None:
    """At once whole, whoever has the old one open."""
    write_traffic(clip.with_name("part.mp4"), 2).rename(clip)


@pytest.fixture
def running(box: Machine, broker: Mosquitto) -> Machine:
    """With the agent up and at the broker of all tests, whatever the one before has left."""
    if furnish(box, broker):
        box.run("systemctl", "stop", UNIT)
    box.run("systemctl", "start", UNIT)
    return box


def crossings(ioc: Consumer) -> int:
    return len(ioc.kinds("crossing"))


def states(ioc: Consumer) -> list[dict[str, Any]]:
    return [fields for topic, fields in list(ioc.other) if topic == "gw/v1/test/gw/state"]


def health(ioc: Consumer) -> list[dict[str, Any]]:
    return [fields for topic, fields in list(ioc.other) if topic == "gw/v1/test/gw/health"]


def is_alive(box: Machine, ioc: Consumer) -> bool:
    """It tells of a car that it has seen now."""
    before = crossings(ioc)
    return eventually(lambda: crossings(ioc) > before) and box.show("ActiveState") == "active"


def restarts(box: Machine) -> int:
    return int(box.show("NRestarts"))


def main_pid(box: Machine) -> int:
    return int(box.show("MainPID"))


# ---- the start -------------------------------------------------------------------------------------------------------


def test_it_starts_with_the_box_which_waits_neither_for_a_network_nor_for_a_clock(box: Machine) -> None:
    assert box.run("systemctl", "is-active", UNIT, CLOCK).split() == ["active", "active"]
    assert box.ask("systemctl", "is-system-running").stdout.strip() == "running"
    assert box.ask("systemctl", "list-jobs", "--no-legend").stdout.strip() == ""


def test_what_happens_is_dated_once_the_clock_is_set(running: Machine, ioc: Consumer) -> None:
    """Whether this machine's own is, is no matter: timedatectl is one of the test's."""
    answer = running.root / "usr/local/bin/timedatectl"
    answer.write_text("#!/bin/sh\n[ \"$*\" = 'show --property=NTPSynchronized --value' ] && echo yes\n")
    answer.chmod(0o755)
    running.run("systemctl", "restart", CLOCK)
    assert eventually(lambda: [pulse["clock_trusted"] for pulse in health(ioc)[-1:]] == [True])
    assert running.run("systemctl", "show", "--property=SubState", "--value", CLOCK).strip() == "exited"
    answer.write_text("#!/bin/sh\necho no\n")
    running.run("systemctl", "restart", CLOCK)  # its file is gone, as after a boot
    assert eventually(lambda: [pulse["clock_trusted"] for pulse in health(ioc)[-1:]] == [False])
    answer.unlink()


def test_a_start_is_over_when_the_agent_is_ready_and_an_alert_reaches_the_broker(
    running: Machine, ioc: Consumer
) -> None:
    assert running.show("ActiveState") == "active"
    assert is_alive(running, ioc)
    assert running.show("StatusText") == "1 of 1 cameras, broker up"


def test_it_has_no_right_of_root_and_is_nobody_else(running: Machine) -> None:
    status = running.run("cat", f"/proc/{main_pid(running)}/status")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert {fields[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
    assert (fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()) == ("1", "2")
    user = running.run("id", "-u", "gateway-agent").strip()
    assert set(fields["Uid"].split()) == {user} != {"0"}
    groups = running.run("id", "-nG", "gateway-agent").split()
    assert set(groups) == {"gateway-agent", "video", "render", "dialout", "gpio", "i2c"}


def test_it_can_write_its_two_folders_and_nothing_else(running: Machine) -> None:
    """As the agent sees the file system, with the rights of root: a mount is read-only to everybody."""
    inside = ("nsenter", f"--target={main_pid(running)}", "--mount", "--", "touch")
    for folder in ("/var/lib/gateway-agent", "/run/gateway-agent"):
        assert running.ask(*inside, f"{folder}/probe").returncode == 0, folder
    for folder in ("/etc", "/etc/gateway-agent", "/opt/gateway-agent/current", "/usr/bin", "/var/lib", "/srv", "/boot"):
        assert "Read-only file system" in running.ask(*inside, f"{folder}/probe").stderr, folder
    modes = running.run("stat", "--format=%a %U", "/var/lib/gateway-agent", "/run/gateway-agent")
    assert modes.splitlines() == ["700 gateway-agent", "750 gateway-agent"]


def test_the_journal_has_the_agents_lines_with_their_fields(running: Machine) -> None:
    found = [json.loads(line) for line in running.journal("--output=json", "GATEWAY_THREAD=capture-cam").splitlines()]
    connected = [entry for entry in found if entry["MESSAGE"].startswith("camera cam: connected")]
    assert connected != []
    entry: dict[str, Any] = connected[-1]
    assert entry["PRIORITY"] == "6"
    assert entry["GATEWAY_LOGGER"] == "agent.vision.capture"
    assert entry["SYSLOG_IDENTIFIER"] == "gateway-agent"


def test_a_network_camera_has_its_decoder_in_the_sandbox(running: Machine, broker: Mosquitto, ioc: Consumer) -> None:
    skip_without_gstreamer()
    with RtspServer() as camera:
        running.configure(camera_and_broker(source=camera.url(), broker_port=broker.port))
        running.run("systemctl", "restart", UNIT)
        assert eventually(lambda: running.show("StatusText") == "1 of 1 cameras, broker up")
        processes = running.run("systemctl", "status", "--no-pager", UNIT)
        assert "drivers.cameras.decoder_child cam" in processes


def test_a_login_may_be_a_credential_of_systemds(running: Machine, broker: Mosquitto) -> None:
    """A file of root's; the service gets a copy in memory, and no right to the file."""
    skip_without_gstreamer()
    secret = running.root / "root/north.toml"
    secret.write_text('user = "viewer"\npassword = "Kh0ng-ai-biet"\n', encoding="utf-8")
    secret.chmod(0o600)
    given = f"/run/credentials/{UNIT}/north.toml"
    running.drop_in("credential", "[Service]\nLoadCredential=north.toml:/root/north.toml\n")
    try:
        with RtspServer(login="viewer:Kh0ng-ai-biet") as camera:
            more = f'credentials_file = "{given}"'
            running.configure(camera_and_broker(source=camera.url(), broker_port=broker.port, more=more))
            running.run("systemctl", "restart", UNIT)
            assert eventually(lambda: running.show("StatusText") == "1 of 1 cameras, broker up")
            processes = running.run("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true")
    finally:
        running.remove_drop_in("credential")
    assert "Kh0ng-ai-biet" not in processes
    assert "Kh0ng-ai-biet" not in running.journal("--output=export")


def test_systemd_has_nothing_to_say_about_the_installed_units(running: Machine) -> None:
    names = running.run("sh", "-c", "cd /etc/systemd/system && ls gateway-agent*.service gateway-agent*.timer").split()
    assert UNIT in names
    done = running.ask("systemd-analyze", "verify", "--man=no", *names)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    done = running.ask("systemd-analyze", "security", "--threshold=15", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout


def test_a_box_without_a_certificate_has_nothing_to_renew_and_no_failed_unit(running: Machine) -> None:
    running.run("systemctl", "start", "gateway-agent-renew.service")
    assert running.show("Result", "gateway-agent-renew.service") == "success"
    timers = running.run("systemctl", "list-timers", "--no-legend", "--no-pager", "gateway-agent-*")
    assert {word for word in timers.split() if word.endswith(".timer")} == {
        "gateway-agent-housekeeping.timer",
        "gateway-agent-renew.timer",
        "gateway-agent-selftest.timer",
    }


def test_damaged_stores_are_put_away_once_the_clock_is_set_and_the_agents_own_files_stay(running: Machine) -> None:
    state, unit = running.root / "var/lib/gateway-agent", "gateway-agent-housekeeping.service"
    names = [f"outbox.db.damaged-2026010{day}T000000Z" for day in (1, 2, 3)]
    for name in names:
        (state / name).write_text("damaged")
        running.run("chown", "gateway-agent:", f"/var/lib/gateway-agent/{name}")
    synchronized = "/run/gateway-agent-clock/synchronized"
    running.run("rm", "-f", synchronized)
    running.run("systemctl", "start", unit)
    assert all((state / name).exists() for name in names), "put away by a clock that is not set"
    running.run("sh", "-c", f"mkdir -p /run/gateway-agent-clock && : >{synchronized}")
    running.run("systemctl", "start", unit)
    assert running.show("Result", unit) == "success"
    assert [(state / name).exists() for name in names] == [False, True, True]
    assert (state / "outbox.db").exists()


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_killed_it_is_back_and_nothing_is_missing(running: Machine, ioc: Consumer) -> None:
    pid, before = main_pid(running), restarts(running)
    running.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
    assert eventually(lambda: restarts(running) == before + 1 and running.show("ActiveState") == "active")
    assert main_pid(running) not in (pid, 0)
    assert is_alive(running, ioc)
    assert (ioc.missing(), ioc.disorder) == ({}, [])


def test_a_driver_that_hangs_is_named_and_the_watchdog_brings_the_box_back(running: Machine, ioc: Consumer) -> None:
    """The recording becomes a pipe into which nobody writes: opening it for the next round does not return."""
    assert is_alive(running, ioc)
    before, clip = restarts(running), running.root / CLIP.lstrip("/")
    since = f"--since=@{int(running.run('date', '+%s'))}"
    os.mkfifo(clip.with_name("pipe"))
    clip.with_name("pipe").rename(clip)
    assert eventually(lambda: "capture-cam is stuck" in running.journal(since), 120)
    new_recording(clip)  # the one that hangs has the pipe open still
    assert eventually(lambda: restarts(running) == before + 1 and running.show("ActiveState") == "active", 120)
    words = running.journal(since)
    assert "Watchdog timeout" in words
    assert "Fatal Python error: Aborted" in words
    assert "drivers/cameras/file.py" in words  # where it hung
    assert is_alive(running, ioc)


def test_a_dead_camera_and_a_broker_that_is_away_are_no_reason_to_start_anew(running: Machine, tmp_path: Path) -> None:
    clip = running.root / CLIP.lstrip("/")
    with Mosquitto(tmp_path / "broker") as broker, Consumer(Broker("127.0.0.1", broker.port)) as ioc:
        furnish(running, broker)
        running.run("systemctl", "restart", UNIT)
        assert is_alive(running, ioc)
        pid = main_pid(running)
        broker.kill()
        clip.unlink()
        assert eventually(lambda: running.show("StatusText") == "0 of 1 cameras, broker away")
        after = int(running.show("WatchdogTimestampMonotonic")) + 2 * SHORT_WATCHDOG_S * 1_000_000
        assert eventually(lambda: int(running.show("WatchdogTimestampMonotonic")) > after, 120)
        assert main_pid(running) == pid
        broker.start()
        new_recording(clip)
        assert is_alive(running, ioc)
        assert main_pid(running) == pid
        numbers = [message["seq"] for message in ioc.messages if "/alert/" in message["topic"]]
        assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]  # the first ones went to the broker before


def test_a_configuration_that_cannot_be_used_ends_it_and_starts_no_loop(running: Machine) -> None:
    before = restarts(running)
    running.configure('[box]\nsite = "test"\nid = "gw"\ncolour = "red"\n')
    assert running.ask("systemctl", "restart", UNIT).returncode != 0
    assert eventually(lambda: running.show("ActiveState") == "failed", 30)
    assert running.show("ExecMainStatus") == "78"
    assert "colour" in running.journal("--lines=20")
    started = running.show("ExecMainStartTimestampMonotonic")
    # A start that had been planned would come 2 s after the end.
    assert not eventually(lambda: running.show("ActiveState") != "failed", 6)
    assert running.show("ExecMainStartTimestampMonotonic") == started
    assert restarts(running) <= before


def test_one_that_crashes_again_and_again_is_started_ever_later_and_never_given_up(
    running: Machine, ioc: Consumer
) -> None:
    running.run("systemctl", "stop", UNIT)
    running.drop_in("crash", "[Service]\nExecStart=\nExecStart=/bin/false\n")
    try:
        running.ask("systemctl", "start", UNIT)
        assert eventually(lambda: "crashed 5 times in half an hour: starting in 16 s" in running.journal(), 120)
        assert running.show("ActiveState") in ("activating", "deactivating")
    finally:
        running.remove_drop_in("crash")
    running.run("systemctl", "stop", UNIT)
    waits = running.journal().count("starting in")
    running.run("systemctl", "start", UNIT)  # whoever has mended it does not wait
    assert running.show("ActiveState") == "active"
    assert running.journal().count("starting in") == waits
    assert is_alive(running, ioc)


def test_a_flood_of_lines_is_cut(running: Machine) -> None:
    flood = "i=0; while [ $$i -lt 5000 ]; do echo flood $$i; i=$$((i+1)); done"
    running.drop_in("flood", f"[Service]\nExecStartPost=/bin/sh -c '{flood}'\n")
    try:
        running.run("systemctl", "restart", UNIT)
    finally:
        running.remove_drop_in("flood")
    burst = int(running.show("LogRateLimitBurst"))
    # Journald allows more than that, by the space that it has: not three times as many with what we give it.
    assert burst / 2 < running.journal().count(": flood ") < 3 * burst < 5000


def test_the_log_of_the_box_has_a_bound(box: Machine) -> None:
    said = box.run("journalctl", "--boot", "--no-pager", "--output=cat", "_COMM=systemd-journal")
    assert "max 200.0M" in said  # of the disk, as journald has understood it
    assert [line for line in said.splitlines() if "gateway-agent.conf" in line] == []  # and nothing it did not


def test_a_stop_is_a_good_end(running: Machine, ioc: Consumer) -> None:
    assert is_alive(running, ioc)
    running.run("systemctl", "stop", UNIT)
    assert running.show("Result") == "success"
    assert running.show("ActiveState") == "inactive"
    assert eventually(lambda: states(ioc)[-1]["reason"] == "stopped", 10)


# ---- a root that cannot be written ---------------------------------------------------------------------------------


def test_on_a_read_only_root_it_works_as_well(
    broker: Mosquitto, ioc: Consumer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with Machine(tmp_path_factory.mktemp("read-only") / "machine", read_only=True) as machine:
        machine.make()
        furnish(machine, broker)
        machine.boot()
        assert "Read-only" in machine.ask("touch", "/etc/probe").stderr
        machine.run("systemctl", "start", UNIT)
        assert is_alive(machine, ioc)
        kept = {path.name for path in (machine.folder / "state").iterdir()}
        assert "outbox.db" in kept
