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
"""`vehicle`: something drove there, and what it was could not be told."""
Direction = Literal["in", "out"]
Severity = Literal["info", "warning", "critical"]


class Body(BaseModel):
    # Built when first made: a box uses a few of the kinds, and each takes a quarter of a megabyte.
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Evidence(Body):
    """The picture that belongs to an alert. It stays on the box unless the box's policy or a request sends it."""

    id: str = Field(description="its name on the topic `evidence/<id>` and in requests")
    sha256: str = Field(description="of the JPEG, hexadecimal")
    bytes: int = Field(ge=1, description="size of the JPEG")


Attributes = Annotated[
    dict[str, str] | None, Field(description="what the camera's readers say of the object, by name: colour …")
]


class Alert(Body):
    """What every alert carries that a rule of the configuration raised, beside what happened."""

    rule: str = Field(description="the rule's id in the configuration")
    severity: Severity
    evidence: Evidence | None = None
    attributes: Attributes = None


class Crossing(Body):
    """A tracked object passed a line. Standing at a and looking to b, "in" is from the left hand to the right hand."""

    kind: Literal["crossing"] = "crossing"
    line: str = Field(description="the line's id in the configuration")
    direction: Direction
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1, description="the object's number on this camera; not used again within a day")
    speed_kmh: float | None = Field(default=None, ge=0, description="where the camera is calibrated and it can be told")
    speed_error_kmh: float | None = Field(
        default=None, ge=0, description="19 of 20 true speeds lie within so much of it"
    )
    attributes: Attributes = None


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


class WrongWay(Alert):
    """An object passed a line in the direction that is not allowed."""

    kind: Literal["wrong-way"] = "wrong-way"
    line: str
    direction: Direction = Field(description="the one it took")
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1)


class Restricted(Alert):
    """An object is in a zone where none of its class may be, or not at this time."""

    kind: Literal["restricted"] = "restricted"
    zone: str
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1)


class Loitering(Alert):
    """An object stays in a zone longer than allowed."""

    kind: Literal["loitering"] = "loitering"
    zone: str
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1)
    dwell_s: float = Field(ge=0, description="how long it had been inside when this was said, seconds")


class Stopped(Alert):
    """A vehicle stands in a zone longer than allowed."""

    kind: Literal["stopped"] = "stopped"
    zone: str
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1)
    dwell_s: float = Field(ge=0, description="how long it had not moved when this was said, seconds")


class Speeding(Alert):
    """A vehicle was faster than the limit by more than the measurement may be wrong. A reason to look, not evidence for
    a fine: the camera is no certified instrument."""

    kind: Literal["speeding"] = "speeding"
    line: str | None = Field(default=None, description="where it was measured: a line")
    zone: str | None = Field(default=None, description="or a zone")
    object_class: ObjectClass = Field(alias="class")
    track: int = Field(ge=1)
    speed_kmh: float = Field(ge=0, description="as measured")
    speed_error_kmh: float = Field(ge=0, description="19 of 20 true speeds lie within so much of it")
    limit_kmh: float = Field(gt=0, description="the limit of the configuration")


class StateAlert(Alert):
    """An alert about something that lasts: said when it begins (raised) and when it is over (cleared)."""

    state: Literal["raised", "cleared"]
    alert: str = Field(description="the same for the raising and the clearing message")
    lasted_s: float | None = Field(default=None, ge=0, description="with cleared: how long it lasted")


class Congestion(StateAlert):
    """A zone is full of vehicles that hardly move. With cleared: the figures it was last congested with."""

    kind: Literal["congestion"] = "congestion"
    zone: str
    vehicles: float = Field(ge=0, description="in the zone, averaged over the last seconds")
    mean_speed_kmh: float | None = Field(default=None, ge=0, description="theirs, where the camera is calibrated")
    mean_speed_lengths_per_s: float | None = Field(
        default=None, ge=0, description="theirs in own lengths per second, where it is not"
    )


class Crowd(StateAlert):
    """More people are in a zone than it is meant for. With cleared: the figure it was last crowded with."""

    kind: Literal["crowd"] = "crowd"
    zone: str
    people: float = Field(ge=0, description="in the zone, averaged over the last seconds")


Place = tuple[float, float, float, float]


class LeftBehind(StateAlert):
    """A thing lies in a zone that was not there before, and nobody is with it (raised); it was fetched, or has become
    part of the scene (cleared). Each thing is an alert of its own."""

    kind: Literal["left-behind"] = "left-behind"
    zone: str
    place: Place = Field(description="left, top, right, bottom, in fractions of the picture's width and height")
    dwell_s: float = Field(ge=0, description="how long it had been there, seconds")


class Removed(StateAlert):
    """A thing that belonged to the zone's picture is gone (raised); it is back, or has become part of how the scene is
    without it (cleared). Each thing is an alert of its own."""

    kind: Literal["removed"] = "removed"
    zone: str
    place: Place = Field(description="left, top, right, bottom, in fractions of the picture's width and height")
    dwell_s: float = Field(ge=0, description="how long it had been gone, seconds")


