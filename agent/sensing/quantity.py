"""One quantity of one sensor: what of its readings is worth saying.

Readings in, bodies of messages out, each with its time. A value that cannot be, or that has not moved for unnaturally
long, is no reading: it becomes an alert and is withheld. Reads no clock and knows no device.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agent.contract.event import (
    Body,
    Input,
    Quantity,
    SensorAlert,
    SensorInvalid,
    SensorLimit,
    SensorSilent,
    SensorStuck,
)
from agent.sensing.limits import Latch, Limit, LimitWatch
from drivers.base import Reading
from drivers.units import absurd

State = Literal["ok", "opening", "silent", "invalid", "stuck"]


@dataclass(frozen=True, slots=True)
class Said:
    """A body to be told, and when on the monotonic clock it became true."""

    body: Body
    mono_s: float


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says of one quantity.

    valid: outside of it a value is absurd, beside what the unit itself excludes.
    deadband: a change smaller than this waits for the heartbeat. stuck_s: not moving for longer is unnatural.
    severity, hold_s: for a quantity of the unit "bool", which is an input and not a reading.
    """

    name: str | None = None
    valid: tuple[float, float] | None = None
    deadband: float = 0.0
    heartbeat_s: float = 300.0
    stuck_s: float | None = None
    severity: Literal["info", "warning", "critical"] = "warning"
    hold_s: float = 0.0
    limits: tuple[Limit, ...] = ()


