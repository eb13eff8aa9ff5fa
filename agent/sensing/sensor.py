"""One sensor: kept open, asked when it is due, and heard by its quantities.

`poll` is one step of its life and is called by its bus's thread; the supervisor calls `hangs` from another. A sensor
that fails is closed and opened again with growing waits, for ever. Without a good answer for stale_s it is silent, or
invalid if answers came that could not be true; either is raised once and cleared under the same id.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.clock import Clock
from agent.contract.event import Reading as ReadingBody
from agent.contract.event import SensorAlert
from agent.contract.event import SensorInvalid as InvalidBody
from agent.contract.event import SensorSilent as SilentBody
from agent.sensing.quantity import QuantityWatch, Rules, Said, State, what_is_wrong
from drivers.base import DriverError, Reading, Sensor, SensorInvalid, SensorRefused, TimeSource

_log = logging.getLogger(__name__)

# From one attempt to the next: doubling, so that a dead device on a shared line costs the others little.
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 30.0
_REFUSED_WAIT_S = 60.0  # a wrong register stays wrong until somebody corrects the configuration
_MOST_QUANTITIES = 64  # of one sensor: a driver that makes up names must not fill the memory
_NO_RULES = Rules()


@dataclass(frozen=True, slots=True)
class SensorState:
    """What a sensor is doing now."""

    state: State
    name: str | None
    good_mono_s: float | None  # its last good value
    values: dict[str, float]
    error: str | None


@dataclass(slots=True)
class _Outage:
    kind: Literal["silent", "invalid"]
    alert: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a sensor is asked. interval_s 0: it waits for news by itself, and is asked again at once."""

    interval_s: float
    timeout_s: float
    stale_s: float
    name: str | None = None
    rules: Mapping[str, Rules] = field(default_factory=dict)  # by quantity; others that come are told with none
    named: bool = True  # readings and alerts name their quantity


