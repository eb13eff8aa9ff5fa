"""What the database's ledger says, box by box. Costs in proportion to what is missing, and to the number of boxes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from agent.consumer.database import Database

Stretch = tuple[str, int, int, int]
"""stream, epoch, first, last"""

_BOXES = """
select site, box, sum(messages), sum(repeats), max(newest) from (
  select site, box, repeats, newest,
    (select coalesce(sum(upper(r) - lower(r)), 0) from unnest(seen) as r) as messages
  from gateway.ledger
) l group by site, box order by site, box
"""
_MISSING = "select site, box, stream, epoch, first, last from gateway.missing order by 1, 2, 3, 4, 5"
_EXCUSED = """
select site, box, stream, epoch, first, last, reason from gateway.gap order by site, box, stream, epoch, first
"""
_BEHIND = "select site, box, stream, epoch, first, last from gateway.behind order by 1, 2, 3"
_ASIDE = "select count(*), coalesce(sum(times), 0) from gateway.set_aside"


@dataclass(slots=True)
class BoxReport:
    """messages: different ones that came. behind: numbered by the box, beyond the highest that is here."""

    site: str
    box: str
    messages: int = 0
    repeats: int = 0
    newest: str | None = None
    missing: list[Stretch] = field(default_factory=list)
    excused: list[tuple[str, int, int, int, str]] = field(default_factory=list)
    behind: list[Stretch] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        parts = [f"{self.messages} messages", f"{self.repeats} repeats"]
        parts.append(f"missing {_listed(self.missing)}" if self.missing else "nothing missing")
        if self.excused:
            parts.append("excused " + ", ".join(f"{_stretch(*gap[:4])} ({gap[4]})" for gap in self.excused))
        if self.behind:
            parts.append(f"not here yet {_listed(self.behind)}")
        return f"{self.site}/{self.box}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Report:
    """set_aside: different messages that could not be stored, and how often they came."""

    boxes: list[BoxReport]
    set_aside: tuple[int, int]

    @property
    def is_complete(self) -> bool:
        return not any(box.missing for box in self.boxes)


def report(database: Database) -> Report:
    """Raises DatabaseDown, and ConfigError for a database without our schema."""
    boxes: dict[tuple[str, str], BoxReport] = {}
    for site, box, messages, repeats, newest in database.query(_BOXES):
        boxes[site, box] = BoxReport(site, box, int(messages), int(repeats), newest.isoformat())
    for site, box, *stretch in database.query(_MISSING):
        _of(boxes, site, box).missing.append(tuple(stretch))
    for site, box, *gap in database.query(_EXCUSED):
        _of(boxes, site, box).excused.append(tuple(gap))
    for site, box, *stretch in database.query(_BEHIND):
        _of(boxes, site, box).behind.append(tuple(stretch))
    ((different, times),) = database.query(_ASIDE)
    return Report([boxes[key] for key in sorted(boxes)], (int(different), int(times)))


def _of(boxes: dict[tuple[str, str], BoxReport], site: str, box: str) -> BoxReport:
    return boxes.setdefault((site, box), BoxReport(site, box))


def _listed(stretches: list[Stretch]) -> str:
    return ", ".join(_stretch(*stretch) for stretch in stretches)


def _stretch(stream: str, epoch: int, first: int, last: int) -> str:
    return f"{stream} {first}{'' if first == last else f' to {last}'} of epoch {epoch}"
