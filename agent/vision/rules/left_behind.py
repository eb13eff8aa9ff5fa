r"""What was left behind in a zone, or taken away from it: an area that has changed and then stays as it is.

      before            somebody was there         after
    ┌─────────┐         ┌─────────┐             ┌─────────┐
    │         │         │   ○     │             │         │
    │         │         │  /|\▪    │             │     ▪ ! │   left behind: it stands out from its surroundings now
    └─────────┘         └─────────┘             └─────────┘   the other way round: removed

No network knows every thing that can be left, so things are found by what they change. A background is learned that
never learns what lies under an object that is followed. Once or twice a second the picture is compared with it; an
area that differs and is still, and that no object followed covers, is a thing, if somebody was near when it came, and
if it is not the place of the vehicle or person itself: a car that parked and is lost from sight is no thing, and
neither is the patch of sun that nobody carried there.

It sees no thing smaller than a 60th of the picture's width, none in the dark, and none whose colour is that of the
ground. A person who sits still and is not recognised for minutes is a thing to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.event import LeftBehind, Removed
from agent.vision import geometry
from agent.vision.rules.base import Finding, plain
from agent.vision.track import Tracks
from drivers.base import Frame

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_WIDTH_PX = 320
_EVERY_S = 0.5
_UNSEEN_S = 0.6  # longer between two looks of a stuttering stream: nobody knows what lay there meanwhile
_DIFFERS = 22.0  # levels of a colour from the background at least
_DIFFERS_SHARE = 0.12  # and this share of its brightness: exposure is not the same for bright and dark alike
_MOVES = 12.0  # levels from the look before
_SURE_S = 6.0  # the background must have been seen for so long: at the start half of it may be cars and their shadows
_SETTLED_S = 2.0  # differs and is still for so long: a thing, perhaps
_RESTS = 0.9  # of its pixels must have settled
_LEAST_PX = 16  # at this size, a square of four
_LARGEST = 0.2  # of the picture: what changes more of it is light

_LEARN_PER_S = 1.0  # levels per second: dusk is slower
_WARM_UP_S = 5.0
_GROWN = 0.08  # boxes end at the edge of what they are around, and shadows go beyond
_NEAR = 0.6  # of its own width and height around somebody: an arm's length, and a bag's
_RECENT_S = 12.0  # how long before it settled somebody may have been there
_ITSELF_IOU = 0.4
_GONE_S = 2.0  # looks like the background again for so long
_PART_OF_SCENE_S = 3600.0
_MOST_THINGS = 30


@dataclass(slots=True, eq=False)
class Thing:
    """number: counts from 1. box_xyxy_px: in the full frame. since_s: when it settled.
    what: something is there now that was not, or something that was there is not."""

    number: int
    what: Literal["left", "removed"]
    mask: Mask
    box_xyxy_px: Floats
    since_s: float
    as_found_s: float  # last looked as it did when it was found


class Things:
    """What came and went in one camera's picture. Bounded: 30 things, each for at most an hour."""

    def __init__(self, frame_wh_px: tuple[int, int]) -> None:
        wide, high = frame_wh_px
        self._shape = (max(16, round(_WIDTH_PX * high / wide)), _WIDTH_PX)
        self._scale = np.array([wide / self._shape[1], high / self._shape[0]] * 2, np.float32)
        self._background: Floats = np.empty((0, 0, 3), np.float32)
        self._last: Floats = self._background
        self._differs_s: Floats = np.zeros(self._shape, np.float32)  # for how long, still and uncovered
        self._known: Mask = np.zeros(self._shape, np.bool_)  # the background was seen, not only guessed
        self._sure_s: Floats = np.zeros(self._shape, np.float32)  # for how long it was as expected
        self._recent: deque[tuple[float, Floats]] = deque()  # time and boxes of whoever was there
        self._began_s = self._looked_s = 0.0
        self._number = 0
        self.all: list[Thing] = []

    def update(self, frame: Frame, tracks: Tracks) -> None:
        now_s = frame.mono_s
        if len(self._background) and now_s - self._looked_s < _EVERY_S:
            return
        colour = self._small(frame)
        if np.quantile(colour[::6, ::6], 0.9) < _DIFFERS:
            self._wait(now_s)
            return
        covered = self._covered(geometry.grown(tracks.boxes_xyxy_px, _GROWN))
        if not len(self._background):
            self._background, self._last, self._known = colour.copy(), colour, ~covered
            self._began_s = self._looked_s = now_s
        elapsed_s, self._looked_s = min(now_s - self._looked_s, _UNSEEN_S), now_s
        self._recent.append((now_s, tracks.boxes_xyxy_px[tracks.confirmed | plain(tracks)]))
        while now_s - self._recent[0][0] > _RECENT_S + _SETTLED_S:
            self._recent.popleft()

        change = _largest(cv2.absdiff(colour, self._last * _exposure(colour, self._last)))
        free = ~(cv2.dilate(change, _AROUND) > _MOVES) & ~covered
        self._last = colour
        first_seen = free & ~self._known  # under a car that was parked there from the start
        self._background[first_seen] = colour[first_seen]
        self._known |= free
        exposure = _exposure(colour, self._background)
        expected = self._background * exposure
        limit = np.maximum(expected * np.float32(_DIFFERS_SHARE), np.float32(_DIFFERS))
        differs: Mask = _largest(cv2.absdiff(colour, expected) - limit) > 0.0
        self._differs_s = np.where(differs & free, self._differs_s + np.float32(elapsed_s), np.float32(0.0))
        self._review(colour, differs, free, now_s)
        self._find(colour, covered, now_s)
        alike = free & ~differs
        self._sure_s += np.where(alike, np.float32(elapsed_s), np.float32(0.0))
        self._learn(colour / exposure, alike, elapsed_s)

    def _wait(self, now_s: float) -> None:
        """In the dark nothing is to be seen and nothing to be learned: its noise, held against a background by day,
        would creep into that. What lay there lies there."""
        self._looked_s = now_s
        for thing in self.all:
            thing.as_found_s = now_s

    def _review(self, colour: Floats, differs: Mask, free: Mask, now_s: float) -> None:
        """Which things are still there. What is covered at the moment is; nobody can say otherwise."""
        for thing in list(self.all):
            visible = thing.mask & free
            seen, other = np.count_nonzero(visible), np.count_nonzero(visible & differs)
            if seen < 0.5 * np.count_nonzero(thing.mask) or other > 0.5 * seen:
                thing.as_found_s = now_s
            is_part_of_scene = now_s - thing.since_s > _PART_OF_SCENE_S
            if is_part_of_scene or now_s - thing.as_found_s > _GONE_S:
                self.all.remove(thing)
            if is_part_of_scene:
                self._take_over(thing.mask & free, colour)

    def _find(self, colour: Floats, covered: Mask, now_s: float) -> None:
        if not (self._differs_s >= _SETTLED_S).any():
            return
        differs = cv2.morphologyEx((self._differs_s > 0).astype(np.uint8), cv2.MORPH_CLOSE, _AROUND)
        hidden = cv2.dilate(covered.view(np.uint8), _AROUND).view(np.bool_)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(differs, connectivity=8)
        for label in range(1, count):
            mask = (labels == label) & (self._differs_s > 0)
            ages_s = self._differs_s[mask]
            # Half a thing is none: it waits until whoever is before it or beside it has gone, and it has come to rest.
            if (mask & hidden).any() or np.count_nonzero(ages_s >= _SETTLED_S) < _RESTS * len(ages_s):
                continue
            if any(np.count_nonzero(thing.mask & mask) for thing in self.all):
                continue  # the same thing, or a bit of it
            left, top, wide, high, area = stats[label].tolist()
            box = np.array([left, top, left + wide, top + high], np.float32) * self._scale
            if area >= _LEAST_PX and self._may_be_a_thing(mask, box) and len(self.all) < _MOST_THINGS:
                self._number += 1
                what = "left" if _stands_out(colour, mask) > _stands_out(self._background, mask) else "removed"
                since_s = now_s - float(np.median(ages_s))
                self.all.append(Thing(self._number, cast(Literal["left", "removed"], what), mask, box, since_s, now_s))
            else:
                self._take_over(mask, colour)  # light, or a vehicle

    def _take_over(self, mask: Mask, colour: Floats) -> None:
        """This is part of the scene from now on."""
        self._background[mask] = colour[mask]
        self._differs_s[mask] = self._sure_s[mask] = 0.0

    def _may_be_a_thing(self, mask: Mask, box: Floats) -> bool:
        if np.count_nonzero(mask) > _LARGEST * mask.size or np.median(self._sure_s[mask]) < _SURE_S:
            return False
        there = [boxes for _, boxes in self._recent if len(boxes)]
        if not there:
            return False
        somebody = np.concatenate(there)
        near = geometry.intersections(geometry.grown(somebody, _NEAR), box[None]).any()
        itself = (geometry.iou(somebody, box[None]) > _ITSELF_IOU).any()
        return bool(near and not itself)

    def _learn(self, colour: Floats, alike: Mask, elapsed_s: float) -> None:
        """Creep towards what is seen where it is nearly what was expected. What differs is learned at once or not at
        all, once it is known whether it is a thing."""
        haste = 10.0 if self._looked_s - self._began_s < _WARM_UP_S else 1.0
        step = _LEARN_PER_S * haste * elapsed_s
        self._background += np.clip(colour - self._background, -step, step) * alike[..., None]

    def _small(self, frame: Frame) -> Floats:
        small = cv2.resize(frame.image_bgr, self._shape[::-1], interpolation=cv2.INTER_AREA)
        return cast(Floats, cv2.blur(small, (3, 3)).astype(np.float32))

    def _covered(self, boxes_xyxy_px: Floats) -> Mask:
        covered = np.zeros(self._shape, np.uint8)
        for left, top, right, bottom in np.rint(boxes_xyxy_px / self._scale).astype(np.int32).tolist():
            cv2.rectangle(covered, (left, top), (right, bottom), 1, -1)
        return covered.view(np.bool_)


