"""What the kernel says of the machine, for `doctor`: disks and their errors, memory, its log.

Reads files below /proc and /sys and nothing else; what a machine does not have is not known, and is no finding.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.ops.findings import Finding, finding

_ENOUGH_OF_DISK = 0.05
_LEAST_MB, _MOST_MB = 50, 500  # wanted free, whatever 5 % of the disk are
_NAMES = 1000  # more files than the agent makes in a day
_ENOUGH_OF_MEMORY = 0.05
_WORN = 0x0A  # in tenths of an eMMC's life: 90 to 100 % are used

_KERNEL_LOG = Path("/dev/kmsg")
_LOG_BYTES = 4 << 20  # more than the kernel keeps
_DISK_TROUBLE = re.compile(
    r"I/O error, dev |EXT4-fs error|EXT4-fs .*[Rr]emounting filesystem read-only|critical medium error"
    r"|^mmc\d+: (?:.*\berror\b|.*timeout|card stuck)",
)
_KILLED = re.compile(r"Out of memory: Killed process|Memory cgroup out of memory: Killed process")
_POWER = re.compile(r"Under-?voltage detected", re.IGNORECASE)


def nearest(folder: Path) -> Path:
    """The folder, or what is above it, as far as it is there for this user to see."""
    return next(one for one in (folder, *folder.parents) if os.path.exists(one))  # Path.exists() raises for some


def disks(written: Iterable[Path], others: Iterable[Path] = ()) -> Iterator[Finding]:
    """written: folders that the agent must be able to write; others may be read-only, as a root that is meant to be so,
    or as all but a few folders are in a sandbox.

    A folder that is not there counts as the nearest above it. Each disk is told once.
    """
    seen = set()
    for folder, is_written in [*((one, True) for one in written), *((one, False) for one in others)]:
        there = nearest(folder)
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        yield from _disk(there, is_written)


def _disk(folder: Path, is_written: bool) -> Iterator[Finding]:
    space = os.statvfs(folder)
    if space.f_flag & os.ST_RDONLY:  # then it does not fill either
        if is_written:
            yield finding("disk-readonly", path=folder)
        return
    whole_mb = space.f_blocks * space.f_frsize / 1e6
    free_mb = space.f_bavail * space.f_frsize / 1e6
    wanted_mb = min(max(whole_mb * _ENOUGH_OF_DISK, _LEAST_MB), _MOST_MB)
    if free_mb < wanted_mb:
        percent = round(100 * free_mb / whole_mb) if whole_mb else 0
        yield finding("disk-full", path=folder, free_mb=int(free_mb), percent=percent, wanted_mb=round(wanted_mb))
    if space.f_files and space.f_favail < _NAMES:
        yield finding("disk-no-names", path=folder, free=space.f_favail, wanted=_NAMES)


def devices(folders: Iterable[Path], sysfs: Path) -> frozenset[str]:
    """The kernel's names of what the folders are on: "mmcblk0p2", and the whole, "mmcblk0"; of memory there is none."""
    names = set()
    for folder in folders:
        number = nearest(folder).stat().st_dev
        device = sysfs / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
        if device.exists():
            names.add(device.resolve().name)
            if (device / "partition").exists():
                names.add(device.resolve().parent.name)
            names |= {slave.name for slave in device.glob("slaves/*")}  # of an encrypted or logical volume
    return frozenset(names)


def disk_errors(sysfs: Path, ours: frozenset[str]) -> Iterator[Finding]:
    """What file systems and cards count themselves: no right to the kernel's log is needed for that."""
    for file in sorted(sysfs.glob("fs/ext4/*/errors_count")):
        count = _number(_text(file))
        if count and file.parent.name in ours:
            yield finding(
                "disk-errors", where=f"{file.parent.name} (ext4)", why=f"{count} error(s) since it was checked"
            )
    for file in sorted(sysfs.glob("class/mmc_host/*/*/life_time")):
        used = max((_number(word, base=16) or 0 for word in _text(file).split()), default=0)
        if used >= _WORN:
            yield finding("disk-worn", where=file.parent.name, percent=min(used * 10, 100))
    for file in sorted(sysfs.glob("class/mmc_host/*/*/pre_eol_info")):
        if (_number(_text(file), base=16) or 0) >= 2:  # 1 is normal
            yield finding("disk-errors", where=file.parent.name, why="its spare blocks are nearly used up")


def memory(meminfo: Path = Path("/proc/meminfo")) -> Iterator[Finding]:
    kb = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", _text(meminfo), re.MULTILINE)}
    total, free = kb.get("MemTotal"), kb.get("MemAvailable")
    if total and free is not None and free < total * _ENOUGH_OF_MEMORY:
        wanted_mb = round(total * _ENOUGH_OF_MEMORY / 1000)
        yield finding("memory-low", free_mb=free // 1000, total_mb=total // 1000, wanted_mb=wanted_mb)


def kernel_log(path: Path = _KERNEL_LOG) -> list[str] | None:
    """The kernel's messages, oldest first, as `dmesg` shows them; None if this user may not read them."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    data = bytearray()
    try:
        while len(data) < _LOG_BYTES:
            try:
                record = os.read(fd, 8192)
            except BlockingIOError:
                break  # there is no more now
            except BrokenPipeError:
                continue  # the oldest were overwritten while we read: go on with what is there
            except OSError:
                return None  # opened, but not to be read: a sandbox
            if not record:
                break
            data += record
    finally:
        os.close(fd)
    return [_message(line) for line in data.decode(errors="replace").splitlines() if not line.startswith(" ")]


def _message(record: str) -> str:
    """ "6,339,5140900,-;NET: Registered" → "[    5.140900] NET: Registered"."""
    head, _, text = record.partition(";")
    fields = head.split(",")
    micro_s = _number(fields[2]) if len(fields) > 2 else None
    return f"[{micro_s / 1e6:12.6f}] {text}" if micro_s is not None else record


def in_kernel_log(messages: list[str], ours: frozenset[str]) -> Iterator[Finding]:
    """Of each kind of trouble the last message: it is the one that counts, and a dying card writes thousands.

    ours: the devices that count; what happened to a stick that was pulled out is no trouble of the box.
    """
    plain = [re.sub(r"^\[ *[\d.]+\] ", "", message) for message in messages]
    if trouble := [text for text in plain if _DISK_TROUBLE.search(text) and _is_about(text, ours)]:
        yield finding("disk-errors", where="kernel", why=f"{trouble[-1][:160]} ({len(trouble)})")
    if killed := [text for text in plain if _KILLED.search(text)]:
        yield finding("memory-killed", why=killed[-1][:160])
    if any(_POWER.search(text) for text in plain):
        yield finding("power-was-low")


def model(path: Path = Path("/proc/device-tree/model")) -> str | None:
    """What the board calls itself: "Raspberry Pi 4 Model B Rev 1.4"."""
    return _text(path).strip("\0") or None


def _is_about(message: str, ours: frozenset[str]) -> bool:
    """mmc0 is the slot of a card: one that has trouble there is ours if anything is on a card."""
    if message.startswith("mmc"):
        return any(name.startswith("mmcblk") for name in ours)
    return any(re.search(rf"\b{re.escape(name)}\b", message) for name in ours)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str, base: int = 10) -> int | None:
    try:
        return int(text, base)
    except ValueError:
        return None
