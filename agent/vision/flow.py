"""Which way things usually go, place by place: a first guess for what was seen only once.

Between its first two sightings nothing is known of an object's speed, and at a few frames a second a car moves by more
than its own length. But roads repeat themselves: what appears here will most likely go as the ones before it did. One
coarse grid per camera, a weighted mean that fades over minutes; where traffic goes both ways there is no guess.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_COLUMNS, _ROWS = 24, 16
_WIDE = _COLUMNS + 2
_FADES_S = 600.0
_LEAST_WEIGHT = 3.0  # sightings, own and neighbours'
_AGREE = 0.8  # length of the mean speed over the root mean square: below, traffic is not of one mind here


class Flow:
    """Speeds in pixels per second by place. Fixed size, whatever passes."""

    def __init__(self) -> None:
        # weight, sum of x speed, of y speed, of squared speed; one cell of margin so that neighbours need no edge case
        self._sums = np.zeros((4, _ROWS + 2, _WIDE), np.float64)
        self._last_s: float | None = None

    def learn(self, centres_px: Floats, speeds_px_s: Floats, frame_wh_px: tuple[int, int], mono_s: float) -> None:
        if self._last_s is not None:
            self._sums *= np.exp(-(mono_s - self._last_s) / _FADES_S)
        self._last_s = mono_s
        if not len(centres_px):
            return
        row, column = _cells(centres_px, frame_wh_px)
        x, y = speeds_px_s[:, 0].astype(np.float64), speeds_px_s[:, 1].astype(np.float64)
        at = row * _WIDE + column
        values = (np.ones(len(x)), x, y, x * x + y * y)
        once = np.stack([np.bincount(at, value, minlength=self._sums[0].size) for value in values])
        self._sums += _with_neighbours(once.reshape(self._sums.shape).astype(np.float64))

    def guess(self, centres_px: Floats, frame_wh_px: tuple[int, int]) -> Floats:
        """The usual speed at each place (n, 2): (n, 2), and 0 where there is none."""
        row, column = _cells(centres_px, frame_wh_px)
        weight, x, y, squared = self._sums[:, row, column]
        safe = np.maximum(weight, 1e-9)
        x, y, rms = x / safe, y / safe, np.sqrt(squared / safe)
        sure = (weight >= _LEAST_WEIGHT) & (np.hypot(x, y) >= _AGREE * rms)
        return np.where(sure[:, None], np.stack([x, y], axis=1), 0.0).astype(np.float32)


def _with_neighbours(layers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each cell of (n, rows, columns) gives half of itself to the next ones, a quarter across the corner."""
    tall = layers.copy()
    tall[:, 1:] += 0.5 * layers[:, :-1]
    tall[:, :-1] += 0.5 * layers[:, 1:]
    wide = tall.copy()
    wide[:, :, 1:] += 0.5 * tall[:, :, :-1]
    wide[:, :, :-1] += 0.5 * tall[:, :, 1:]
    return wide


def _cells(centres_px: Floats, frame_wh_px: tuple[int, int]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    column = np.clip(centres_px[:, 0] * _COLUMNS / frame_wh_px[0], 0, _COLUMNS - 1).astype(np.intp) + 1
    row = np.clip(centres_px[:, 1] * _ROWS / frame_wh_px[1], 0, _ROWS - 1).astype(np.intp) + 1
    return row, column