class ThingRule:
    """Tells the things of one kind that lie in a zone for after_s; asks what it is given, remembers nothing."""

    def __init__(
        self,
        kind: type[LeftBehind | Removed],
        zone: str,
        polygon_px: npt.NDArray[np.float32],
        things: Things,
        *,
        frame_wh_px: tuple[int, int],
        after_s: float,
    ) -> None:
        self._kind = kind
        self._what = "left" if kind is LeftBehind else "removed"
        self._zone = zone
        self._polygon = np.asarray(polygon_px, np.float32)
        self._things = things
        self._frame_wh_px = np.asarray(frame_wh_px * 2, np.float32)
        self._after_s = after_s

    def update(self, tracks: Tracks) -> list[Finding]:
        return [
            Finding(
                self._kind,
                {
                    "zone": self._zone,
                    "place": tuple(round(edge, 3) for edge in (thing.box_xyxy_px / self._frame_wh_px).tolist()),
                    "dwell_s": round(tracks.mono_s - thing.since_s, 1),
                },
                thing.number,
                tracks.frame_index,
                tracks.mono_s,
            )
            for thing in self._things.all
            if thing.what == self._what and tracks.mono_s - thing.since_s >= self._after_s and self._holds(thing)
        ]

    def _holds(self, thing: Thing) -> bool:
        left, _, right, bottom = thing.box_xyxy_px
        foot = np.array([[(left + right) / 2, bottom - 1.0]], np.float32)
        return bool(geometry.inside_polygon(foot, self._polygon)[0])


