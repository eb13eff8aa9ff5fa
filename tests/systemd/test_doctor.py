"""`gateway-agent doctor` on a booted box: what systemd says of the service in each of its states, and its journal.

Run by `python -m tests.systemd`; times here are patience.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import eventually
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.traffic import write_traffic
from tests.systemd.machine import Machine, camera_and_broker
from tests.systemd.root import RELEASE, why_not

pytestmark = pytest.mark.slow
UNIT = "gateway-agent.service"
SELF_TEST = "gateway-agent-selftest.service"
# What the machine of the tests is like, and no business of the agent's: clock, kernel's log, a broker without TLS.
OF_THE_MACHINE = {"clock-unset", "broker-plain", "doctor-blind", "disk-errors"}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if PROGRAM is None:
        pytest.skip("no mosquitto; apt-get install mosquitto")
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("box")
    with Mosquitto(folder / "broker") as broker, Machine(folder / "machine") as machine:
        machine.make()
        write_traffic(machine.root / "srv/traffic.mp4", 2)
        machine.configure(configuration(broker.port))
        machine.boot()
        assert eventually(lambda: doctor(machine)["at_work"]), machine.journal()
        yield machine


def configuration(port: int) -> str:
    return camera_and_broker(source="file:/srv/traffic.mp4", more="loop = true", broker_port=port)


def doctor(box: Machine, *more: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(box.ask(f"{RELEASE}/bin/gateway-agent", "doctor", "--json", *more).stdout)
    return told


def kinds(told: dict[str, Any]) -> set[str]:
    return {one["kind"] for one in told["findings"]} - OF_THE_MACHINE


def test_of_a_box_that_works_there_is_nothing_to_say(box: Machine) -> None:
    told = doctor(box)
    assert kinds(told) == set()
    assert (told["service"]["active"], told["service"]["sub"]) == ("active", "running")
    assert told["service"]["status"] == "1 of 1 cameras, broker up"


def test_the_daily_self_test_finds_nothing_in_its_sandbox_that_is_only_the_sandbox(box: Machine) -> None:
    box.ask("systemctl", "start", SELF_TEST)
    assert eventually(lambda: box.show("ActiveState", SELF_TEST) in ("inactive", "failed"))
    said = box.ask("journalctl", "--no-pager", "--output=cat", f"--unit={SELF_TEST}").stdout
    problems = [line for line in said.splitlines() if line.startswith("PROBLEM")]
    assert [line for line in problems if "the clock is not set" not in line] == []
    assert "note: doctor: this user may not look at: /dev/kmsg" in said
    assert "Traceback" not in said


def test_the_bundle_has_the_journal_of_the_service(box: Machine) -> None:
    doctor(box, "--bundle", "/root/box.tar.gz")
    with tarfile.open(box.root / "root/box.tar.gz") as tar:
        member = tar.extractfile("gateway-agent/journal.txt")
        assert member is not None
        assert b"camera cam: connected" in member.read()


def test_a_service_that_was_killed_is_told_as_one_that_was_started_again(box: Machine) -> None:
    pid = box.show("MainPID")
    box.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
    assert eventually(lambda: box.show("MainPID") not in ("0", pid) and box.show("ActiveState") == "active")
    assert eventually(lambda: doctor(box)["at_work"])
    assert kinds(doctor(box)) == {"service-flaps"}
    box.run("systemctl", "restart", UNIT)  # whoever starts it begins the count anew
    assert eventually(lambda: doctor(box)["at_work"])
    assert kinds(doctor(box)) == set()


def test_a_service_that_is_stopped_is_told(box: Machine) -> None:
    box.run("systemctl", "stop", UNIT)
    told = doctor(box)
    assert kinds(told) == {"service-stopped"}
    assert told["at_work"] is False
    box.run("systemctl", "start", UNIT)


def test_a_configuration_that_ended_the_service_is_told_with_its_mistake(box: Machine) -> None:
    path = box.root / "etc/gateway-agent/gateway.toml"
    right = path.read_text(encoding="utf-8")
    box.configure(right.replace("loop = true", "lop = true"))
    box.ask("systemctl", "restart", UNIT)
    assert eventually(lambda: box.show("ActiveState") == "failed")
    told = doctor(box)
    box.configure(right)
    assert kinds(told) == {"config-wrong", "service-config"}
    assert "camera[1].lop: unknown key; did you mean 'loop'?" in told["findings"][0]["found"]
    # Mended, and not started again yet.
    assert kinds(doctor(box)) == {"service-config"}
    box.run("systemctl", "reset-failed", UNIT)
    box.run("systemctl", "start", UNIT)
    assert eventually(lambda: doctor(box)["at_work"])


def test_where_the_agents_folder_lies_and_who_may_write_there_is_seen_by_root(box: Machine) -> None:
    folder = box.root / "var/lib/gateway-agent"
    status = folder.stat()
    box.run("systemctl", "stop", UNIT)
    try:
        box.run("chown", "root:root", "/var/lib/gateway-agent")
        assert kinds(doctor(box)) == {"service-stopped", "outbox-folder"}
    finally:
        box.run("chown", "gateway-agent:gateway-agent", "/var/lib/gateway-agent")
    assert folder.stat().st_uid == status.st_uid
    box.run("systemctl", "start", UNIT)


def test_the_program_is_the_one_of_this_tree(box: Machine) -> None:
    """Else the tests above would say nothing of it."""
    installed = next((box.root / RELEASE.lstrip("/")).glob("lib/python3*/site-packages/agent/verbs/doctor.py"))
    assert installed.read_bytes() == (Path(__file__).parents[2] / "agent/verbs/doctor.py").read_bytes()
