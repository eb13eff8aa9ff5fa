"""What a box says about itself, off the ledger: `state` (birth and last will, retained) and `health` (its pulse).

Both only ever describe the present, so a lost one is mended by the next and needs no number.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.contract.event import Cause, Fault
from agent.contract.wire import PayloadError


class Part(BaseModel):
    """Extra fields are welcome: a driver may add what it knows. Names ending in a unit, JSON values."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def fields(self) -> dict[str, Any]:
        """As on the wire: JSON values, None left out."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        """What `decode` made of a payload. Raises PayloadError saying what is wrong with it."""
        try:
            return cls.model_validate(fields)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            raise PayloadError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from exc


class State(Part):
    """Retained on `…/state`. The broker publishes the offline one for a box that vanishes (last will)."""

    online: bool
    reason: Literal["started", "stopped", "lost"] = Field(description="lost: the broker says so, not the box")
    agent: str = Field(description="version of the agent")
    epoch: int = Field(ge=0, le=0xFFFFFFFF, description="epoch of the messages the box numbers now")
    boot: int = Field(ge=1, description="counts the box's boots; `up` of messages without `boot` belongs to this one")
    boot_id: str = Field(description="the kernel's id of this boot")
    since: int | None = Field(default=None, description="connected since, UTC Unix ms")
    clock: Literal["unset"] | None = Field(default=None, description="`since` was taken before the wall clock was set")
    last: dict[str, int] | None = Field(default=None, description="last number given out so far, per stream")


class CameraHealth(Part):
    state: Literal["open", "opening", "silent", "ended"]
    fps: float | None = Field(default=None, ge=0, description="pictures per second taken, lately")
    dropped: int | None = Field(default=None, ge=0, description="pictures dropped for a fresher one, since start")
    inferred: int | None = Field(default=None, ge=0, description="pictures given to the detector, since start")
    error: str | None = None
    faults: tuple[Fault, ...] | None = Field(
        default=None, description="what is wrong with its picture now, if anything"
    )
    bugs: int | None = Field(default=None, ge=1, description="times a stage failed and was started anew, since start")


class SensorHealth(Part):
    state: Literal["ok", "opening", "silent", "invalid", "stuck"]
    name: str | None = Field(default=None, description="what people call it, from the configuration")
    age_s: float | None = Field(default=None, ge=0, description="since its last good value")
    values: dict[str, float] = Field(default_factory=dict, description="the last good value per quantity")
    error: str | None = None


class OutputHealth(Part):
    on: bool
    error: str | None = None


class OutboxHealth(Part):
    rows: int = Field(ge=0, description="messages not acknowledged yet")
    bytes: int = Field(ge=0)
    max_bytes: int = Field(ge=0)
    oldest_s: float | None = Field(default=None, ge=0, description="age of the oldest of them")
    last: dict[str, int] = Field(description="last number given out, per stream: what a consumer should have by now")


class LinkHealth(Part):
    state: Literal["up", "down"]
    broker: str | None = None
    since: int | None = Field(default=None, description="connected since, UTC Unix ms")
    in_flight: int = Field(0, ge=0)
    acked: int = Field(0, ge=0, description="messages the broker took, since start")
    no_subscribers: int = Field(0, ge=0, description="of these, how many it said nobody listens to (MQTT 5 only)")
    refused: int = Field(0, ge=0, description="refusals by the broker, repeated ones counted again")
    error: str | None = None


class BudgetHealth(Part):
    limit_per_s: float = Field(ge=0, description="inferences a second that all cameras may have together, now")
    max_per_s: float = Field(ge=0, description="as configured")
    causes: tuple[Cause, ...] | None = Field(default=None, description="why it is less than that, if it is")
    granted: int = Field(ge=0, description="inferences that cameras asked for and had, since start")
    refused: int = Field(ge=0, description="that they asked for and had not")


class EvidenceHealth(Part):
    pictures: int = Field(ge=0, description="kept on the box")
    bytes: int = Field(ge=0)
    max_bytes: int = Field(ge=0)
    waiting: int = Field(ge=0, description="of these, how many are still to be sent")
    not_stored: int = Field(0, ge=0, description="alerts that had to go without their picture, since start")
    given_up: int = Field(0, ge=0, description="pictures the broker does not take, since start")
    error: str | None = None


class Health(Part):
    """Published on `…/health`, not retained, not numbered."""

    time: int = Field(description="UTC Unix ms, as the box believes")
    uptime_s: float = Field(ge=0, description="since the agent started")
    agent: str
    clock_trusted: bool
    runtime: str | None = Field(default=None, description="inference runtime and its version")
    model: str | None = Field(default=None, description="model pack in use")
    cameras: dict[str, CameraHealth] = Field(default_factory=dict)
    sensors: dict[str, SensorHealth] | None = None
    outputs: dict[str, OutputHealth] | None = None
    outbox: OutboxHealth | None = None
    link: LinkHealth | None = None
    evidence: EvidenceHealth | None = Field(default=None, description="where there are pictures")
    budget: BudgetHealth | None = None
    cpu_c: float | None = Field(default=None, description="temperature of the processor")
    rss_bytes: int | None = Field(default=None, ge=0)
    disk_free_bytes: int | None = Field(default=None, ge=0)
