"""A zone full of vehicles that hardly move.

    ┌──────────────────────┐     raised:  at least so many vehicles, slower than so much on average, for after_s
    │ ▭ ▭  ▭ ▭   ▭  ▭ ▭  ▭ │     cleared: clearly fewer, or clearly faster, for as long
    └──────────────────────┘

Both figures are needed: an empty road has no jam, and a full one that flows is only busy. Where the camera is not
calibrated, speed is in the vehicles' own lengths per second.
"""

from __future__ import annotations

import math

import numpy as np

from agent.contract.event import Congestion, StateAlert
from agent.vision.rules.base import Finding
from agent.vision.rules.steady import Average, Switch
from agent.vision.rules.zone import ZonePresence
from agent.vision.speed import Speedometer
from agent.vision.track import Tracks

_LATELY_S = 3.0
_FEWER, _FASTER = 0.7, 1.5  # clearly: in shares of the figures given


class CongestionRule:
    """Asks its zone who is inside and the speedometer how fast; remembers only the averages."""

    def __init__(
        self,
        zone: ZonePresence,
        speeds: Speedometer,
        *,
        vehicles: int,
        below_kmh: float | None,
        below_lengths_per_s: float,
        after_s: float,
        class_ids: frozenset[int],
    ) -> None:
        """below_kmh: None where the camera is not calibrated; then below_lengths_per_s counts."""
        self._zone = zone
        self._speeds = speeds
        self._vehicles = vehicles
        self._below_kmh = below_kmh
        self._below = below_lengths_per_s if below_kmh is None else below_kmh
        self._class_ids = class_ids
        self._number = Average(_LATELY_S)
        self._speed = Average(_LATELY_S)
        self._jammed = Switch(after_s)

    def resume(self, body: StateAlert) -> bool:
        is_ours = isinstance(body, Congestion) and body.zone == self._zone.zone
        if is_ours:
            self._jammed.resume()
        return is_ours

    def update(self, tracks: Tracks) -> list[Finding]:
        inside = self._zone.inside()
        counted = [
            int(tracks.ids[row])
            for row in np.flatnonzero(tracks.confirmed).tolist()
            if int(tracks.ids[row]) in inside and int(tracks.class_ids[row]) in self._class_ids
        ]
        known = [speed for track in counted if (speed := self._speed_of(track)) is not None]
        number = self._number.update(len(counted), tracks.mono_s)
        if known:
            self._speed.update(math.fsum(known) / len(known), tracks.mono_s)
        speed = self._speed.value
        on = bool(known) and number > self._vehicles - 0.5 and speed < self._below
        off = number < _FEWER * self._vehicles or speed > _FASTER * self._below
        if not self._jammed.update(tracks.mono_s, on=on, off=off):
            return []
        unit = "mean_speed_lengths_per_s" if self._below_kmh is None else "mean_speed_kmh"
        fields = {"zone": self._zone.zone, "vehicles": round(number, 1), unit: round(speed, 2)}
        return [Finding(Congestion, fields, 0, tracks.frame_index, tracks.mono_s)]

    def _speed_of(self, track: int) -> float | None:
        if self._below_kmh is None:
            return self._speeds.lengths_per_s(track)
        speed = self._speeds.speed(track)
        return speed.kmh if speed is not None else None
