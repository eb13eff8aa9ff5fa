"""GPIO lines of the kernel, through gpiod 2.

gpiod is LGPL-2.1 and not part of what we ship: it is installed with the extra `gpio`. This module alone imports it, and
is itself imported when a GPIO line is configured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import gpiod
from gpiod.line import Bias, Direction, Edge, Value

from drivers.sensors.gpio import Change, Line, Lines

_BIAS = {"as-is": Bias.AS_IS, "pull-up": Bias.PULL_UP, "pull-down": Bias.PULL_DOWN, "none": Bias.DISABLED}


class KernelPins:
    def inputs(self, chip: str, lines: Sequence[Line]) -> Lines:
        settings: dict[Iterable[int | str] | int | str, gpiod.LineSettings | None] = {
            line.line: gpiod.LineSettings(
                direction=Direction.INPUT,
                edge_detection=Edge.BOTH,
                bias=_BIAS[line.bias],
                active_low=line.active_low,
                debounce_period=timedelta(milliseconds=line.debounce_ms),
            )
            for line in lines
        }
        return _KernelLines(gpiod.request_lines(chip, settings, consumer="gateway-agent"), lines)

    def output(self, chip: str, line: Line) -> Lines:
        settings = gpiod.LineSettings(
            direction=Direction.OUTPUT, output_value=Value.INACTIVE, active_low=line.active_low
        )
        return _KernelLines(gpiod.request_lines(chip, {line.line: settings}, consumer="gateway-agent"), [line])


class _KernelLines:
    def __init__(self, request: gpiod.LineRequest, lines: Sequence[Line]) -> None:
        self._request = request
        self._lines = lines
        self._ids = {offset: line.id for offset, line in zip(request.offsets, lines, strict=True)}

    def changes(self, timeout_s: float) -> list[Change]:
        if not self._request.wait_edge_events(timeout_s):
            return []
        rising = gpiod.EdgeEvent.Type.RISING_EDGE
        return [
            Change(self._ids[event.line_offset], event.event_type is rising, event.timestamp_ns / 1e9)
            for event in self._request.read_edge_events()
        ]

    def on(self) -> dict[str, bool]:
        values = self._request.get_values([line.line for line in self._lines])
        return {line.id: value is Value.ACTIVE for line, value in zip(self._lines, values, strict=True)}

    def set(self, on: bool) -> None:
        self._request.set_value(self._lines[0].line, Value.ACTIVE if on else Value.INACTIVE)

    def release(self) -> None:
        self._request.release()
