"""The parsers of ours that read what comes from the broker, and what the kernel's files say of plugged-in devices."""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
import tomllib
from pathlib import Path

from agent.contract.wire import PayloadError, decode, pack, parse
from agent.uplink.commands import CommandRefused, Handler, answer
from drivers.cameras.discover import list_csi
from drivers.inventory import list_accelerators, list_ports
from tests.fuzz.damage import damaged
from tests.fuzz.run import Outcome, Target

_FILLINGS = (
    *(
        b"{",
        b"}",
        b"[",
        b"[" * 3000,
        b'"',
        b":",
        b",",
        b"-",
        b"e999",
        b"9" * 5000,
        b"null",
        b"NaN",
        b"\\ud800",
        b"\x00",
    ),
    *(b"\xa1", b"\x81" * 3000, b"\xbf", b"\xff", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\xc2\x49", b"\xd8\x1d\x00"),
)
_COMMANDS = [
    pack(fields, form)
    for form in ("json", "cbor")
    for fields in ({"command": "ping", "id": "q7"}, {"command": "evidence", "id": "q8", "evidence": "42-9f86d081884c"})
]
_CROSSING = {"epoch": 2671403458, "seq": 1234, "time": 1763966800000, "up": 123456, "kind": "crossing"}
_CROSSING |= {"line": "gate", "direction": "in", "class": "car", "track": 57}
_READING = {
    **_CROSSING,
    "kind": "reading",
    "value": 23.1,
    "unit": "µg/m³",
    "more": {"no2": {"value": 4, "unit": "µg/m³"}},
}
_MESSAGES = [pack(fields, form) for form in ("json", "cbor") for fields in (_CROSSING, _READING)]
_SYSFS_FILLINGS = (
    b"-",
    b"--",
    b"9" * 500,
    b"\n",
    b"\x00",
    b" ",
    b'"',
    b"'",
    b"\\",
    b"]",
    b"\x1b[2J",
    b"\xe2\x80\xa8",
    b"\xc2\xb2",
)


def _no_picture(command: object) -> dict[str, object]:
    raise CommandRefused("no such picture")


_HANDLERS: dict[str, Handler] = {"ping": lambda command: {"rows": 0}, "evidence": _no_picture}


def commands(chance: random.Random) -> Outcome:
    """Every request gets one answer that can be read, and nothing is done that was not asked for by name."""
    request = damaged(chance.choice(_COMMANDS), chance, _FILLINGS)
    reply = decode(answer(request, _HANDLERS))
    assert reply["result"] in ("done", "refused")
    if reply["result"] == "refused":
        assert reply["why"]
        return Outcome.REFUSED
    assert b"ping" in request or b"\\u" in request, f"done: {request!r}"
    return Outcome.TAKEN


def messages(chance: random.Random) -> Outcome:
    """What a consumer reads: ledger fields within their ranges, or a refusal."""
    try:
        envelope = parse(damaged(chance.choice(_MESSAGES), chance, _FILLINGS)).envelope
    except PayloadError:
        return Outcome.REFUSED
    assert 0 <= envelope.epoch < 1 << 32
    assert envelope.seq >= 1
    assert envelope.time_ms >= 0
    return Outcome.TAKEN


_MACHINE = {
    "sys/class/thermal/thermal_zone0/temp": b"48312\n",
    "sys/class/thermal/thermal_zone0/type": b"cpu-thermal\n",
    "sys/class/hwmon/hwmon0/temp1_input": b"-1250\n",
    "sys/class/hwmon/hwmon0/temp1_label": b"Composite\n",
    "sys/class/video4linux/v4l-subdev0/name": b"imx708 10-001a\n",
    "sys/bus/pci/devices/0000:01:00.0/vendor": b"0x1ac1\n",
    "sys/bus/pci/devices/0000:01:00.0/device": b"0x089a\n",
    "proc/device-tree/compatible": b"nvidia,p3768-0000+p3767-0005\x00nvidia,tegra234\x00",
    "proc/device-tree/model": b"NVIDIA Jetson Orin Nano\x00",
}
"""What the kernel shows of a few devices: file and text."""


def inventory() -> Target:
    root = Path(tempfile.mkdtemp(prefix="fuzz-machine-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for name, text in _MACHINE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text)

    every = len(_stanzas(root))

    def once(chance: random.Random) -> Outcome:
        """Whatever a file says: lines to paste that are TOML, and hold nothing but what is to be pasted."""
        name = chance.choice([*_MACHINE])
        (root / name).write_bytes(damaged(_MACHINE[name], chance, _SYSFS_FILLINGS))
        try:
            found = _stanzas(root)
        finally:
            (root / name).write_bytes(_MACHINE[name])
        for stanza in found:
            assert set(tomllib.loads(stanza)) <= {"sensor", "camera", "detector"}, stanza
            assert stanza.replace("\n", "").isprintable(), stanza
        return Outcome.TAKEN if len(found) == every else Outcome.REFUSED

    return Target("inventory", once)


def _stanzas(root: Path) -> list[str]:
    found = [one.stanza("x") for one in (*list_ports(root), *list_accelerators(root))]
    return [*found, *(camera.stanza("x") for camera in list_csi(root / "sys"))]


def targets() -> list[Target]:
    return [Target("commands", commands), Target("messages", messages), inventory()]