class CameraSilent(Body):
    """A camera gives no pictures (raised), or gives them again (cleared)."""

    kind: Literal["camera-silent"] = "camera-silent"
    state: Literal["raised", "cleared"]
    alert: str = Field(description="the same for the raising and the clearing message")
    reason: str | None = Field(default=None, description="what the driver said, without credentials")
    lasted_s: float | None = Field(default=None, ge=0, description="with cleared: how long it lasted")


Fault = Literal["dark", "overexposed", "blurred", "covered", "moved", "frozen"]


class CameraFault(Body):
    """A camera gives pictures of which little or nothing can be seen (raised), or its view is as usual again (cleared).

    What else is told of that camera in between is doubtful, and is told all the same.
    """

    kind: Literal["camera-fault"] = "camera-fault"
    fault: Fault = Field(description="what is wrong with the picture")
    state: Literal["raised", "cleared"]
    alert: str = Field(description="the same for the raising and the clearing message")
    severity: Severity
    lasted_s: float | None = Field(default=None, ge=0, description="with cleared: how long it lasted")


Cause = Literal["hot", "slowed", "undervoltage", "load"]


class BoxStrained(Body):
    """The box looks less often than it is configured to (raised), or as often as that again (cleared)."""

    kind: Literal["box-strained"] = "box-strained"
    state: Literal["raised", "cleared"]
    alert: str = Field(description="the same for the raising and the clearing message")
    severity: Severity
    causes: tuple[Cause, ...] = Field(description="when it was raised; health tells those of now")
    cpu_c: float | None = Field(default=None, description="temperature of the processor at this moment")
    lasted_s: float | None = Field(default=None, ge=0, description="with cleared: how long it lasted")


class Check(Body):
    """One thing that was tried when a box was commissioned."""

    name: str = Field(description='what was tried: "camera north", "broker ioc.example:8883", "clock" …')
    fine: bool = Field(description="it worked")
    words: str = Field(description="what the technician was told, in the language of the terminal")


class Commissioned(Body):
    """Somebody has installed or changed the box and tried everything on it; this is the report of it."""

    kind: Literal["commissioned"] = "commissioned"
    problems: int = Field(ge=0, description="how many of the checks are not fine")
    checks: tuple[Check, ...] = Field(description="everything that was tried")
    versions: dict[str, str] = Field(description="of agent, python, model, system, kernel, board …, by name")
    pictures: dict[str, Evidence] | None = Field(
        default=None, description="by camera: what it shows with its lines and zones, all people pixelated"
    )


class BoxUpdate(Body):
    """What became of an update file that the box was given: a release of the agent, a model pack, a configuration, or
    the keys it believes."""

    kind: Literal["box-update"] = "box-update"
    result: Literal["accepted", "refused", "confirmed", "rolled-back"] = Field(
        description="accepted: it is whole, rightly signed, runs, and must now prove itself; confirmed: it works; "
        "rolled-back: it did not, and what was before works again; refused: nothing was changed"
    )
    severity: Severity
    file: str = Field(description="the file's name")
    update: str | None = Field(default=None, description="the same for all that is said of one file, where it was read")
    artifact: Literal["release", "pack", "config", "trust"] | None = Field(default=None, description="what it carries")
    name: str | None = Field(default=None, description="of a pack: its name")
    version: str | None = Field(default=None, description="the version that the file brings")
    previous: str | None = Field(default=None, description="the version that it replaces")
    reason: str | None = Field(default=None, description="why it was refused or rolled back; or what could not be told")


Outcome = Literal["accepted", "done", "refused", "failed", "repeated"]
Via = Literal["mqtt", "web", "local", "agent"]


class Audit(Body):
    """One entry of the box's audit log: who did or asked for what, and what became of it.

    Each names the hash of the one before it, so none can be changed or taken out without all that follow showing it.
    """

    kind: Literal["audit"] = "audit"
    n: int = Field(ge=1, description="the entry's number; 1, 2, 3 … for the life of the box's store")
    at: int | None = Field(default=None, description="when, UTC Unix ms; none: the box's clock had not been set")
    via: Via = Field(description="mqtt: a command; web: the box's page; local: at the box; agent: the agent by itself")
    by: str = Field(description="who: the key's name and the person that it spoke for, the page's or the box's user")
    role: str | None = Field(default=None, description="in which role, where roles decide")
    did: str = Field(description="a command's name, or what was done at the box")
    outcome: Outcome = Field(description="repeated: its id had come before, and nothing was done")
    id: str | None = Field(default=None, description="of a command: its id")
    what: str | None = Field(default=None, description="its arguments, shortened; secrets left out")
    why: str | None = Field(default=None, description="of what was refused or failed: the reason")
    before: str = Field(description="hash of the entry before it; 64 zeros for the first")
    hash: str = Field(description="SHA-256 of this entry, hexadecimal; see the contract for over which bytes")


GapReason = Literal["disk-full", "corrupt", "rejected", "too-big"]


class Gap(Body):
    """Messages not to wait for: the box had to drop them, and says which. Those a consumer already has stay valid."""

    kind: Literal["gap"] = "gap"
    stream: Stream
    first: int = Field(ge=1, description="first sequence number missing")
    last: int = Field(ge=1, description="last sequence number missing")
    reason: GapReason = Field(description="why they were dropped")
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
    n: int = Field(ge=1, description="how many objects")