class QuantityWatch:
    """named: whether messages say which quantity it is; a sensor that has only one saves the bytes.

    stale_s: without a good value for so long, it is invalid or silent.
    """

    def __init__(self, quantity: str, rules: Rules, *, named: bool, stale_s: float, since_s: float) -> None:
        self.quantity = quantity
        self.value: float | None = None  # the last good one
        self.good_s: float | None = None
        self._rules = rules
        self._name_of = quantity if named else None
        self._stale_s = stale_s
        self._alive_s = since_s  # the last good value, or the beginning
        self._limits = [LimitWatch(limit) for limit in rules.limits]
        self._input = Latch(rules.hold_s)
        self._input_alert: str | None = None
        self._fault: tuple[Literal["silent", "invalid"], str] | None = None  # and the alert's id
        self._invalid: str | None = None  # what was wrong with the last value, if something was
        self._moved_s = since_s
        self._stuck_alert: str | None = None
        self._sent: tuple[float, float] | None = None  # value and time of the last reading told

    @property
    def state(self) -> State:
        if self._fault is not None:
            return self._fault[0]
        if self._stuck_alert is not None:
            return "stuck"
        return "opening" if self.value is None else "ok"

    @property
    def error(self) -> str | None:
        return self._invalid

    def take(self, reading: Reading) -> tuple[list[Said], Quantity | None]:
        """What the value gives to say: alerts, and the value itself if it is due as a reading."""
        now_s, unit = reading.mono_s, reading.unit
        self._invalid = what_is_wrong(reading, self._rules)
        if self._invalid is not None:
            return self.look(now_s), None
        said = self._recovered(now_s)
        if unit == "bool":
            self.value, self.good_s, self._alive_s = reading.value, now_s, now_s
            return said + self._contact(reading.value >= 0.5, now_s), None
        said += self._moved(reading)
        self.value, self.good_s, self._alive_s = reading.value, now_s, now_s
        if self._stuck_alert is not None:
            return said, None
        for watch in self._limits:
            said += self._limit(watch, reading)
        return said, self._due(reading)

    def look(self, now_s: float) -> list[Said]:
        """No good value came, though the sensor answers: say so once it has been long enough."""
        if self._fault is not None or now_s - self._alive_s < self._stale_s:
            return []
        alert = secrets.token_hex(4)
        self._fault = ("invalid" if self._invalid else "silent", alert)
        reason = self._invalid or f"no value for {self._stale_s:g} s, though the sensor answers"
        return [self._say(self._fault_kind(), now_s, state="raised", alert=alert, reason=reason)]

    def resume(self, body: SensorAlert, since_s: float) -> bool:
        """Go on with an alert that was raised before a restart. False: there is no rule for it any more."""
        match body:
            case SensorLimit():
                watch = next((w for w in self._limits if w.limit.id == body.rule), None)
                if watch is None:
                    return False
                watch.resume(body.alert, since_s)
            case Input():
                self._input_alert = body.alert
                self._input.resume(since_s)
            case SensorStuck():
                if self._rules.stuck_s is None:
                    return False
                self._stuck_alert, self.value, self._moved_s = body.alert, body.value, since_s
            case SensorSilent() | SensorInvalid():
                self._fault = ("silent" if isinstance(body, SensorSilent) else "invalid", body.alert)
                self._alive_s = since_s
            case _:
                return False
        return True

    def pause(self, now_s: float) -> None:
        """The whole sensor is silent and has said so itself: what was missing in that time is not held against us."""
        self._alive_s = max(self._alive_s, now_s)
        self._moved_s = max(self._moved_s, now_s)

    def _recovered(self, now_s: float) -> list[Said]:
        if self._fault is None:
            return []
        kind, alert = self._fault_kind(), self._fault[1]
        self._fault = None
        return [self._say(kind, now_s, state="cleared", alert=alert, lasted_s=round(now_s - self._alive_s, 1))]

    def _fault_kind(self) -> type[SensorSilent | SensorInvalid]:
        assert self._fault is not None
        return SensorInvalid if self._fault[0] == "invalid" else SensorSilent

    def _moved(self, reading: Reading) -> list[Said]:
        now_s, stuck_s = reading.mono_s, self._rules.stuck_s
        if self.value is None or reading.value != self.value:
            lasted_s, self._moved_s = now_s - self._moved_s, now_s
            if self._stuck_alert is None:
                return []
            alert, self._stuck_alert = self._stuck_alert, None
            return [self._stuck(reading, "cleared", alert, round(lasted_s, 1))]
        if stuck_s is None or self._stuck_alert is not None or now_s - self._moved_s < stuck_s:
            return []
        self._stuck_alert = secrets.token_hex(4)
        return [self._stuck(reading, "raised", self._stuck_alert, None)]

    def _stuck(self, reading: Reading, state: Literal["raised", "cleared"], alert: str, lasted_s: float | None) -> Said:
        return self._say(
            SensorStuck,
            reading.mono_s,
            state=state,
            alert=alert,
            value=reading.value,
            unit=reading.unit,
            lasted_s=lasted_s,
        )

    def _contact(self, on: bool, now_s: float) -> list[Said]:
        turn = self._input.update(on, now_s)
        if turn is None:
            return []
        if turn == "raised":
            self._input_alert = secrets.token_hex(4)
        lasted_s = round(self._input.lasted_s(now_s), 1) if turn == "cleared" else None
        return [
            self._say(
                Input,
                now_s,
                rule=self.quantity,
                severity=self._rules.severity,
                state=turn,
                alert=self._input_alert,
                lasted_s=lasted_s,
            )
        ]

    def _limit(self, watch: LimitWatch, reading: Reading) -> list[Said]:
        turned = watch.update(reading.value, reading.mono_s)
        if turned is None:
            return []
        turn, measured = turned
        limit = watch.limit
        if turn == "raised":
            watch.alert = secrets.token_hex(4)
        per = "/min" if limit.bound in ("rising", "falling") else ""
        return [
            self._say(
                SensorLimit,
                reading.mono_s,
                rule=limit.id,
                severity=limit.severity,
                state=turn,
                alert=watch.alert,
                bound=limit.bound,
                limit=limit.at,
                value=float(f"{measured:.6g}"),
                unit=reading.unit + per,
                lasted_s=round(watch.lasted_s(reading.mono_s), 1) if turn == "cleared" else None,
            )
        ]

    def _due(self, reading: Reading) -> Quantity | None:
        if self._sent is not None:
            value, at_s = self._sent
            moved = abs(reading.value - value)
            changed = moved >= self._rules.deadband if self._rules.deadband > 0 else moved > 0
            if not changed and reading.mono_s - at_s < self._rules.heartbeat_s:
                return None
        self._sent = (reading.value, reading.mono_s)
        return Quantity(quantity=self.quantity, value=reading.value, unit=reading.unit)

    def _say(self, kind: Callable[..., Body], now_s: float, **fields: object) -> Said:
        return Said(kind(quantity=self._name_of, name=self._rules.name, **fields), now_s)


def what_is_wrong(reading: Reading, rules: Rules) -> str | None:
    """Why a value is no reading, None if it is one."""
    if reading.invalid is not None:
        return reading.invalid
    wrong = absurd(reading.value, reading.unit)
    if wrong is None and rules.valid is not None:
        low, high = rules.valid
        if not low <= reading.value <= high:
            wrong = f"{reading.value:g} {reading.unit}; the configuration takes {low:g} to {high:g} for valid"
    return wrong
