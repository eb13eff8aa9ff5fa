"""Second-stage readers: a crop of a followed object in, an attribute out.

A Reader looks at one crop and knows nothing of tracks, cameras or time. Readers gives each the best few crops of each
confirmed object, spread over its life, within a budget, and votes. What it says lands in the object's events.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agent.sharpness import sharpness
from agent.vision.track import Tracks
from drivers.base import Frame

_log = logging.getLogger(__name__)

_SPREAD_S = 0.2  # between two crops of one object: neighbours show the same and err alike
_SMALLER = 0.6  # of the largest crop read: not worth a reading
_LARGER = 1.6  # and from here on worth one more than the usual number
_BLURRED = 0.5  # of the sharpest crop read: not worth one either
_SURE_SHARE = 0.6  # of the votes that the winner must have
_SURE_VOTES = 0.4


class Reader(Protocol):
    """name: of the attribute. class_ids: what it can read. least_side_px: of the smallest box worth a look."""

    @property
    def name(self) -> str: ...
    @property
    def class_ids(self) -> frozenset[int]: ...
    @property
    def least_side_px(self) -> float: ...

    def read(self, crop_bgr: npt.NDArray[np.uint8]) -> tuple[str, float] | None:
        """What it is and how sure that is, 0..1; None: cannot be told. crop_bgr: uint8 (h, w, 3), not to be written."""


@dataclass(slots=True)
class _Readings:
    """What one reader has made of one object."""

    count: int = 0
    last_s: float = 0.0
    largest_px: float = 0.0
    sharpest: float = 0.0
    votes: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


class Readers:
    """The readers of one camera.

    per_track: crops of one object that one reader gets; larger ones that come later are read beyond that, at most as
    many again. reads_per_s: readings per second of the frames' time, all objects together: the same recording gives the
    same words on every machine, and a slow reader is given fewer. Forgets what `forget` names.
    """

    def __init__(self, readers: Sequence[Reader], *, per_track: int = 5, reads_per_s: float = 20.0) -> None:
        self._readers = tuple(readers)
        self._per_track = per_track
        self._reads_per_s = reads_per_s
        self._broken: set[int] = set()
        self.reset()

    def reset(self) -> None:
        """Forget every object."""
        self._of: dict[int, list[_Readings]] = {}
        self._left = self._reads_per_s
        self._last_s: float | None = None

    def update(self, frame: Frame, tracks: Tracks) -> None:
        """Read what is worth it in this frame: objects seen in it, those with the fewest readings first."""
        if self._last_s is not None:
            gained = max(frame.mono_s - self._last_s, 0.0) * self._reads_per_s
            self._left = min(self._left + gained, self._reads_per_s)
        self._last_s = frame.mono_s
        due: list[tuple[int, float, int, int]] = []
        sides = tracks.boxes_xyxy_px[:, 2:] - tracks.boxes_xyxy_px[:, :2]
        for row in np.flatnonzero(tracks.seen & tracks.confirmed).tolist():
            all_of_it = self._of.setdefault(int(tracks.ids[row]), [_Readings() for _ in self._readers])
            for n, (reader, readings) in enumerate(zip(self._readers, all_of_it, strict=True)):
                fits = int(tracks.class_ids[row]) in reader.class_ids and sides[row].min() >= reader.least_side_px
                if fits and n not in self._broken:
                    size_px = float(sides[row].prod())
                    if self._is_due(readings, size_px, frame.mono_s):
                        due.append((readings.count, -size_px, row, n))
        for _, _, row, n in sorted(due):
            if self._left < 1.0:
                return
            self._read(frame, tracks, row, n)

    def attributes(self, track: int) -> dict[str, str]:
        """What is known of an object by now, by the readers' names."""
        said = {}
        for reader, readings in zip(self._readers, self._of.get(track, ()), strict=False):
            if readings.votes:
                value, votes = max(readings.votes.items(), key=lambda vote: vote[1])
                if votes >= max(_SURE_SHARE * sum(readings.votes.values()), _SURE_VOTES):
                    said[reader.name] = value
        return said

    def forget(self, ended: Iterable[int]) -> None:
        for track in ended:
            self._of.pop(track, None)

    def _is_due(self, readings: _Readings, size_px: float, mono_s: float) -> bool:
        if readings.count == 0:
            return True
        if mono_s - readings.last_s < _SPREAD_S or readings.count >= 2 * self._per_track:
            return False
        worth_it = size_px >= _SMALLER * readings.largest_px
        return size_px >= _LARGER * readings.largest_px or (worth_it and readings.count < self._per_track)

    def _read(self, frame: Frame, tracks: Tracks, row: int, n: int) -> None:
        readings = self._of[int(tracks.ids[row])][n]
        high, wide = frame.image_bgr.shape[:2]
        left, top, right, bottom = np.rint(tracks.boxes_xyxy_px[row]).astype(int).tolist()
        crop = frame.image_bgr[max(top, 0) : max(min(bottom, high), 0), max(left, 0) : max(min(right, wide), 0)]
        if not crop.size:
            return
        sharp = sharpness(crop)
        readings.last_s = frame.mono_s  # of a blurred one, too: the next frame is blurred alike
        if sharp < _BLURRED * readings.sharpest:
            return
        self._left -= 1.0
        readings.count += 1
        readings.largest_px = max(readings.largest_px, float(crop.shape[0] * crop.shape[1]))
        readings.sharpest = max(readings.sharpest, sharp)
        try:
            said = self._readers[n].read(crop)
        except Exception:  # what it could have said is not worth the counts of this camera
            _log.exception("bug in the reader of %s; going on without it", self._readers[n].name)
            self._broken.add(n)
            return
        if said is not None:
            value, sure = said
            readings.votes[value] += sure
