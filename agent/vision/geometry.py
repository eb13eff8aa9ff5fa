"""Plane geometry on pictures: boxes, segments, lines with a left and a right, polygons.

Everything is in pixels of the full frame, x right, y DOWN, and knows nothing of tracks or cameras.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float32]  # (n, 2)
Boxes = npt.NDArray[np.float32]  # (n, 4): left, top, right, bottom


def areas(boxes_xyxy: Boxes) -> npt.NDArray[np.float32]:
    """Area of each box; 0 for one that is inside out."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0.0)
    area: npt.NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return area


def intersections(a_xyxy: Boxes, b_xyxy: Boxes) -> npt.NDArray[np.float32]:
    """Shared area of every box of a (n) with every box of b (m): (n, m)."""
    # One side at a time: an innermost axis of two costs numpy more than it saves in lines.
    wide = np.minimum.outer(a_xyxy[:, 2], b_xyxy[:, 2]) - np.maximum.outer(a_xyxy[:, 0], b_xyxy[:, 0])
    high = np.minimum.outer(a_xyxy[:, 3], b_xyxy[:, 3]) - np.maximum.outer(a_xyxy[:, 1], b_xyxy[:, 1])
    shared: npt.NDArray[np.float32] = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
    return shared


def iou(a_xyxy: Boxes, b_xyxy: Boxes) -> npt.NDArray[np.float32]:
    """Intersection over union of every box of a (n) with every box of b (m): (n, m), 0..1."""
    shared = intersections(a_xyxy, b_xyxy)
    union = areas(a_xyxy)[:, None] + areas(b_xyxy)[None, :] - shared
    ratio: npt.NDArray[np.float32] = shared / np.maximum(union, 1e-6)
    return ratio


def grown(boxes_xyxy: Boxes, fraction: float) -> Boxes:
    """The boxes with `fraction` of their width added left and right, and of their height above and below."""
    margin = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * fraction
    return np.concatenate([boxes_xyxy[:, :2] - margin, boxes_xyxy[:, 2:] + margin], axis=1)


def side_of_line(a: Points, b: Points, points: Points) -> npt.NDArray[np.float32]:
    """Signed distance in pixels of each point from the endless line a→b: positive on the right hand.

    a, b: (2,). points: (n, 2). Right and left as seen by somebody standing at a and looking to b in the picture;
    (b−a)×(p−a) is positive on the right because y points down (with y up it would be the left).

        a = (0, 0), b = (10, 0): the point (5, 3), below the line in the picture, gives +3.
    """
    along = b - a
    length = float(np.hypot(along[0], along[1]))
    offset = points - a
    distance: npt.NDArray[np.float32] = (along[0] * offset[:, 1] - along[1] * offset[:, 0]) / length
    return distance


def where_segments_meet(p: Points, q: Points, a: Points, b: Points) -> npt.NDArray[np.float32]:
    """How far along each path p→q (n, 2) the segment a→b (2,) is met: (n,) in 0..1, NaN where it is not.

    A path that only touches the segment with its start has met it before and is not counted again; touching with
    its end counts. So a point that lands exactly on a line and moves on is counted once.
    """
    # By the side each point is on: a point has one side however the path goes on, so nothing slips through a sighting
    # that lies within rounding of the line.
    before, after = side_of_line(a, b, p), side_of_line(a, b, q)
    along = b - a
    with np.errstate(divide="ignore", invalid="ignore"):
        on_path = before / (before - after)
        on_line = ((p + on_path[:, None] * (q - p) - a) @ along) / np.dot(along, along)
        met = ((before < 0) & (after >= 0)) | ((before > 0) & (after <= 0))
        met &= (on_line >= 0.0) & (on_line <= 1.0)
    result: npt.NDArray[np.float32] = np.where(met, on_path, np.nan).astype(np.float32)
    return result


def inside_polygon(points: Points, polygon: Points) -> npt.NDArray[np.bool_]:
    """Which points (n, 2) lie in the polygon (m, 2), by the even-odd rule; a point on its border may be either."""
    x, y = points[:, 0][:, None], points[:, 1][:, None]
    start, end = polygon, np.roll(polygon, -1, axis=0)
    spans = (start[:, 1] > y) != (end[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at_x = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1])
    hits = spans & (x < at_x)
    inside: npt.NDArray[np.bool_] = np.count_nonzero(hits, axis=1) % 2 == 1
    return inside


def crossing_edges(polygon: Sequence[tuple[float, float]]) -> tuple[int, int] | None:
    """The first two edges (numbered from 0) of a polygon that cross or touch each other, or None for a simple one."""
    corners = np.asarray(polygon, np.float64)
    count = len(corners)
    for i in range(count):
        for j in range(i + 1, count):
            neighbours = j == i + 1 or (i == 0 and j == count - 1)
            if not neighbours and _touch(corners[i], corners[(i + 1) % count], corners[j], corners[(j + 1) % count]):
                return i, j
    return None


def is_convex(corners: Sequence[tuple[float, float]]) -> bool:
    """Whether the corners, in order, turn the same way everywhere and lie on no line: what a homography needs."""
    points = np.asarray(corners, np.float64)
    edges = np.roll(points, -1, axis=0) - points
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    least = 1e-3 * np.hypot(*edges.T) * np.hypot(*following.T)
    return bool((turns > least).all() or (turns < -least).all())


def polygon_area(polygon: Sequence[tuple[float, float]]) -> float:
    """Area of a simple polygon (the shoelace formula), never negative."""
    corners = np.asarray(polygon, np.float64)
    x, y = corners[:, 0], corners[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _touch(
    p: npt.NDArray[np.float64], q: npt.NDArray[np.float64], a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> bool:
    def turn(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64], w: npt.NDArray[np.float64]) -> float:
        return float((v[0] - u[0]) * (w[1] - u[1]) - (v[1] - u[1]) * (w[0] - u[0]))

    def within(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64], w: npt.NDArray[np.float64]) -> bool:
        return bool(np.all(np.minimum(u, v) <= w) and np.all(w <= np.maximum(u, v)))

    t1, t2, t3, t4 = turn(a, b, p), turn(a, b, q), turn(p, q, a), turn(p, q, b)
    if t1 * t2 < 0 and t3 * t4 < 0:
        return True
    return (
        (t1 == 0 and within(a, b, p))
        or (t2 == 0 and within(a, b, q))
        or (t3 == 0 and within(p, q, a))
        or (t4 == 0 and within(p, q, b))
    )
