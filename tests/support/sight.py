"""Whether two runtimes, or two machines, see the same objects in one picture."""

from __future__ import annotations

from collections.abc import Sequence

Seen = tuple[str, float, Sequence[float]]
"""class, score, box as x, y, x, y in pixels"""

SURE_SCORE = 0.4
"""INT8 kernels round differently, so a box near the threshold may be on either side of it: these must be on both."""


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Of two boxes, as area of both over area of either: 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def unmatched(found: Sequence[Seen], others: Sequence[Seen], *, score: float, least_overlap: float) -> list[Seen]:
    """Of those found for sure: those without one of the same class among others, as far off as is allowed at most."""
    return [
        one
        for one in found
        if one[1] >= SURE_SCORE
        and not any(
            one[0] == other[0] and abs(one[1] - other[1]) <= score and overlap(one[2], other[2]) >= least_overlap
            for other in others
        )
    ]


def difference(found: Sequence[Seen], others: Sequence[Seen]) -> tuple[float, float]:
    """The largest difference of scores and the least overlap between those found for sure and the nearest of the
    others; each must have one."""
    scores, overlaps = [0.0], [1.0]
    for name, score, box in (one for one in found if one[1] >= SURE_SCORE):
        nearest = max((other for other in others if other[0] == name), key=lambda other: overlap(box, other[2]))
        scores.append(abs(score - nearest[1]))
        overlaps.append(overlap(box, nearest[2]))
    return max(scores), min(overlaps)
