"""GPIO: contacts (cabinet door, tamper, mains relay) and outputs (siren, light), by the kernel's character device.

How pins are reached is chosen as gpiozero chooses its pin factory: GATEWAY_AGENT_GPIO=fake:FOLDER takes the fake of
`drivers.sensors.fakes`, whose pins are files; without it, the real ones of `gpio_kernel`.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from drivers.base import Reading, SensorRefused, SensorUnavailable

_log = logging.getLogger(__name__)

ENVIRONMENT = "GATEWAY_AGENT_GPIO"


@dataclass(frozen=True, slots=True)
class Line:
    """One pin. line: its number on the chip, or its name. active_low: a low voltage is "on"."""

    id: str
    line: int | str
    active_low: bool = False
    bias: Literal["as-is", "pull-up", "pull-down", "none"] = "as-is"
    debounce_ms: int = 5


@dataclass(frozen=True, slots=True)
class Change:
    id: str
    on: bool
    mono_s: float


class Lines(Protocol):
    """Pins that were taken. All raise OSError for what the kernel says."""

    def changes(self, timeout_s: float) -> list[Change]:
        """What changed since the last call, in order, waiting for the first change. Empty: nothing in time."""

    def on(self) -> dict[str, bool]:
        """Each line by its id, as it is now."""

    def set(self, on: bool) -> None: ...
    def release(self) -> None: ...


class Pins(Protocol):
    def inputs(self, chip: str, lines: Sequence[Line]) -> Lines: ...
    def output(self, chip: str, line: Line) -> Lines:
        """The line as an output, switched off."""


def pins(environment: Mapping[str, str] = os.environ) -> Pins:
    """The pins that the environment says, the real ones if it says nothing."""
    chosen = environment.get(ENVIRONMENT, "")
    if not chosen:
        try:
            from drivers.sensors.gpio_kernel import KernelPins
        except ImportError as exc:
            raise ValueError(
                "GPIO needs the gpiod library, which is LGPL and therefore not installed by itself; install from "
                "provisioning/requirements-gpio.lock"
            ) from exc
        return KernelPins()
    kind, _, folder = chosen.partition(":")
    if kind != "fake" or not folder:
        raise ValueError(f"{ENVIRONMENT}={chosen!r}; wanted fake:FOLDER, or the variable not to be set")
    from drivers.sensors.fakes import FolderPins

    _log.warning("%s=%s: GPIO lines are files in a folder, no contact of this box is watched", ENVIRONMENT, chosen)
    return FolderPins(folder)


class GpioSensor:
    """Contacts of one chip. Speaks by itself: read() waits for a change, and gives all levels when there was none."""

    def __init__(self, sensor_id: str, chip: str, lines: Sequence[Line], *, pins: Pins) -> None:
        self.sensor_id = sensor_id
        self.bus = f"gpio {chip} {sensor_id}"  # of its own: waiting for one chip's contacts keeps nobody else
        self._chip = chip
        self._wanted = lines
        self._pins = pins
        self._lines: Lines | None = None
        self._first = True

    def open(self) -> None:
        self.close()
        try:
            self._lines = self._pins.inputs(self._chip, self._wanted)
        except (OSError, ValueError) as exc:
            raise _unavailable(f"sensor {self.sensor_id}", self._chip, exc) from exc
        self._first = True

    def read(self, timeout_s: float) -> list[Reading]:
        if self._lines is None:
            raise SensorUnavailable(f"sensor {self.sensor_id} is not open; call open() first")
        try:
            # At first there is nothing to wait for: a door that stands open when the agent starts is told at once.
            changes = self._lines.changes(0.0 if self._first else timeout_s)
            self._first = False
            levels = self._lines.on()
        except OSError as exc:
            raise _unavailable(f"sensor {self.sensor_id}", self._chip, exc) from exc
        # Changes first: a contact that opened and closed again in between did open.
        told = [*changes, *(Change(name, on, time.monotonic()) for name, on in levels.items())]
        return [Reading(change.id, float(change.on), "bool", change.mono_s) for change in told]

    def close(self) -> None:
        if self._lines is not None:
            lines, self._lines = self._lines, None
            try:
                lines.release()
            except OSError as exc:
                _log.warning("sensor %s: %s could not be let go: %s", self.sensor_id, self._chip, exc)


class GpioOutput:
    """One siren or light. Off at open, off at close.

    When the agent is killed, the kernel frees the line and most chips leave it as it was: a siren that must be off
    then needs a resistor that pulls it off, or an agent that starts again, which switches it off.
    """

    def __init__(self, output_id: str, chip: str, line: Line, *, pins: Pins) -> None:
        self.output_id = output_id
        self._chip = chip
        self._line = line
        self._pins = pins
        self._lines: Lines | None = None

    def open(self) -> None:
        self.close()
        try:
            self._lines = self._pins.output(self._chip, self._line)
        except (OSError, ValueError) as exc:
            raise _unavailable(f"output {self.output_id}", self._chip, exc) from exc

    def set(self, on: bool) -> None:
        if self._lines is None:
            raise SensorUnavailable(f"output {self.output_id} is not open; call open() first")
        try:
            self._lines.set(on)
        except OSError as exc:
            raise _unavailable(f"output {self.output_id}", self._chip, exc) from exc

    def close(self) -> None:
        if self._lines is not None:
            lines, self._lines = self._lines, None
            try:
                lines.set(False)
                lines.release()
            except OSError as exc:
                _log.error("output %s: %s could not be switched off: %s", self.output_id, self._chip, exc)


def _unavailable(who: str, chip: str, exc: OSError | ValueError) -> SensorUnavailable:
    if isinstance(exc, OSError) and exc.errno in (errno.ENOENT, errno.ENODEV):
        return SensorUnavailable(
            f"{who}: {chip} is not there, is no GPIO chip, or has no such line; `gpiodetect` and `gpioinfo` list them"
        )
    if isinstance(exc, PermissionError):
        return SensorRefused(f"{who}: {chip}: {exc.strerror}; the service's user must be in group 'gpio'")
    if isinstance(exc, OSError) and exc.errno == errno.EBUSY:
        return SensorUnavailable(f"{who}: a line of {chip} is in use by another program; `gpioinfo` names it")
    return SensorUnavailable(f"{who}: {chip}: {exc}; do the line numbers exist? `gpioinfo` lists them")
