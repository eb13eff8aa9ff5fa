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

    online: bool = Field(description="the box is connected")
    reason: Literal["started", "stopped", "lost"] = Field(description="lost: the broker says so, not the box")
    agent: str = Field(description="version of the agent")
    epoch: int = Field(ge=0, le=0xFFFFFFFF, description="epoch of the messages the box numbers now")
    boot: int = Field(ge=1, description="counts the box's boots; `up` of messages without `boot` belongs to this one")
    boot_id: str = Field(description="the kernel's id of this boot")
    since: int | None = Field(default=None, description="connected since, UTC Unix ms")
    clock: Literal["unset"] | None = Field(default=None, description="`since` was taken before the wall clock was set")
    last: dict[str, int] | None = Field(default=None, description="last number given out so far, per stream")


class CameraHealth(Part):
    """One camera, now."""

    state: Literal["open", "opening", "silent", "ended"] = Field(description="ended: a recording that was played")
    fps: float | None = Field(default=None, ge=0, description="pictures per second taken, lately")
    dropped: int | None = Field(default=None, ge=0, description="pictures dropped for a fresher one, since start")
    inferred: int | None = Field(default=None, ge=0, description="pictures given to the detector, since start")
    error: str | None = None
    faults: tuple[Fault, ...] | None = Field(
        default=None, description="what is wrong with its picture now, if anything"
    )
    bugs: int | None = Field(default=None, ge=1, description="times a stage failed and was started anew, since start")


class SensorHealth(Part):
    """One sensor, now."""

    state: Literal["ok", "opening", "silent", "invalid", "stuck"] = Field(
        description="as the alerts of these names say"
    )
    name: str | None = Field(default=None, description="what people call it, from the configuration")
    age_s: float | None = Field(default=None, ge=0, description="since its last good value")
    values: dict[str, float] = Field(default_factory=dict, description="the last good value per quantity")
    error: str | None = None


class OutputHealth(Part):
    """One siren or light, now."""

    on: bool = Field(description="it is switched on")
    error: str | None = None


class OutboxHealth(Part):
    """The store of what waits to be sent."""

    rows: int = Field(ge=0, description="messages not acknowledged yet")
    bytes: int = Field(ge=0, description="that they take")
    max_bytes: int = Field(ge=0, description="that they may take")
    oldest_s: float | None = Field(default=None, ge=0, description="age of the oldest of them")
    last: dict[str, int] = Field(description="last number given out, per stream: what a consumer should have by now")


class LinkHealth(Part):
    """The connection to the broker."""

    state: Literal["up", "down"] = Field(description="connected or not")
    broker: str | None = Field(default=None, description="host and port of the one it is connected to")
    since: int | None = Field(default=None, description="connected since, UTC Unix ms")
    in_flight: int = Field(0, ge=0, description="messages sent and not acknowledged yet")
    acked: int = Field(0, ge=0, description="messages the broker took, since start")
    no_subscribers: int = Field(0, ge=0, description="of these, how many it said nobody listens to (MQTT 5 only)")
    refused: int = Field(0, ge=0, description="refusals by the broker, repeated ones counted again")
    error: str | None = None


class BudgetHealth(Part):
    """How often all cameras together may look."""

    limit_per_s: float = Field(ge=0, description="inferences a second that all cameras may have together, now")
    max_per_s: float = Field(ge=0, description="as configured")
    causes: tuple[Cause, ...] | None = Field(default=None, description="why it is less than that, if it is")
    granted: int = Field(ge=0, description="inferences that cameras asked for and had, since start")
    refused: int = Field(ge=0, description="that they asked for and had not")


class EvidenceHealth(Part):
    """The store of pictures of alerts."""

    pictures: int = Field(ge=0, description="kept on the box")
    bytes: int = Field(ge=0, description="that they take")
    max_bytes: int = Field(ge=0, description="that they may take")
    waiting: int = Field(ge=0, description="of these, how many are still to be sent")
    not_stored: int = Field(0, ge=0, description="alerts that had to go without their picture, since start")
    given_up: int = Field(0, ge=0, description="pictures the broker does not take, since start")
    error: str | None = None


class Health(Part):
    """Published on `…/health`, not retained, not numbered."""

    time: int = Field(description="UTC Unix ms, as the box believes")
    uptime_s: float = Field(ge=0, description="since the agent started")
    agent: str = Field(description="version of the agent")
    clock_trusted: bool = Field(description="the wall clock has been set since the box booted")
    runtime: str | None = Field(default=None, description="inference runtime and its version")
    model: str | None = Field(default=None, description="model pack in use")
    cameras: dict[str, CameraHealth] = Field(default_factory=dict, description="by id")
    sensors: dict[str, SensorHealth] | None = Field(default=None, description="by id")
    outputs: dict[str, OutputHealth] | None = Field(default=None, description="by id")
    outbox: OutboxHealth | None = Field(default=None, description="what waits to be sent")
    link: LinkHealth | None = Field(default=None, description="the connection to the broker")
    evidence: EvidenceHealth | None = Field(default=None, description="where there are pictures")
    budget: BudgetHealth | None = Field(default=None, description="inferences a second, on a box with cameras")
    cpu_c: float | None = Field(default=None, description="temperature of the processor")
    rss_bytes: int | None = Field(default=None, ge=0, description="memory that the agent has resident")
    disk_free_bytes: int | None = Field(default=None, ge=0, description="free on the disk of the store")
