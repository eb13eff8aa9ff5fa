"""A guest does what the tests that use it build on. Minutes the first time: pytest -m slow tests/guest"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.guest import CachedDisk, Guest, GuestError, image, make_ext4, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not(build=True) is not None, reason=str(why_not(build=True))),
]
MOUNT = "mkdir -p /data && mount /dev/disk/by-id/virtio-data /data"


def test_a_guest_runs_commands_takes_files_and_loses_its_power(tmp_path: Path) -> None:
    make_ext4(tmp_path / "data.img", 64 << 20)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note").write_text("from here")
    with CachedDisk(tmp_path / "data.img", tmp_path / "nbd") as disk:
        with Guest(image(), tmp_path / "first") as guest:
            assert guest.run("hostname").strip() == "guest"
            with pytest.raises(GuestError, match="exit code 3"):
                guest.run("exit 3")
            with pytest.raises(GuestError, match="not done in"):
                guest.run("sleep 60", timeout_s=3.0)
            guest.copy_in(tmp_path / "in", "/tmp")
            guest.copy_out("/tmp/in/note", tmp_path)
            assert (tmp_path / "note").read_text() == "from here"
            guest.run("echo said >/dev/virtio-ports/report")
            guest.attach("data", disk)
            guest.run(f"{MOUNT} && echo kept >/data/kept && sync && echo lost >/data/lost")
            guest.power_cut()
            assert guest.report.read_text() == "said\n"
        disk.cut(0.0, random.Random(1))
        with Guest(image(), tmp_path / "second") as guest:
            guest.attach("data", disk)
            assert guest.run(f"{MOUNT} && cat /data/kept; ls /data").split() == ["kept", "kept", "lost+found"]
            assert "in" not in guest.run("ls /tmp").split()  # its root disk is as it was at first


def test_nothing_outside_can_be_reached_from_within(tmp_path: Path) -> None:
    with Guest(image(), tmp_path / "guest") as guest:
        for address in ("10.0.2.2", "10.0.2.3"):  # where QEMU's network has this machine, and its name server
            tried = f"import socket; socket.create_connection(('{address}', 53), 5)"
            with pytest.raises(GuestError, match="Error"):
                guest.run(f'python3 -c "{tried}"')
