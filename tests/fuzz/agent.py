"""The parsers of ours that read what comes from the broker, and what the kernel's files say of plugged-in devices."""

from __future__ import annotations

import atexit
import json
import random
import shutil
import tempfile
import tomllib
from pathlib import Path

from agent.commands import read_request, vectors
from agent.commands.request import NotTaken
from agent.contract.command import COMMANDS, read_args
from agent.contract.wire import PayloadError, pack, parse
from agent.update.trust import parse_trust
from agent.update.verify import Now
from drivers.cameras.discover import list_csi
from drivers.inventory import list_accelerators, list_ports
from tests.fuzz.damage import damaged
from tests.fuzz.run import Outcome, Target
from tests.support.commands import ask, commanders_text
from tests.support.updates import trust_text

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
_ARGS = {one["name"]: one["claims"].get("args", {}) for one in vectors.build()["commands"]}
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


_BELIEVED = parse_trust(trust_text() + commanders_text(), "trust.toml").table.commander
_SIGNED = [one for name in ("vy", "ad", "mallory") for one in (ask(name, "ping"), ask(name, "restart"))]


def commands(chance: random.Random) -> Outcome:
    """What is taken was signed as it stands by somebody who may; all else is refused with a reason, and id and command
    of whoever asked are harmless."""
    made = damaged(chance.choice(_SIGNED), chance, _FILLINGS)
    try:
        request = read_request(made, _BELIEVED, "site/box", Now(None, 0))
    except NotTaken as exc:
        return _told(str(exc), exc.id, exc.command)
    # Of the two texts around the dots not a bit may have changed; the last sign of the signature has two idle bits.
    assert any(made.rpartition(b".")[0] == good.rpartition(b".")[0] for good in _SIGNED), f"taken: {made!r}"
    assert request.by in ("vy", "ad"), f"taken: {made!r}"
    return Outcome.TAKEN


def arguments(chance: random.Random) -> Outcome:
    """Arguments that somebody who may has signed: fitting ones, or a refusal that names the command's own."""
    name = chance.choice([*COMMANDS])
    text = damaged(json.dumps(_ARGS.get(name, {})).encode(), chance, _FILLINGS)
    try:
        args = json.loads(text)
    except (ValueError, RecursionError):
        return Outcome.REFUSED
    try:
        read_args(name, args if isinstance(args, dict) else {"args": args})
    except PayloadError as exc:
        return _told(str(exc), name)
    return Outcome.TAKEN


def _told(why: str, *of: str | None) -> Outcome:
    assert why
    assert all(text is None or (len(text) <= 64 and text.isprintable()) for text in of)
    return Outcome.REFUSED


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
    return [Target("commands", commands), Target("arguments", arguments), Target("messages", messages), inventory()]
