"""The disk that forgets: what a power cut may take from it, and what not."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.disk import SECTOR_BYTES, CachedDisk

SECTORS = 64
A, B, OLD = (letter * SECTOR_BYTES for letter in (b"a", b"b", b"."))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CachedDisk]:
    path = tmp_path / "disk.img"
    path.write_bytes(OLD * SECTORS)
    with CachedDisk(path, tmp_path / "nbd") as disk:
        yield disk


def medium(tmp_path: Path) -> bytes:
    return (tmp_path / "disk.img").read_bytes()


def test_it_reads_what_was_written_before_that_is_flushed(disk: CachedDisk, tmp_path: Path) -> None:
    disk.write(SECTOR_BYTES, A + A)
    disk.write(2 * SECTOR_BYTES, B)
    assert disk.read(0, 4 * SECTOR_BYTES) == OLD + A + B + OLD
    assert medium(tmp_path) == OLD * SECTORS


def test_what_was_flushed_survives_and_the_rest_may_not(disk: CachedDisk, tmp_path: Path) -> None:
    disk.write(0, A)
    disk.flush()
    disk.write(0, B + B)
    assert disk.cut(0.0, random.Random(1)) == 2
    assert medium(tmp_path) == A + OLD * (SECTORS - 1)
    assert disk.read(0, SECTOR_BYTES) == A


def test_each_sector_survives_for_itself_and_in_any_version(disk: CachedDisk, tmp_path: Path) -> None:
    disk.write(0, A * SECTORS)
    disk.write(0, B * SECTORS)
    assert disk.cut(0.5, random.Random(1)) == SECTORS
    data = medium(tmp_path)
    assert {data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES)} == {A, B, OLD}


def test_a_larger_piece_survives_whole_or_not_at_all(disk: CachedDisk, tmp_path: Path) -> None:
    disk.write(0, A * SECTORS)
    disk.write(0, B * SECTORS)
    disk.cut(0.5, random.Random(1), piece_bytes=8 * SECTOR_BYTES)
    data = medium(tmp_path)
    pieces = {data[at : at + 8 * SECTOR_BYTES] for at in range(0, len(data), 8 * SECTOR_BYTES)}
    assert pieces == {A * 8, B * 8, OLD * 8}


@pytest.mark.skipif(shutil.which("qemu-io") is None, reason="no qemu-io; apt-get install qemu-utils")
def test_qemu_has_it_as_a_disk_and_its_flush_counts(disk: CachedDisk, tmp_path: Path) -> None:
    def qemu_io(*commands: str) -> str:
        words = [word for command in commands for word in ("-c", command)]
        command = ["qemu-io", "-f", "raw", "-t", "writeback", *words, f"nbd+unix:///?socket={tmp_path / 'nbd'}"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    qemu_io("write -P 0x61 0 1024", "flush")  # qemu-io also flushes when it ends
    assert medium(tmp_path) == A + A + OLD * (SECTORS - 2)
    assert "pattern verification failed" not in qemu_io("read -P 0x61 0 1024", "read -P 0x2e 1024 512").lower()


@pytest.mark.skipif(shutil.which("qemu-io") is None, reason="no qemu-io; apt-get install qemu-utils")
def test_it_falls_silent_in_the_middle_of_writing(disk: CachedDisk, tmp_path: Path) -> None:
    failed = disk.fail_at_write(2)
    commands = [word for at in (0, 512, 1024) for word in ("-c", f"write -P 0x61 {at} 512")]
    command = ["qemu-io", "-f", "raw", "-t", "writeback", *commands, f"nbd+unix:///?socket={tmp_path / 'nbd'}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        assert failed.wait(30)
        process.kill()
    assert disk.cut(0.0, random.Random(1)) == 2
    assert medium(tmp_path) == OLD * SECTORS