_AROUND = np.ones((5, 5), np.uint8)
_CROSS = np.ones((3, 3), np.uint8)
_RING = np.ones((15, 15), np.uint8)


def _largest(colours: npt.NDArray[Any]) -> Floats:
    """Of the three of each pixel; a reduction along so short an axis takes ten times as long."""
    largest: Floats = np.maximum(np.maximum(colours[..., 0], colours[..., 1]), colours[..., 2])
    return largest


def _exposure(colour: Floats, expected: Floats) -> np.float32:
    """By how much the whole picture is brighter than expected."""
    return np.float32(np.median(colour[::6, ::6] / np.maximum(expected[::6, ::6], 8.0)))


def _stands_out(colour: Floats, mask: Mask) -> float:
    """How unlike its surroundings an area is: the distance of their colours, darkest to darkest, brightest to
    brightest. Ground goes on as it is around, be it striped or plain. Tried on 338 things drawn into streets and halls:
    right of 95 in 100; by the edges along its border, of 90, for a plain bag on a parquet has fewer than what it hides.
    """
    near, far = cv2.dilate(mask.astype(np.uint8), _CROSS), cv2.dilate(mask.astype(np.uint8), _RING)
    around = (far - near).astype(np.bool_)
    parts = np.linspace(0.05, 0.95, 10)
    inside, outside = (np.quantile(colour[area], parts, axis=0) for area in (mask, around))
    return float(np.abs(inside - outside).mean())