class SensorWatch:
    def __init__(
        self, sensor: Sensor, manner: Manner, *, clock: Clock, jitter: Callable[[], float] = random.random
    ) -> None:
        self.sensor_id = sensor.sensor_id
        self.bus = sensor.bus
        self.timeout_s = manner.timeout_s
        self._sensor = sensor
        self._time = sensor if isinstance(sensor, TimeSource) else None
        self._manner = manner
        self._clock = clock
        self._jitter = jitter
        self._is_open = False
        self._failures = 0  # in a row
        self._logged: str | None = None
        self._lock = threading.Lock()
        # Below: guarded by _lock.
        now_s = clock.mono_s()
        self.due_mono_s = now_s
        self._alive_s = now_s
        self._error: str | None = None
        self._outage: _Outage | None = None
        self._quantities = {name: self._watch(name, now_s) for name in manner.rules}

    def poll(self) -> list[Said]:
        """Open it if need be, ask it once, and say what there is to say. Whatever the driver raises ends here."""
        asked_s = self._clock.mono_s()
        try:
            if not self._is_open:
                self._sensor.open()
                self._is_open = True
            readings = self._sensor.read(self._manner.timeout_s)
            offer = self._time.time_offer() if self._time is not None else None
        except SensorInvalid as exc:
            if not self._is_open:
                self._close()
            return self._failed(exc, asked_s, wait_s=self._manner.interval_s or _FIRST_WAIT_S)
        # Not a blanket to hide bugs under: a driver's bug must not end the asking either, and it is told as one.
        except Exception as exc:
            self._close()
            return self._failed(exc, asked_s, wait_s=self._wait_s(exc))
        if offer is not None:
            self._clock.offer(offer.utc_ms, offer.mono_s, self.sensor_id)
        return self._answered(list(readings), asked_s)

    def hangs(self, for_s: float) -> list[Said]:
        """Its driver has been in one call for so long. Called by another thread than poll."""
        with self._lock:
            self._error = f"sensor {self.sensor_id}: its driver has not come back for {for_s:.0f} s"
            if self._outage is None:
                _log.error("%s; the sensor is left alone until it does", self._error)
            return self._missed(self._clock.mono_s(), "silent", self._error)

    def resume(self, body: SensorAlert, since_s: float) -> bool:
        """Go on with an alert that was raised before a restart. False: there is no sensor or rule for it any more."""
        with self._lock:
            # Of a sensor with a single quantity both are told without its name: silent is then the sensor's, invalid is
            # the value's, which a good one clears in either case.
            is_whole = body.quantity is None and (self._manner.named or isinstance(body, SilentBody))
            if is_whole and isinstance(body, SilentBody | InvalidBody):
                self._outage = _Outage("silent" if isinstance(body, SilentBody) else "invalid", body.alert)
                self._alive_s = since_s
                return True
            name = body.quantity or (next(iter(self._quantities), None) if not self._manner.named else None)
            return name in self._quantities and self._quantities[name].resume(body, since_s)

    def judge(self, reading: Reading) -> str | None:
        """Why a value would not be told, None if it would; for those who try a sensor once."""
        rules = self._manner.rules.get(reading.quantity, _NO_RULES)
        return what_is_wrong(reading, rules)

    def put_off(self, seconds: float) -> None:
        with self._lock:
            self.due_mono_s = self._clock.mono_s() + seconds

    def state(self) -> SensorState:
        with self._lock:
            quantities = self._quantities.values()
            states = [watch.state for watch in quantities]
            worst = next((state for state in ("invalid", "silent", "stuck") if state in states), None)
            good_s = [watch.good_s for watch in quantities if watch.good_s is not None]
            return SensorState(
                state=self._outage.kind if self._outage else worst or ("ok" if good_s else "opening"),
                name=self._manner.name,
                good_mono_s=max(good_s, default=None),
                values={watch.quantity: watch.value for watch in quantities if watch.value is not None},
                error=self._error or next((watch.error for watch in quantities if watch.error), None),
            )

    def close(self) -> None:
        self._close()

    def _answered(self, readings: list[Reading], asked_s: float) -> list[Said]:
        with self._lock:
            now_s = self._clock.mono_s()
            said: list[Said] = []
            self._failures, self._error, self._logged = 0, None, None
            self.due_mono_s = asked_s + self._manner.interval_s
            if not readings:  # nothing new from one that speaks by itself
                return said
            if self._outage is not None:
                said.append(self._back(now_s))
                for watch in self._quantities.values():
                    watch.pause(now_s)
            self._alive_s = now_s
            due = []
            for reading in readings:
                if reading.quantity not in self._quantities:
                    if len(self._quantities) >= _MOST_QUANTITIES:
                        self._error = f"more than {_MOST_QUANTITIES} quantities; {reading.quantity!r} is left out"
                        continue
                    self._quantities[reading.quantity] = self._watch(reading.quantity, now_s)
                alerts, quantity = self._quantities[reading.quantity].take(reading)
                said += alerts
                if quantity is not None:
                    due.append((quantity, reading.mono_s))
            told = {reading.quantity for reading in readings}
            for name, watch in self._quantities.items():
                if name not in told:
                    said += watch.look(now_s)
            if due:
                (first, mono_s), more = due[0], tuple(quantity for quantity, _ in due[1:])
                body = ReadingBody(
                    quantity=first.quantity if self._manner.named else None,
                    value=first.value,
                    unit=first.unit,
                    more=more or None,
                )
                said.append(Said(body, mono_s))
            return said

    def _failed(self, exc: Exception, asked_s: float, *, wait_s: float) -> list[Said]:
        is_outage = isinstance(exc, DriverError)
        reason = str(exc) if is_outage else f"sensor {self.sensor_id}: bug in its driver: {exc!r}"
        if reason != self._logged:  # an outage of days is not a line every few seconds
            if is_outage:
                _log.warning("%s", reason)
            else:
                _log.error("%s; opening it again", reason, exc_info=exc)
        self._logged = reason
        with self._lock:
            now_s = self._clock.mono_s()
            self._error = reason
            # From one beginning to the next, but never at once: a call that hung until its timeout has held the line.
            self.due_mono_s = max(asked_s + wait_s, now_s + min(wait_s, _FIRST_WAIT_S))
            if now_s - self._alive_s < self._manner.stale_s and not isinstance(exc, SensorRefused):
                return []
            return self._missed(now_s, "invalid" if isinstance(exc, SensorInvalid) else "silent", reason)

    def _missed(self, now_s: float, kind: Literal["silent", "invalid"], reason: str) -> list[Said]:
        if self._outage is not None:
            return []
        self._outage = _Outage(kind, secrets.token_hex(4))
        body = SilentBody if kind == "silent" else InvalidBody
        reason = reason.removeprefix(f"sensor {self.sensor_id}: ")
        return [Said(body(state="raised", alert=self._outage.alert, name=self._manner.name, reason=reason), now_s)]

    def _back(self, now_s: float) -> Said:
        assert self._outage is not None
        body = SilentBody if self._outage.kind == "silent" else InvalidBody
        alert, self._outage = self._outage.alert, None
        lasted_s = round(now_s - self._alive_s, 1)
        return Said(body(state="cleared", alert=alert, name=self._manner.name, lasted_s=lasted_s), now_s)

    def _wait_s(self, exc: Exception) -> float:
        self._failures += 1
        longest_s = _REFUSED_WAIT_S if isinstance(exc, SensorRefused) else _LONGEST_WAIT_S
        wait_s = longest_s if isinstance(exc, SensorRefused) else _FIRST_WAIT_S * 2 ** min(self._failures - 1, 10)
        return min(wait_s, longest_s) * (0.8 + 0.4 * self._jitter())

    def _close(self) -> None:
        self._is_open = False
        try:
            self._sensor.close()
        except Exception:  # a driver that cannot even let go has a bug; it must not cost the others their reading
            _log.exception("sensor %s: bug in its driver: close() failed", self.sensor_id)

    def _watch(self, quantity: str, now_s: float) -> QuantityWatch:
        rules = self._manner.rules.get(quantity, _NO_RULES)
        return QuantityWatch(quantity, rules, named=self._manner.named, stale_s=self._manner.stale_s, since_s=now_s)
