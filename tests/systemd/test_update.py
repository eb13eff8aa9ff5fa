"""Updates under a real systemd: the units that wait for files, try releases, and put them back; pip, venv, a power cut.

Run by `python -m tests.systemd`. What is killed at each single step is shown by `python -m tests.update`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.update.manifest import time_text
from agent.uplink.settings import Broker
from tests.support.command import eventually
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.updates import trust_text, update_file
from tests.support.wheels import changed_agent, pip_wheel
from tests.systemd.machine import Machine
from tests.systemd.root import RELEASE, why_not
from tests.systemd.test_service import crossings, furnish, states

pytestmark = pytest.mark.slow
PATIENCE_S = 600.0  # a release is made with pip, and a trial may take its five minutes
OPT = "opt/gateway-agent"
LIBRARIES = f"{RELEASE}/lib/python3.11/site-packages"


class Box:
    def __init__(self, machine: Machine, ioc: Consumer) -> None:
        self.machine = machine
        self.ioc = ioc

    def set_up(self) -> None:
        """What provisioning does beside what the machine has done."""
        root = self.machine.root
        for link in ("current", "proven"):
            (root / OPT / link).unlink()
            (root / OPT / link).symlink_to("releases/test")
        (root / "etc/gateway-agent/trust.toml").write_text(trust_text())
        share = root / OPT / "releases/test/share/gateway-agent/systemd"
        shutil.copy2(share / "gateway-agent-update.path", root / "etc/systemd/system")
        units = [path.name for path in (root / "etc/systemd/system").glob("gateway-agent*") if path.is_file()]
        (root / OPT / "files").write_text("".join(f"/etc/systemd/system/{name}\n" for name in sorted(units)))
        # Nobody sets a clock in there, and the boot would never be called over.
        drop_in = root / "etc/systemd/system/gateway-agent-clock.service.d/test.conf"
        drop_in.parent.mkdir()
        drop_in.write_text("[Service]\nExecStart=\nExecStart=/bin/true\n")
        names = ("gateway-agent.service", "gateway-agent-update.path", "gateway-agent-update.service")
        self.machine._chroot("systemctl", "enable", *names, "gateway-agent-rollback.service")

    def offer(self, version: str, change: Callable[[dict[str, bytes]], None] | None = None) -> None:
        """A release into the service's inbox, as whoever brings files does: under another name until it is whole."""
        (wheel,) = (self.machine.folder / "wheel").glob("*.whl")
        folder = self.machine.folder / version
        folder.mkdir()
        made = changed_agent(wheel, folder, version, libraries=LIBRARIES, change=change)
        now_ms = int(time.time() * 1000)
        content = update_file(
            {path.name: path.read_bytes() for path in (made, pip_wheel())},
            version=version,
            python="3.11",
            created=time_text(now_ms - 60_000),
            expires=time_text(now_ms + 86_400_000),
        )
        inbox = self.machine.root / "var/lib/gateway-agent/updates/inbox"
        inbox.mkdir(parents=True, exist_ok=True)
        (inbox / ".part").write_bytes(content)
        (inbox / ".part").rename(inbox / f"gateway-update-{version}.gwu")

    @property
    def current(self) -> str:
        return os.readlink(self.machine.root / OPT / "current")

    def told(self, version: str) -> list[str]:
        return [message["result"] for message in self.ioc.kinds("box-update") if message.get("version") == version]

    def ends(self, version: str) -> str:
        """How it ended, as the operations centre heard it."""
        ends = ("confirmed", "rolled-back", "refused")
        assert eventually(lambda: any(end in self.told(version) for end in ends), PATIENCE_S), self.log()
        return self.told(version)[-1]

    def is_alive(self) -> bool:
        before = crossings(self.ioc)
        return eventually(lambda: crossings(self.ioc) > before, 120.0)

    def agent(self) -> Any:
        return states(self.ioc)[-1]["agent"]

    def log(self) -> str:
        unit = "--unit=gateway-agent-update.service"
        said = self.machine.ask("journalctl", "--no-pager", unit, "--unit=gateway-agent-rollback.service").stdout
        return said[-4000:] + self.machine.journal()[-2000:]

    def cut_power(self) -> None:
        """Everything in there ends with its first process."""
        os.kill(self.machine._systemd_pid, signal.SIGKILL)
        assert self.machine._nspawn is not None
        self.machine._nspawn.wait(30)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with booted(tmp_path_factory.mktemp("box")) as box:
        yield box


