"""Test vectors for those who port the consumer: `python -m agent.contract.vectors` writes vectors.json.

messages    a topic, the fields, and the same payload in JSON and in CBOR; byte for byte what a box sends
others      the same, of what is not on the ledger: state, health, answers to commands
refused     payloads that are none: a consumer drops them, and does not fall over
ledger      runs of the reference consumer: what it is told, step by step, and what it must answer

A test fails when the file is older than the code.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.contract.audit import FIRST, sealed
from agent.contract.box import (
    BudgetHealth,
    CameraHealth,
    EvidenceHealth,
    Health,
    LinkHealth,
    OutboxHealth,
    OutputHealth,
    Part,
    SensorHealth,
    State,
)
from agent.contract.command import Reply
from agent.contract.event import (
    Audit,
    Body,
    BoxStrained,
    BoxUpdate,
    CameraFault,
    CameraSilent,
    Check,
    Commissioned,
    Congestion,
    Counts,
    Crossing,
    Crowd,
    Dwell,
    Evidence,
    Gap,
    Input,
    LeftBehind,
    LineCount,
    LineFlow,
    Loitering,
    NewLedger,
    Quantity,
    Reading,
    Removed,
    Restricted,
    SensorInvalid,
    SensorLimit,
    SensorSilent,
    SensorStuck,
    Speeding,
    Stopped,
    Stream,
    WrongWay,
    ZoneEnter,
    ZoneExit,
    ZoneOccupancy,
)
from agent.contract.ledger import Ledger
from agent.contract.topics import BoxTopics
from agent.contract.wire import Envelope, body_json, decode, encode, pack

PATH = Path(__file__).with_name("vectors.json")

_TOPICS = BoxTopics("cua-bac", "gw-01")
_PLAIN = Envelope(epoch=2671403458, seq=1234, time_ms=1763966823123, up_ms=123456)
_LATE = replace(_PLAIN, seq=1235, late_s=3600)
_UNDATED = replace(_PLAIN, seq=1, time_ms=315532812000, boot=16, clock_unset=True)

_COMMANDED = sealed(
    Audit(
        n=1,
        at=1763966823100,
        via="mqtt",
        by="Lan (ioc-operators)",
        role="operator",
        did="evidence",
        outcome="done",
        id="q7",
        what='{"evidence":"42-9f86d081884c"}',
        before=FIRST,
        hash="",
    )
)

EXAMPLES: tuple[tuple[str, Stream, str, Envelope, Body], ...] = (
    (
        "a line crossing",
        Stream.ALERT,
        "north",
        _PLAIN,
        Crossing(line="gate", direction="in", object_class="car", track=57),
    ),
    (
        "a crossing of a car whose colour was read",
        Stream.ALERT,
        "north",
        _PLAIN,
        Crossing(line="gate", direction="in", object_class="car", track=57, attributes={"colour": "red"}),
    ),
    (
        "a crossing sent an hour after it happened",
        Stream.ALERT,
        "north",
        _LATE,
        Crossing(line="gate", direction="out", object_class="motorcycle", track=58),
    ),
    (
        "an event of an earlier boot, whose clock was never set",
        Stream.ALERT,
        "north",
        _UNDATED,
        Crossing(line="gate", direction="in", object_class="truck", track=3),
    ),
    ("into a zone", Stream.ALERT, "north", _PLAIN, ZoneEnter(zone="yard", object_class="person", track=60)),
    ("out of it", Stream.ALERT, "north", _PLAIN, ZoneExit(zone="yard", object_class="person", track=60, dwell_s=12.5)),
    ("inside for long", Stream.ALERT, "north", _PLAIN, Dwell(zone="yard", object_class="bus", track=61, dwell_s=300.0)),
    (
        "a crossing whose speed could be told",
        Stream.ALERT,
        "north",
        _PLAIN,
        Crossing(line="gate", direction="in", object_class="car", track=62, speed_kmh=43.1, speed_error_kmh=3.4),
    ),
    (
        "against the direction that is allowed",
        Stream.ALERT,
        "north",
        _PLAIN,
        WrongWay(
            rule="no-entry", severity="critical", line="gate", direction="out", object_class="motorcycle", track=63
        ),
    ),
    (
        "against the traffic, with a picture and what was read of it",
        Stream.ALERT,
        "north",
        _PLAIN,
        WrongWay(
            rule="no-entry",
            severity="critical",
            line="gate",
            direction="out",
            object_class="car",
            track=64,
            attributes={"colour": "white"},
            evidence=Evidence(
                id="42-9f86d081884c",
                sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                bytes=48211,
            ),
        ),
    ),
    (
        "where nobody may be at night",
        Stream.ALERT,
        "north",
        _PLAIN,
        Restricted(rule="yard-at-night", severity="critical", zone="yard", object_class="person", track=64),
    ),
    (
        "longer than allowed",
        Stream.ALERT,
        "north",
        _PLAIN,
        Loitering(rule="hangs-about", severity="warning", zone="yard", object_class="person", track=65, dwell_s=120.0),
    ),
    (
        "parked where it must not",
        Stream.ALERT,
        "north",
        _PLAIN,
        Stopped(rule="no-stopping", severity="warning", zone="kerb", object_class="car", track=66, dwell_s=60.0),
    ),
    (
        "too fast, measured at a line",
        Stream.ALERT,
        "north",
        _PLAIN,
        Speeding(
            rule="too-fast",
            severity="warning",
            line="gate",
            object_class="car",
            track=67,
            speed_kmh=71.5,
            speed_error_kmh=5.2,
            limit_kmh=60.0,
        ),
    ),
    (
        "traffic comes to a stand",
        Stream.ALERT,
        "north",
        _PLAIN,
        Congestion(
            rule="jam",
            severity="info",
            state="raised",
            alert="5e0c41b7",
            zone="lanes",
            vehicles=14.2,
            mean_speed_lengths_per_s=0.11,
        ),
    ),
    (
        "and flows again",
        Stream.ALERT,
        "north",
        _PLAIN,
        Congestion(
            rule="jam",
            severity="info",
            state="cleared",
            alert="5e0c41b7",
            lasted_s=845.0,
            zone="lanes",
            vehicles=9.8,
            mean_speed_lengths_per_s=0.2,
        ),
    ),
    (
        "more people than the place is meant for",
        Stream.ALERT,
        "north",
        _PLAIN,
        Crowd(rule="crowd", severity="warning", state="raised", alert="9d2210aa", zone="square", people=31.5),
    ),
    (
        "a thing that somebody left behind",
        Stream.ALERT,
        "north",
        _PLAIN,
        LeftBehind(
            rule="bags",
            severity="critical",
            state="raised",
            alert="03d7e1f5",
            zone="hall",
            place=(0.412, 0.63, 0.451, 0.702),
            dwell_s=60.0,
        ),
    ),
    (
        "and that is fetched",
        Stream.ALERT,
        "north",
        _PLAIN,
        LeftBehind(
            rule="bags",
            severity="critical",
            state="cleared",
            alert="03d7e1f5",
            lasted_s=212.5,
            zone="hall",
            place=(0.412, 0.63, 0.451, 0.702),
            dwell_s=272.5,
        ),
    ),
    (
        "a thing that somebody took away",
        Stream.ALERT,
        "north",
        _PLAIN,
        Removed(
            rule="barrier",
            severity="warning",
            state="raised",
            alert="b86a0c92",
            zone="hall",
            place=(0.1, 0.5, 0.18, 0.66),
            dwell_s=30.5,
        ),
    ),
    (
        "a camera gives no pictures",
        Stream.ALERT,
        "north",
        _PLAIN,
        CameraSilent(state="raised", alert="c1f0a9d2", reason="no picture for 5 s"),
    ),
    (
        "and gives them again",
        Stream.ALERT,
        "north",
        _PLAIN,
        CameraSilent(state="cleared", alert="c1f0a9d2", lasted_s=92.4),
    ),
    (
        "a camera is covered",
        Stream.ALERT,
        "north",
        _PLAIN,
        CameraFault(fault="covered", state="raised", alert="5d01c4aa", severity="critical"),
    ),
    (
        "and sees again",
        Stream.ALERT,
        "north",
        _PLAIN,
        CameraFault(fault="covered", state="cleared", alert="5d01c4aa", severity="critical", lasted_s=640.5),
    ),
    (
        "a box that is hot",
        Stream.ALERT,
        "box",
        _PLAIN,
        BoxStrained(state="raised", alert="77ab0c1e", severity="warning", causes=("hot",), cpu_c=81.5),
    ),
    (
        "and has cooled down",
        Stream.ALERT,
        "box",
        _PLAIN,
        BoxStrained(
            state="cleared", alert="77ab0c1e", severity="warning", causes=("hot",), cpu_c=69.5, lasted_s=5400.0
        ),
    ),
    (
        "a box that was installed",
        Stream.ALERT,
        "box",
        replace(_PLAIN, seq=1),
        Commissioned(
            problems=1,
            checks=(
                Check(name="camera north", fine=True, words="camera north: fine, 1280 x 720, H264"),
                Check(name="clock", fine=False, words="clock: not set"),
            ),
            versions={"agent": "0.1.0", "python": "3.11.2"},
            pictures={
                "north": Evidence(
                    id="1-9f86d081884c",
                    sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                    bytes=48211,
                )
            },
        ),
    ),
    (
        "an update that is being tried",
        Stream.ALERT,
        "box",
        _PLAIN,
        BoxUpdate(
            result="accepted",
            severity="info",
            file="gateway-update-0.2.0.gwu",
            update="9f86d081884c7d65",
            artifact="release",
            name="gateway-agent",
            version="0.2.0",
            previous="0.1.0",
        ),
    ),
    (
        "a file that is none",
        Stream.ALERT,
        "box",
        _PLAIN,
        BoxUpdate(
            result="refused",
            severity="warning",
            file="gateway-update-0.3.0.gwu",
            reason="it is cut off in manifest.json, 112 bytes before its end; fetch it again",
        ),
    ),
    (
        "an operator's command in the audit log",
        Stream.ALERT,
        "box",
        _PLAIN,
        _COMMANDED,
    ),
    (
        "and one that was refused, on a box that does not know the time",
        Stream.ALERT,
        "box",
        _UNDATED,
        sealed(
            Audit(
                n=2,
                via="mqtt",
                by="unknown",
                did="reboot",
                outcome="refused",
                id="q9",
                why="signed with key '00ff00ff00ff00ff', which may not command this box; who may: ioc-operators",
                before=_COMMANDED.hash,
                hash="",
            )
        ),
    ),
    (
        "numbers that will not come",
        Stream.ALERT,
        "box",
        _PLAIN,
        Gap(stream=Stream.READING, first=1001, last=1256, reason="disk-full"),
    ),
    (
        "numbers of an earlier epoch that will not come",
        Stream.ALERT,
        "box",
        _PLAIN,
        Gap(stream=Stream.COUNT, first=7, last=7, reason="corrupt", of=77),
    ),
    (
        "a new store",
        Stream.ALERT,
        "box",
        replace(_PLAIN, seq=1),
        NewLedger(of=77, salvaged=120, reason="database disk image is malformed", file="outbox.db.damaged"),
    ),
    (
        "the counts of a minute",
        Stream.COUNT,
        "north",
        _PLAIN,
        Counts(
            interval_s=60.0,
            lines=(
                LineCount(line="gate", direction="in", object_class="car", n=12),
                LineCount(line="gate", direction="in", object_class="motorcycle", n=31),
            ),
            zones=(ZoneOccupancy(zone="yard", mean=0.25, peak=2),),
            flows=(LineFlow(line="gate", direction="in", mean_speed_kmh=38.4, headway_s=1.36),),
            seen_s=59.8,
        ),
    ),
    ("the level of the water", Stream.READING, "drain", _PLAIN, Reading(value=1.32, unit="m")),
    (
        "what a weather station measured at one moment",
        Stream.READING,
        "roof",
        _PLAIN,
        Reading(
            quantity="temperature",
            value=31.4,
            unit="°C",
            more=(
                Quantity(quantity="humidity", value=78.0, unit="%"),
                Quantity(quantity="pressure", value=1004.25, unit="hPa"),
            ),
        ),
    ),
    (
        "the air gets bad",
        Stream.ALERT,
        "air",
        _PLAIN,
        SensorLimit(
            rule="pm25-high",
            severity="warning",
            state="raised",
            alert="5f0c11aa",
            quantity="pm25",
            name="Bụi mịn PM2.5",
            bound="above",
            limit=75.0,
            value=81.5,
            unit="µg/m³",
        ),
    ),
    (
        "and good again",
        Stream.ALERT,
        "air",
        _PLAIN,
        SensorLimit(
            rule="pm25-high",
            severity="warning",
            state="cleared",
            alert="5f0c11aa",
            quantity="pm25",
            name="Bụi mịn PM2.5",
            lasted_s=5400.0,
            bound="above",
            limit=75.0,
            value=61.0,
            unit="µg/m³",
        ),
    ),
    (
        "the water rises too fast",
        Stream.ALERT,
        "drain",
        _PLAIN,
        SensorLimit(
            rule="flood",
            severity="critical",
            state="raised",
            alert="77aa0102",
            bound="rising",
            limit=0.05,
            value=0.081,
            unit="m/min",
        ),
    ),
    (
        "the cabinet's door is open",
        Stream.ALERT,
        "cabinet",
        _PLAIN,
        Input(rule="door", severity="warning", state="raised", alert="0b1c2d3e", quantity="door", name="Cửa tủ"),
    ),
    (
        "a sensor does not answer",
        Stream.ALERT,
        "noise",
        _PLAIN,
        SensorSilent(state="raised", alert="90ab12cd", reason="no answer from device 3 at /dev/ttyUSB0"),
    ),
    (
        "a sensor says what cannot be",
        Stream.ALERT,
        "roof",
        _PLAIN,
        SensorInvalid(
            state="raised", alert="1234abcd", quantity="humidity", reason="131.1 % cannot be; wanted 0 to 100"
        ),
    ),
    (
        "a sensor does not move any more",
        Stream.ALERT,
        "drain",
        _PLAIN,
        SensorStuck(state="raised", alert="fe01dc23", value=0.42, unit="m"),
    ),
)

_LAST = {"alert": 12, "count": 1233, "reading": 40211}

OTHERS: tuple[tuple[str, str, Part], ...] = (
    (
        "a box is there",
        _TOPICS.state,
        State(
            online=True,
            reason="started",
            agent="0.1.0",
            epoch=2671403458,
            boot=17,
            boot_id="6b0f6a1e-6d5c-4c0e-9d0a-0d9f5a2f3c11",
            since=1763966800000,
            last=_LAST,
        ),
    ),
    (
        "a box has vanished: said by the broker",
        _TOPICS.state,
        State(
            online=False,
            reason="lost",
            agent="0.1.0",
            epoch=2671403458,
            boot=17,
            boot_id="6b0f6a1e-6d5c-4c0e-9d0a-0d9f5a2f3c11",
        ),
    ),
    (
        "the pulse of a box with a camera, a sensor and a siren",
        _TOPICS.health,
        Health(
            time=1763966823123,
            uptime_s=86.1,
            agent="0.1.0",
            clock_trusted=True,
            runtime="ai-edge-litert 2.1.0",
            model="ssd-mobilenet-v3-large-coco-320-int8 1.0.0",
            cameras={"north": CameraHealth(state="open", fps=9.9, dropped=3, inferred=412)},
            sensors={"drain": SensorHealth(state="ok", age_s=0.8, values={"drain": 1.32})},
            outputs={"siren": OutputHealth(on=False)},
            outbox=OutboxHealth(rows=0, bytes=0, max_bytes=536870912, last=_LAST),
            link=LinkHealth(
                state="up", broker="ioc.example:8883", since=1763966800000, in_flight=0, acked=57, no_subscribers=0
            ),
            evidence=EvidenceHealth(pictures=12, bytes=561230, max_bytes=209715200, waiting=0),
            budget=BudgetHealth(limit_per_s=40.0, max_per_s=40.0, granted=412, refused=0),
            cpu_c=58.4,
            rss_bytes=241172480,
            disk_free_bytes=21474836480,
        ),
    ),
    (
        "a command was done",
        _TOPICS.reply,
        Reply(
            result="done",
            command="ping",
            id="q7",
            data={
                "agent": "0.1.0",
                "uptime_s": 86.1,
                "epoch": 2671403458,
                "last": _LAST,
                "rows": 0,
                "streams": {"alert": 0, "count": 0, "reading": 0},
            },
        ),
    ),
    (
        "a command was refused",
        _TOPICS.reply,
        Reply(
            result="refused", command="evidence", id="q8", why="picture '42-9f86d081884c' is not on the box any more"
        ),
    ),
    ("a command that takes its time", _TOPICS.reply, Reply(result="accepted", command="restart", id="q10")),
    (
        "a command that was begun and went wrong",
        _TOPICS.reply,
        Reply(result="failed", command="snapshot", id="q11", why="camera north gave no picture within 10 s"),
    ),
    (
        "an id that had come before",
        _TOPICS.reply,
        Reply(result="done", command="restart", id="q10", data={"agent": "0.1.0"}, earlier=True),
    ),
)

REFUSED: tuple[tuple[str, bytes], ...] = (
    ("nothing", b""),
    ("neither an object nor a map", b"hello"),
    ("a list", b"[1,2,3]"),
    ("cut short", b'{"epoch":1,"seq":2'),
    ("CBOR, cut short", bytes.fromhex("a20001")),
    ("CBOR with a date in it", bytes.fromhex("a102c11a514b67b0")),
)

RUNS: tuple[tuple[str, bool, tuple[tuple[Any, ...], ...]], ...] = (
    ("in order, and a repeat", True, (("take", 77, 1), ("take", 77, 2), ("take", 77, 2), ("missing",))),
    (
        "a hole, filled later",
        True,
        (("take", 77, 1), ("take", 77, 5), ("missing",), ("take", 77, 3), ("take", 77, 3), ("missing",)),
    ),
    (
        "a hole that is excused, before and after it shows",
        True,
        (("take", 77, 1), ("excuse", 77, 3, 4), ("take", 77, 6), ("missing",), ("excuse", 77, 2, 5), ("missing",)),
    ),
    ("what was excused may come all the same", True, (("excuse", 77, 1, 3), ("take", 77, 4), ("take", 77, 2))),
    (
        "a new epoch begins at 1, and the old one may still go on",
        True,
        (("take", 77, 1), ("take", 91, 2), ("take", 77, 2), ("take", 91, 1), ("missing",)),
    ),
    ("joined while it runs", False, (("take", 77, 500), ("take", 77, 502), ("take", 77, 499), ("missing",))),
    ("an epoch that begins while one listens", False, (("take", 77, 500), ("take", 91, 2), ("missing",))),
    ("the newest have not come", True, (("take", 77, 3), ("behind", 77, 5), ("behind", 77, 3), ("behind", 91, 2))),
)


def build() -> dict[str, Any]:
    return {
        "about": "Test vectors of the gateway-agent contract v1; see agent/README.md. Payloads of CBOR are in hex.",
        "messages": [_message(*example) for example in EXAMPLES],
        "others": [_other(*example) for example in OTHERS],
        "refused": [{"name": name, "hex": payload.hex()} for name, payload in REFUSED],
        "ledger": [
            {"name": name, "from_start": from_start, "steps": _played(from_start, steps)}
            for name, from_start, steps in RUNS
        ],
    }


def _message(name: str, stream: Stream, source: str, envelope: Envelope, body: Body) -> dict[str, Any]:
    text = encode(envelope, body_json(body), "json")
    return {
        "name": name,
        "topic": _TOPICS.ledger(stream, source),
        "fields": decode(text),
        "json": text.decode(),
        "cbor": encode(envelope, body_json(body), "cbor").hex(),
    }


def _other(name: str, topic: str, part: Part) -> dict[str, Any]:
    fields = part.fields()
    return {
        "name": name,
        "topic": topic,
        "fields": fields,
        "json": pack(fields, "json").decode(),
        "cbor": pack(fields, "cbor").hex(),
    }


def _played(from_start: bool, steps: tuple[tuple[Any, ...], ...]) -> list[dict[str, Any]]:
    """Every step with its answer."""
    ledger, key = Ledger(from_start=from_start), ("cua-bac", "gw-01", "alert")
    played: list[dict[str, Any]] = []
    for what, *numbers in steps:
        answer: Any = getattr(ledger, what)(key, *numbers)
        if what == "take":
            answer = {
                "repeat": answer.repeat,
                "late": answer.late,
                "missing": answer.missing,
                "new_epoch": answer.new_epoch,
            }
        played.append({what: numbers, **({} if what == "excuse" else {"gives": answer})})
    return played


def text() -> str:
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
