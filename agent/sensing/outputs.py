"""Sirens and lights: on while one of their alerts is raised, off otherwise, off when in doubt.

Off at start, off at the end, off after at_most_s even if the alert goes on (a siren that nobody hears for hours is
torn off the wall), off when the line cannot be reached: it is then taken anew, which switches it off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from agent.clock import Clock
from agent.contract.event import Input, SensorLimit
from agent.sensing.quantity import Said
from drivers.base import DriverError, Output

_log = logging.getLogger(__name__)

_OPEN_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class OutputState:
    on: bool
    error: str | None


class OutputKeeper:
    """One output. while_raised: (sensor, rule) of the alerts that switch it on."""

    def __init__(
        self, output: Output, while_raised: Sequence[tuple[str, str]], *, at_most_s: float, clock: Clock
    ) -> None:
        self.output_id = output.output_id
        self._output = output
        self._while_raised = frozenset(while_raised)
        self._at_most_s = at_most_s
        self._clock = clock
        self._lock = threading.Lock()
        # Below: guarded by _lock.
        self._raised: set[tuple[str, str]] = set()
        self._is_open = False
        self._on = False
        self._on_until_s = 0.0
        self._open_again_s = float("-inf")
        self._error: str | None = None

    def heard(self, sensor_id: str, said: Said) -> None:
        body = said.body
        if not isinstance(body, Input | SensorLimit) or (sensor_id, body.rule) not in self._while_raised:
            return
        with self._lock:
            if body.state == "raised":
                self._raised.add((sensor_id, body.rule))
                self._on_until_s = self._clock.mono_s() + self._at_most_s
            else:
                self._raised.discard((sensor_id, body.rule))
            self._settle()

    def tick(self) -> None:
        """Called now and then: opens it, and switches off what has been on for long enough."""
        with self._lock:
            self._settle()

    def state(self) -> OutputState:
        with self._lock:
            return OutputState(self._on, self._error)

    def close(self) -> None:
        with self._lock:
            self._is_open = self._on = False
            self._open_again_s = float("inf")
            self._output.close()

    def _settle(self) -> None:
        was_open = self._is_open
        if not self._reach() and was_open:
            # Its chip may have been unplugged while it was off, and be back: who needs the siren now does not wait.
            self._open_again_s = self._clock.mono_s()
            self._reach()

    def _reach(self) -> bool:
        """Take it if need be, and switch it as it should be. False if the device did not do so."""
        now_s = self._clock.mono_s()
        wanted = bool(self._raised) and now_s < self._on_until_s
        try:
            if not self._is_open:
                if now_s < self._open_again_s:
                    return True
                self._output.open()
                self._is_open, self._on, self._error = True, False, None
            if wanted != self._on:
                self._output.set(wanted)
                self._on = wanted
                _log.info("output %s: %s", self.output_id, "on" if wanted else "off")
        except DriverError as exc:
            if str(exc) != self._error:
                _log.error("%s", exc)
            self._error = str(exc)
            self._is_open = self._on = False
            self._open_again_s = now_s + _OPEN_AGAIN_S
            self._output.close()
            return False
        return True
