"""What the kernel says of disks and memory, read from trees and texts as kernels write them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agent.ops import machine
from agent.ops.findings import Finding
from tests.support.small_disk import small_disk
from tests.support.sysfs import FakeSysfs

CARD = frozenset({"mmcblk0p2", "mmcblk0"})


def kinds(found: list[Finding]) -> list[str]:
    return [one.kind for one in found]


# ---- disks -----------------------------------------------------------------------------------------------------------


def test_a_disk_with_room_is_no_finding_and_a_full_one_is(tmp_path: Path) -> None:
    with small_disk("tmpfs", tmp_path, 200) as disk:
        assert kinds(list(machine.disks([disk]))) == []
        (disk / "data").write_bytes(b"x" * (190 << 20))
        (full,) = machine.disks([disk, disk / "a folder that is not there"])
        assert full.kind == "disk-full"
        assert full.values["free_mb"] < full.values["wanted_mb"] == 50
        assert full.values["path"] == disk


def test_a_disk_without_room_for_names_is_a_finding(tmp_path: Path) -> None:
    with small_disk("ext4", tmp_path, 8) as disk:
        for number in range(os.statvfs(disk).f_favail - 500):
            (disk / str(number)).touch()
        assert "disk-no-names" in kinds(list(machine.disks([disk])))


def test_a_disk_that_can_only_be_read_is_told_as_that_alone(tmp_path: Path) -> None:
    with small_disk("ext4", tmp_path, 20) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert kinds(list(machine.disks([disk]))) == ["disk-readonly"]
        assert kinds(list(machine.disks([], [disk]))) == [], "a root that is meant to be read-only is no trouble"


def test_the_device_of_a_folder_is_found_with_the_disk_that_it_is_a_part_of(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    part = tmp_path / "sys/devices/mmcblk0/mmcblk0p2"
    part.mkdir(parents=True)
    (part / "partition").write_text("2\n")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block" / f"{os.major(number)}:{os.minor(number)}").symlink_to(part)
    assert machine.devices([tmp_path / "not there yet"], tmp_path / "sys") == CARD


def test_errors_that_a_file_system_counts_are_told_of_our_disks_only(tmp_path: Path) -> None:
    sysfs = FakeSysfs(tmp_path)
    sysfs.write("fs/ext4/mmcblk0p2/errors_count", "0")
    sysfs.write("fs/ext4/sda1/errors_count", "12")  # somebody's stick
    assert list(machine.disk_errors(tmp_path, CARD)) == []
    sysfs.write("fs/ext4/mmcblk0p2/errors_count", "3")
    (one,) = machine.disk_errors(tmp_path, CARD)
    assert one.kind == "disk-errors"
    assert one.values == {"where": "mmcblk0p2 (ext4)", "why": "3 error(s) since it was checked"}


@pytest.mark.parametrize(
    ("life", "eol", "wanted"),
    [
        pytest.param("0x01 0x03", "0x01", [], id="young"),
        pytest.param("0x02 0x0a", "0x01", ["disk-worn"], id="one part is worn"),
        pytest.param("0x0b 0x01", "0x03", ["disk-worn", "disk-errors"], id="beyond its end"),
        pytest.param("0x00 0x00", "0x00", [], id="does not say"),
    ],
)
def test_a_worn_emmc_is_told(tmp_path: Path, life: str, eol: str, wanted: list[str]) -> None:
    sysfs = FakeSysfs(tmp_path)
    sysfs.write("class/mmc_host/mmc0/mmc0:0001/life_time", life)
    sysfs.write("class/mmc_host/mmc0/mmc0:0001/pre_eol_info", eol)
    assert kinds(list(machine.disk_errors(tmp_path, CARD))) == wanted


# ---- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("free_kb", "wanted"), [(200_000, []), (40_000, ["memory-low"])])
def test_little_memory_is_told(tmp_path: Path, free_kb: int, wanted: list[str]) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:        1000000 kB\nMemFree:          10000 kB\nMemAvailable:     {free_kb} kB\n")
    assert kinds(list(machine.memory(meminfo))) == wanted


def test_this_machine_tells_its_memory() -> None:
    assert "MemAvailable" in Path("/proc/meminfo").read_text()


# ---- the kernel's log ------------------------------------------------------------------------------------------------

LOG = """6,1,100,-;Booting Linux on physical CPU 0x0
 SUBSYSTEM=cpu
4,802,5140900,-;Under-voltage detected! (0x00050005)
3,903,9000000,-;mmc0: error -110 whilst initialising SD card
3,904,9100000,-;I/O error, dev mmcblk0, sector 12345 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2
2,905,9200000,-;EXT4-fs error (device mmcblk0p2): ext4_find_entry:1455: inode #2: comm sh: reading directory lblock 0
3,906,9300000,-;I/O error, dev sda, sector 1 op 0x0:(READ)
3,907,9400000,-;Out of memory: Killed process 812 (python) total-vm:2000kB
"""


@pytest.fixture
def log(tmp_path: Path) -> list[str]:
    (tmp_path / "kmsg").write_text(LOG)
    messages = machine.kernel_log(tmp_path / "kmsg")
    assert messages is not None
    return messages


def test_the_log_reads_as_dmesg_shows_it(log: list[str]) -> None:
    assert log[1] == "[    5.140900] Under-voltage detected! (0x00050005)"
    assert len(log) == 7


def test_of_each_trouble_in_the_log_the_last_message_is_told(log: list[str]) -> None:
    found = {one.kind: one.values for one in machine.in_kernel_log(log, CARD)}
    assert set(found) == {"disk-errors", "memory-killed", "power-was-low"}
    assert found["disk-errors"]["why"].startswith("EXT4-fs error (device mmcblk0p2)")
    assert found["disk-errors"]["why"].endswith("(3)")


def test_trouble_of_a_disk_that_is_not_ours_is_not_told(log: list[str]) -> None:
    on_disk = [one for one in machine.in_kernel_log(log, frozenset({"nvme0n1"})) if one.kind == "disk-errors"]
    assert on_disk == []


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/kmsg").exists(), reason="only root may read the kernel's log")
def test_the_kernels_own_log_can_be_read() -> None:
    messages = machine.kernel_log()
    assert messages
    assert all(message.startswith("[") for message in messages)


def test_a_log_that_may_not_be_read_is_not_known(tmp_path: Path) -> None:
    assert machine.kernel_log(tmp_path / "none") is None
