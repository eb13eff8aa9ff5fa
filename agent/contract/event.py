"""What the agent says to the IOC: one Event, made by a stage, numbered by the outbox, sent by the uplink.

An Event is a body (what happened, one pydantic model per kind below) with its stream, its source and its time.
The names of the body's fields are the names on the wire. `agent.contract.wire` turns it into JSON or CBOR.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.clock import Stamp


class Stream(StrEnum):
    """A ledger: messages of one stream are numbered 1, 2, 3 … and kept in order. Most important first."""

    ALERT = "alert"
    COUNT = "count"
    READING = "reading"


ObjectClass = Literal["person", "bicycle", "motorcycle", "car", "bus", "truck", "vehicle"]
Direction = Literal["in", "out"]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Crossing(Body):
    """A tracked object passed a line. Standing at a and looking to b, "in" is from the left hand to the right hand."""

    kind: Literal["crossing"] = "crossing"
    line: str = Field(description="the line's id in the configuration")
    direction: Direction
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1, description="the object's number on this camera; not reused until the agent starts anew")


class ZoneEnter(Body):
    """A tracked object came into a zone, or was first seen inside it."""

    kind: Literal["enter"] = "enter"
    zone: str
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1)


class ZoneExit(Body):
    """A tracked object left a zone, or was lost inside it."""

    kind: Literal["exit"] = "exit"
    zone: str
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1)
    dwell_s: float = Field(ge=0, description="how long it was inside, seconds")


class Dwell(Body):
    """A tracked object has been in a zone for as long as the zone's dwell_s; said once per stay."""

    kind: Literal["dwell"] = "dwell"
    zone: str
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1)
    dwell_s: float = Field(ge=0, description="how long it had been inside when this was said, seconds")


class CameraSilent(Body):
    """A camera gives no pictures (raised), or gives them again (cleared)."""

    kind: Literal["camera-silent"] = "camera-silent"
    state: Literal["raised", "cleared"]
    alert: str = Field(description="the same for the raising and the clearing message")
    reason: str | None = Field(default=None, description="what the driver said, without credentials")
    lasted_s: float | None = Field(default=None, ge=0, description="with cleared: how long it lasted")


GapReason = Literal["disk-full", "corrupt", "rejected", "too-big"]


class Gap(Body):
    """Messages not to wait for: the box had to drop them, and says which. Those a consumer already has stay valid."""

    kind: Literal["gap"] = "gap"
    stream: Stream
    first: int = Field(ge=1, description="first sequence number missing")
    last: int = Field(ge=1, description="last sequence number missing")
    reason: GapReason
    of: int | None = Field(
        default=None, ge=0, le=0xFFFFFFFF, description="epoch of the numbers, when not this message's own"
    )


class NewLedger(Body):
    """The box's store was damaged and set aside: numbering starts again at 1 in a new epoch."""

    kind: Literal["new-ledger"] = "new-ledger"
    of: int | None = Field(
        default=None, ge=0, le=0xFFFFFFFF, description="the epoch that ended, where it could still be read"
    )
    salvaged: int = Field(ge=0, description="messages saved from the damaged store; they leave under their old numbers")
    reason: str = Field(description="what was wrong with the store")
    file: str = Field(description="the name under which the damaged store is kept on the box")


class LineCount(Body):
    """How many objects of one class crossed one line in one direction during the interval."""

    line: str
    direction: Direction
    object_class: ObjectClass = Field(alias="class")
    n: int = Field(ge=1)


class ZoneOccupancy(Body):
    zone: str
    mean: float = Field(ge=0, description="objects inside, averaged over the interval's time")
    peak: int = Field(ge=0)


class Counts(Body):
    """What one camera counted in one interval; lines with nothing to say are left out."""

    kind: Literal["counts"] = "counts"
    interval_s: float = Field(gt=0, description="length of the interval that ends at this message's time")
    lines: tuple[LineCount, ...] = ()
    zones: tuple[ZoneOccupancy, ...] = ()
    seen_s: float = Field(ge=0, description="seconds of the interval in which the camera gave pictures")


AnyBody = Annotated[
    Crossing | ZoneEnter | ZoneExit | Dwell | CameraSilent | Gap | NewLedger | Counts,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell the IOC, before it has a number."""

    stream: Stream
    source: str  # a camera's or sensor's id, or "box"
    body: Body
    stamp: Stamp
