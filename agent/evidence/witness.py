"""What one camera saw, kept in mind and told on request: the picture of an alert, stored before the alert is."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agent.contract.event import Evidence, Place
from agent.evidence.best import BestViews, Shot, Tracks
from agent.evidence.people import others
from agent.evidence.picture import as_jpeg, frame_subject, pixelate
from agent.evidence.store import EvidenceStore
from drivers.base import Detector, Frame

Picture = npt.NDArray[np.uint8]
Pixelate = Literal["others", "all", "none"]


def pixelated(frame: Frame, detector: Detector) -> Picture:
    """A copy of a picture without tracks, uint8 (h, w, 3), smaller if it is large, with everybody in it pixelated."""
    nobody = (np.empty(0, np.int64), np.empty((0, 4), np.float32), np.empty(0, np.int32))
    shot = Shot.scaled(frame, *nobody)
    pixelate(shot.picture_bgr, others(shot, None, detector))
    return shot.picture_bgr


class Witness:
    """Of one camera, in the thread of that camera."""

    def __init__(self, store: EvidenceStore, detector: Detector, *, pixelate: Pixelate = "others") -> None:
        self._store = store
        self._detector = detector
        self._pixelate: Pixelate = pixelate
        self._views = BestViews()
        self._now: tuple[Frame, Tracks] | None = None

    def look(self, frame: Frame, tracks: Tracks) -> None:
        """Every frame that was looked at, with what was followed in it, before the alerts it gave rise to."""
        self._views.update(frame, tracks)
        self._now = (frame, tracks)

    def testify(self, track: int, place: Place | None = None) -> Evidence | None:
        """Store the picture of a track's best moment, or of this moment for 0 and for tracks without one.

        place: in fractions of the picture, to be framed too: that of a thing nobody follows.
        None: nothing was seen yet, or the disk does not take it.
        """
        shot = self._views.get(track) or (Shot.of(*self._now) if self._now else None)
        return self._store.put(self._picture(shot, track, place)) if shot else None

    def _picture(self, shot: Shot, track: int, place: Place | None) -> bytes:
        picture = shot.picture_bgr.copy()
        if self._pixelate != "none":
            spared = track if self._pixelate == "others" else None
            pixelate(picture, others(shot, spared, self._detector))
        for row in np.flatnonzero(shot.ids == track):
            frame_subject(picture, shot.boxes_xyxy_px[row])
        if place is not None:
            frame_subject(picture, np.asarray(place, np.float32) * np.tile(picture.shape[1::-1], 2))
        return as_jpeg(picture)