@contextmanager
def booted(folder: Path) -> Iterator[Box]:
    if (reason := why_not()) is not None or PROGRAM is None:
        pytest.skip(reason or "no mosquitto; apt-get install mosquitto")
    with (
        Mosquitto(folder / "broker") as broker,
        Consumer(Broker("127.0.0.1", broker.port)) as ioc,
        Machine(folder / "machine") as machine,
    ):
        machine.make()
        furnish(machine, broker)
        box = Box(machine, ioc)
        box.set_up()
        machine.boot()
        assert box.is_alive(), machine.journal()[-3000:]
        yield box


def crashes(files: dict[str, bytes]) -> None:
    files["agent/app.py"] += b"\ndef run(*a, **k): raise SystemExit(1)\n"


def hangs(files: dict[str, bytes]) -> None:
    files["agent/app.py"] += b"\nimport time\ndef run(*a, **k): time.sleep(1e6)\n"


def lacks_a_module(files: dict[str, bytes]) -> None:
    files["agent/__main__.py"] = b"import a_library_that_was_forgotten\n" + files["agent/__main__.py"]


def test_a_release_in_the_inbox_is_tried_and_stays_and_its_units_with_it(box: Box) -> None:
    unit = "gateway_agent-0.2.0.data/data/share/gateway-agent/systemd/gateway-agent.service"

    def longer_watchdog(files: dict[str, bytes]) -> None:
        files[unit] = files[unit].replace(b"WatchdogSec=60s", b"WatchdogSec=61s")

    box.offer("0.2.0", longer_watchdog)
    assert box.ends("0.2.0") == "confirmed", box.log()
    assert (box.current, box.agent()) == ("releases/0.2.0", "0.2.0")
    assert box.told("0.2.0") == ["accepted", "confirmed"]
    assert box.machine.show("WatchdogUSec") == "1min 1s"
    assert box.is_alive()


def test_a_release_that_crashes_is_put_back_and_its_units_with_it(box: Box) -> None:
    box.offer("0.3.0", crashes)
    assert box.ends("0.3.0") == "rolled-back", box.log()
    assert (box.current, box.is_alive(), box.agent()) == ("releases/0.2.0", True, "0.2.0")
    assert box.machine.show("WatchdogUSec") == "1min 1s"
    assert not (box.machine.root / OPT / "releases/0.3.0").exists()


def test_a_release_that_cannot_be_imported_is_never_tried(box: Box) -> None:
    pid = box.machine.show("MainPID")
    box.offer("0.4.0", lacks_a_module)
    assert box.ends("0.4.0") == "refused", box.log()
    assert (box.current, box.machine.show("MainPID")) == ("releases/0.2.0", pid)


def test_nothing_is_left_over(box: Box) -> None:
    opt = box.machine.root / OPT
    assert sorted(path.name for path in (opt / "releases").iterdir()) == ["0.2.0", "test"]
    assert sorted(path.name for path in (opt / "update").iterdir()) == ["inbox", "lock", "state.json"]
    assert list(Path(box.machine.root / "var/lib/gateway-agent/updates/inbox").iterdir()) == []
    assert box.ioc.missing() == {}


def test_after_a_power_cut_in_a_trial_a_box_boots_with_what_worked(tmp_path: Path) -> None:
    with booted(tmp_path) as box:
        before = box.machine.show("MainPID")
        box.offer("0.5.0", hangs)
        assert eventually(lambda: box.current == "releases/0.5.0", PATIENCE_S), box.log()
        assert eventually(lambda: box.machine.show("MainPID") not in (before, "0"), PATIENCE_S), box.log()
        box.cut_power()
        box.machine.boot()
        assert box.ends("0.5.0") == "rolled-back", box.log()
        assert (box.current, box.is_alive()) == ("releases/test", True)
        reports = json.loads((box.machine.root / OPT / "update/state.json").read_text())["reports"]
        assert "the power failed" in reports[-1]["reason"]
        assert box.ioc.missing() == {}
