"""What the sandbox lets through, in a virtual machine whose camera, GPIO chip and I2C bus are the kernel's own: there
systemd enforces device rules and memory bounds, which it does not in a container.

The unit is the real one; in the agent's place it runs a probe, which opens devices or takes memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest import Guest, image, why_not
from tests.guest.image import CACHE
from tests.hil.guest import RECIPE
from tests.systemd.root import TOP

pytestmark = pytest.mark.slow
UNITS = TOP / "systemd"
_PATIENCE_S = 300.0  # of an emulated machine on a busy one
PROBE = """
import errno, json, os, sys
def tried(path):
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY))
        return "open"
    except OSError as exc:
        return errno.errorcode[exc.errno]
if sys.argv[1] == "devices":
    print(json.dumps({path: tried(path) for path in sys.argv[2:]}))
else:
    kept = [bytes(1 << 20).replace(b"\\0", b"x") for _ in range(1 << 20)]
"""
INSTALL = """
set -e
cp /root/systemd/gateway-agent.service /etc/systemd/system/
cp /root/systemd/sysusers.conf /usr/lib/sysusers.d/gateway-agent.conf
cp /root/systemd/udev.rules /etc/udev/rules.d/60-gateway-agent.rules
systemd-sysusers
udevadm control --reload
modprobe -a gpio-sim i2c-dev
modprobe i2c-stub chip_addr=0x76
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0
chip=/sys/kernel/config/gpio-sim/cabinet
mkdir -p $chip/bank0
echo 8 >$chip/bank0/num_lines
echo 1 >$chip/live
udevadm trigger --action=add --subsystem-match=gpio --subsystem-match=i2c-dev  # as installing does, for what was there
udevadm settle
"""
# Once to its end, and none of what belongs to an agent.
DROP_IN = """[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStartPre=
ExecStopPost=
ExecStart=
ExecStart=/usr/bin/python3 /srv/probe.py {arguments}
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    if (reason := why_not(build=not (CACHE / RECIPE.key).exists())) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("guest")
    (folder / "probe.py").write_text(PROBE, encoding="utf-8")
    with Guest(image(RECIPE), folder / "guest") as running:
        running.copy_in(folder / "probe.py", "/srv")
        running.copy_in(UNITS, "/root")
        running.run(INSTALL, timeout_s=_PATIENCE_S)
        yield running


def probe(guest: Guest, arguments: str, folder: Path) -> None:
    (folder / "probe.conf").write_text(DROP_IN.format(arguments=arguments), encoding="utf-8")
    guest.copy_in(folder / "probe.conf", "/etc/systemd/system/gateway-agent.service.d")
    guest.run("systemctl daemon-reload && systemctl reset-failed", timeout_s=_PATIENCE_S)
    guest.run("systemctl start gateway-agent || true", timeout_s=_PATIENCE_S)


def names(guest: Guest, pattern: str) -> list[str]:
    return guest.run(f"ls -d {pattern}").split()


def test_cameras_contacts_chips_and_serial_lines_can_be_opened_and_nothing_else(guest: Guest, tmp_path: Path) -> None:
    ours = [
        path
        for pattern in ("/dev/video*", "/dev/gpiochip*", "/dev/gpio/by-path/*", "/dev/i2c-*", "/dev/ttyS0")
        for path in names(guest, pattern)
    ]
    others = ["/dev/vda", "/dev/kmsg", "/dev/mem", "/dev/rtc0"]
    guest.run(f"chmod 666 {' '.join(others)}")  # what refuses is the sandbox, not the node's own rights
    probe(guest, " ".join(["devices", *ours, *others]), tmp_path)
    said = guest.run("journalctl -u gateway-agent -o cat | grep ^{ | tail -n 1")
    found = json.loads(said)
    assert {path: found[path] for path in ours} == dict.fromkeys(ours, "open")
    assert {path: found[path] for path in others if found[path] not in ("EPERM", "EACCES")} == {}


def test_names_of_chips_lead_to_their_nodes(guest: Guest) -> None:
    (link,) = names(guest, "/dev/gpio/by-path/*")
    assert guest.run(f"readlink -f {link}").strip() in names(guest, "/dev/gpiochip*")
    assert guest.run(f"stat -L -c '%G %a' {link}").strip() == "gpio 660"
    (bus,) = names(guest, "/dev/i2c-*")[-1:]
    assert guest.run(f"stat -c '%G %a' {bus}").strip() == "i2c 660"
    assert guest.run("journalctl --unit=systemd-udevd --output=cat | grep 60-gateway-agent || true") == ""


def test_who_takes_too_much_memory_is_ended_and_the_box_goes_on(guest: Guest, tmp_path: Path) -> None:
    probe(guest, "memory", tmp_path)
    assert guest.run("systemctl show -p ExecMainStatus --value gateway-agent").strip() == "9"
    assert "oom" in guest.run("dmesg | grep -i 'oom.*gateway-agent' || true")
    assert guest.run("systemctl is-active systemd-journald dbus").split() == ["active", "active"]


def test_the_boards_watchdog_is_fed_by_systemd(guest: Guest) -> None:
    """softdog acts the board's; systemd takes it when it reads its configuration again."""
    guest.run("modprobe softdog && mkdir -p /etc/systemd/system.conf.d", timeout_s=_PATIENCE_S)
    guest.run("cp /root/systemd/system.conf /etc/systemd/system.conf.d/", timeout_s=_PATIENCE_S)
    guest.run("systemctl daemon-reexec", timeout_s=_PATIENCE_S)
    assert guest.run("systemctl show -p RuntimeWatchdogUSec --value").strip() == "15s"
    assert guest.run("cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout").split() == [
        "active",
        "15",
    ]
