"""The box at a glance, in words: from health, diary and advice to lines that a template only has to set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.contract.box import BudgetHealth, Health, LinkHealth
from agent.contract.event import Alert, CameraFault
from agent.ops.words import speaking
from agent.web.advice import Advice
from agent.web.diary import Diary, Hour, Noted
from agent.web.history import History
from agent.web.words import Language, span, words

CHART_HEIGHT, _BAR, _GAP = 64, 10, 4  # of the bars, in units of their picture
HOURS = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """Of one hour: places in the picture, heights for in and out."""

    x: int
    label: str
    n_in: int
    n_out: int
    high_in: float
    high_out: float


def advice(found: Advice | None, language: Language) -> dict[str, Any] | None:
    if found is None:
        return None
    with speaking(language):
        told = [
            {"level": one.level, "about": one.about, "found": one.found, "wanted": one.wanted, "todo": one.todo}
            for one in found.findings
        ]
    return {"told": told, "problems": found.problems, "age": span(found.age_s, language)}


def cameras(health: Health, language: Language) -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "fine": one.state in ("open", "ended") and not one.faults,
            "state": words(f"state-{one.state}", language),
            "faults": ", ".join(words(f"fault-{fault}", language) for fault in one.faults or ()),
            "fps": words("per-s", language, n=one.fps),
            "error": one.error or "",
        }
        for name, one in health.cameras.items()
    ]


def sensors(health: Health, history: History, language: Language) -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "name": one.name or name,
            "fine": one.state == "ok",
            "state": words("state-silent-sensor" if one.state == "silent" else f"state-{one.state}", language),
            "age": "" if one.age_s is None else words("age", language, age=span(one.age_s, language)),
            "error": one.error or "",
            "values": [
                {"quantity": quantity, "value": f"{value:g}", "curve": history.curve("sensor", name, quantity)}
                for quantity, value in one.values.items()
            ],
        }
        for name, one in (health.sensors or {}).items()
    ]


def figures(health: Health, history: History, now: datetime, language: Language) -> list[dict[str, Any]]:
    """Name, value, whether it is as it should be, and a curve where there is one."""
    return [
        {"name": words(name, language), "value": value, "fine": fine, "curve": history.curve(curve) if curve else None}
        for name, value, fine, curve in _figures(health, now, language)
    ]


def _figures(health: Health, now: datetime, language: Language) -> Iterator[tuple[str, str, bool, str]]:
    outbox = health.outbox
    if outbox is not None:
        value = words("outbox-rows", language, n=outbox.rows) if outbox.rows else words("outbox-empty", language)
        if outbox.rows and outbox.oldest_s is not None:
            value += "; " + words("outbox-oldest", language, age=span(outbox.oldest_s, language))
        yield "outbox", value, outbox.bytes < 0.8 * outbox.max_bytes, "outbox"
    yield "link", *_link(health.link, language), ""
    clock = "clock-set" if health.clock_trusted else "clock-unset"
    yield "clock", words(clock, language, time=f"{now:%Y-%m-%d %H:%M}"), health.clock_trusted, ""
    if health.cpu_c is None:
        yield "heat", words("heat-unknown", language), True, ""
    else:
        is_cool = "hot" not in (health.budget.causes or () if health.budget else ())
        yield "heat", f"{health.cpu_c:.0f} °C", is_cool, "cpu_c"
    if health.budget is not None and health.cameras:
        yield "looks", *_budget(health.budget, language), ""
    if health.disk_free_bytes is not None:
        yield "disk", words("disk-free", language, size=size(health.disk_free_bytes)), True, ""
    if health.rss_bytes is not None:
        yield "memory", size(health.rss_bytes), True, ""
    yield "uptime", span(health.uptime_s, language), True, ""
    versions = [f"gateway-agent {health.agent}", health.model, health.runtime]
    yield "versions", ", ".join(one for one in versions if one), True, ""


def _link(link: LinkHealth | None, language: Language) -> tuple[str, bool]:
    if link is None:
        return words("link-none", language), False
    if link.state == "up":
        return words("link-up", language, broker=link.broker or ""), True
    return "; ".join(part for part in (words("link-down", language), link.error) if part), False


def _budget(budget: BudgetHealth, language: Language) -> tuple[str, bool]:
    if not budget.causes:
        return words("looks-limit", language, n=f"{budget.limit_per_s:g}"), True
    causes = ", ".join(words(f"cause-{cause}", language) for cause in budget.causes)
    values = {"n": f"{budget.limit_per_s:g}", "max": f"{budget.max_per_s:g}", "causes": causes}
    return words("looks-less", language, **values), False


def alerts(noted: list[Noted], kept: set[str], language: Language) -> list[dict[str, Any]]:
    """kept: ids of the pictures that are still there."""
    return [
        {
            "what": what(one, language),
            "source": one.source,
            "time": f"{one.at:%H:%M:%S}" if one.is_time_known else words("clock-doubtful", language),
            "date": f"{one.at:%Y-%m-%d}",
            "severity": getattr(one.body, "severity", "warning"),
            "open": one.is_open,
            "over": "" if one.over_s is None else words("alert-over", language, age=span(one.over_s, language)),
            "picture": one.evidence.id if one.evidence and one.evidence.id in kept else None,
            "picture_is_gone": one.evidence is not None and one.evidence.id not in kept,
        }
        for one in noted
    ]


def what(noted: Noted, language: Language) -> str:
    """ "wrong way: car, gate" """
    body = noted.body
    about = [_class(body, language), *(getattr(body, name, None) for name in ("line", "zone", "quantity"))]
    if isinstance(body, CameraFault):
        about.append(words(f"fault-{body.fault}", language))
    if isinstance(body, Alert) and not any(about):
        about.append(body.rule)
    kind = words(f"kind-{body.kind}", language)  # type: ignore[union-attr]  # every kind of them has one
    return ": ".join(part for part in (kind, ", ".join(one for one in about if one)) if part)


def _class(body: object, language: Language) -> str:
    name = getattr(body, "object_class", None)
    return words(f"class-{name}", language) if name else ""


def bars(hours: list[Hour]) -> list[Bar]:
    most = max((sum(hour.by_direction.values()) for hour in hours), default=0) or 1
    return [
        Bar(
            x=n * (_BAR + _GAP),
            label=f"{hour.began:%H}",
            n_in=(n_in := hour.by_direction.get("in", 0)),
            n_out=(n_out := hour.by_direction.get("out", 0)),
            high_in=round(n_in / most * CHART_HEIGHT, 1),
            high_out=round(n_out / most * CHART_HEIGHT, 1),
        )
        for n, hour in enumerate(hours)
    ]


def hours(diary: Diary, cameras: list[str], now_ms: int) -> list[dict[str, Any]]:
    return [{"camera": camera, "bars": bars(diary.hours(camera, now_ms, HOURS))} for camera in cameras]


def size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
