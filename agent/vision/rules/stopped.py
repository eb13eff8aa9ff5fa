"""Which vehicle stands in a zone longer than allowed.

        ┌──────────────┐
    ────┼─▶ ▭          │    has not moved by a quarter of its own size for after_s
        └──────────────┘

A parked car is looked at for hours, and now and then the network does not see it and then sees it again under a new
number. So it is the spot that is remembered: what is first seen where another was lost a moment ago has stood there
as long as that one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.contract.event import Stopped
from agent.vision import geometry
from agent.vision.rules.base import Finding
from agent.vision.rules.zone import ZonePresence
from agent.vision.track import Tracks

_MOVED = 0.25  # of its own size, the root of its box's area
_STEADY_S = 1.0  # time constant of the place: a box trembles, and is torn away for a moment by what drives past
_SAME_SPOT_IOU = 0.4
_REMEMBER_S = 20.0


@dataclass(slots=True, eq=False)
class _Spot:
    number: int  # the track that came to stand here first
    box: npt.NDArray[np.float32]  # last seen
    centre: npt.NDArray[np.float32]  # lately
    stood_at: npt.NDArray[np.float32]  # the centre it has not moved from
    since_s: float
    at_s: float  # time of the last update
    lost_s: float | None = None


class StoppedRule:
    """Asks its zone who is inside. Remembers a track until it has ended, and its spot for 20 s longer."""

    def __init__(self, zone: ZonePresence, after_s: float) -> None:
        self._zone = zone
        self._after_s = after_s
        self._spots: dict[int, _Spot] = {}
        self._lost: list[_Spot] = []

    def update(self, tracks: Tracks) -> list[Finding]:
        now_s = tracks.mono_s
        for track in tracks.ended:
            spot = self._spots.pop(track, None)
            if spot is not None:
                spot.lost_s = now_s
                self._lost.append(spot)
        self._lost = [spot for spot in self._lost if spot.lost_s is not None and now_s - spot.lost_s <= _REMEMBER_S]
        for track, box in zip(tracks.ids.tolist(), tracks.boxes_xyxy_px, strict=True):
            self._see(track, box, now_s)  # not seen: it is where it was
        inside = self._zone.inside()
        return [
            Finding(
                Stopped,
                {"zone": self._zone.zone, "dwell_s": round(now_s - spot.since_s, 1)},
                spot.number,
                tracks.frame_index,
                now_s,
                track=track,
            )
            for track, spot in self._spots.items()
            if track in inside and now_s - spot.since_s >= self._after_s
        ]

    def _see(self, track: int, box: npt.NDArray[np.float32], now_s: float) -> None:
        centre = ((box[:2] + box[2:]) / 2).astype(np.float32)
        spot = self._spots.get(track)
        if spot is None:
            spot = self._spots[track] = self._found_again(box) or _Spot(track, box, centre, centre, now_s, now_s)
        share = np.float32(1.0 - np.exp(-(now_s - spot.at_s) / _STEADY_S))
        spot.centre = np.asarray(spot.centre + share * (centre - spot.centre), np.float32)
        spot.box, spot.at_s = box, now_s
        size = float(np.sqrt(geometry.areas(box[None])[0]))
        if float(np.hypot(*(spot.centre - spot.stood_at))) > _MOVED * size:
            spot.stood_at, spot.since_s = spot.centre, now_s

    def _found_again(self, box: npt.NDArray[np.float32]) -> _Spot | None:
        for spot in self._lost:
            if geometry.iou(spot.box[None], box[None])[0, 0] > _SAME_SPOT_IOU:
                self._lost.remove(spot)
                spot.lost_s = None
                return spot
        return None