class ZoneOccupancy(Body):
    """How many objects were in one zone during the interval."""

    zone: str
    mean: float = Field(ge=0, description="objects inside, averaged over the interval's time")
    peak: int = Field(ge=0, description="most objects inside at once")


class LineFlow(Body):
    """How the vehicles of one line and direction followed each other during the interval; all but people count."""

    line: str
    direction: Direction
    mean_speed_kmh: float | None = Field(default=None, ge=0, description="of those whose speed could be told")
    headway_s: float | None = Field(
        default=None, ge=0, description="mean time from one vehicle's crossing to the next one's"
    )


class Counts(Body):
    """What one camera counted in one interval; lines with nothing to say are left out."""

    kind: Literal["counts"] = "counts"
    interval_s: float = Field(gt=0, description="length of the interval that ends at this message's time")
    lines: tuple[LineCount, ...] = Field(default=(), description="per line, direction and class; those with 0 left out")
    zones: tuple[ZoneOccupancy, ...] = Field(default=(), description="per zone")
    flows: tuple[LineFlow, ...] | None = Field(default=None, description="none: nothing to say of any line")
    seen_s: float = Field(ge=0, description="seconds of the interval in which the camera gave pictures")


# ---- sensors ---------------------------------------------------------------------------------------------------------


class Quantity(Body):
    """A further quantity of the same reading."""

    quantity: str
    value: float
    unit: str


class Reading(Body):
    """What a sensor measured: said when it has changed by its deadband, and at its heartbeat."""

    kind: Literal["reading"] = "reading"
    quantity: str | None = Field(default=None, description="which one; absent for a sensor that has only one")
    value: float
    unit: str = Field(description="one of a closed list, such as °C, µg/m³, m; see the handbook")
    more: tuple[Quantity, ...] | None = Field(default=None, description="what else was measured at the same moment")


class SensorAlert(Body):
    """What all alerts about a sensor carry: raised and cleared under one id."""

    state: Literal["raised", "cleared"]
    alert: str = Field(description="the same for the raising and the clearing message")
    quantity: str | None = Field(
        default=None, description="which one; absent for a sensor that has only one, or for all"
    )
    name: str | None = Field(default=None, description="what people call it, from the configuration")
    lasted_s: float | None = Field(default=None, ge=0, description="with cleared: how long it lasted")


class SensorLimit(SensorAlert, Alert):
    """A quantity passed a limit of the configuration (raised), or came back behind it (cleared)."""

    kind: Literal["sensor-limit"] = "sensor-limit"
    bound: Literal["above", "below", "rising", "falling"] = Field(description="which side of the limit is the bad one")
    limit: float = Field(description="in `unit`")
    value: float = Field(description="at this moment; for rising and falling the change, per minute")
    unit: str = Field(description="as in readings; for rising and falling with /min behind it")


class Input(SensorAlert, Alert):
    """A contact is on (raised) or off again (cleared): door open, tampered with, mains lost. `rule` is its id."""

    kind: Literal["input"] = "input"


class SensorSilent(SensorAlert):
    """A sensor does not answer, or never tells one of its quantities."""

    kind: Literal["sensor-silent"] = "sensor-silent"
    reason: str | None = Field(default=None, description="what the driver said")


class SensorInvalid(SensorAlert):
    """A sensor answers, but with what cannot be true: wrong checksums, values outside its range."""

    kind: Literal["sensor-invalid"] = "sensor-invalid"
    reason: str | None = Field(default=None, description="what was found and what was wanted")


class SensorStuck(SensorAlert):
    """A quantity has not moved for longer than the configuration takes for natural; its readings are withheld."""

    kind: Literal["sensor-stuck"] = "sensor-stuck"
    value: float
    unit: str


Lasting = StateAlert | SensorAlert | CameraSilent | CameraFault | BoxStrained
"""What is raised and cleared, both under one id."""


def cleared(body: Lasting, lasted_s: float) -> Lasting:
    """What clears an alert that was raised: without what belongs to its beginning."""
    unsaid = {"reason", "evidence", "attributes"} & type(body).model_fields.keys()
    said = {"state": "cleared", "lasted_s": round(max(lasted_s, 0.0), 1)}
    return body.model_copy(update={**dict.fromkeys(unsaid), **said})


SensorBody = Reading | SensorLimit | Input | SensorSilent | SensorInvalid | SensorStuck


AnyBody = Annotated[
    Crossing
    | ZoneEnter
    | ZoneExit
    | Dwell
    | WrongWay
    | Restricted
    | Loitering
    | Stopped
    | Speeding
    | Congestion
    | Crowd
    | LeftBehind
    | Removed
    | CameraSilent
    | CameraFault
    | BoxStrained
    | Commissioned
    | BoxUpdate
    | Audit
    | Gap
    | NewLedger
    | Counts
    | SensorBody,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell the IOC, before it has a number."""

    stream: Stream
    source: str  # a camera's or sensor's id, or "box"
    body: Body
    stamp: Stamp
