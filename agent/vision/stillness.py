"""Whether a picture stands still that usually does not.

A sensor's noise changes every picture nearly everywhere; an encoder may send an empty road twice exactly. So a picture
is frozen only where noise is usual, and only after three times the longest stillness that passed by itself.
"""

from __future__ import annotations

import math

_STILL = 0.05  # share of blocks with a changed pixel: room for a clock that is drawn into the picture
_LIVELY = 0.5
_LIVELY_S = 30.0
_LEAST_S = 8.0
_TIMES = 3.0
_FORGET_S = 6 * 3600.0


class Stillness:
    """Fed with the share of the picture that changed from one look to the next."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.lively_s = 0.0  # seen in all
        self._lively = 0.0  # lately, as a share of the time
        self._since_s: float | None = None

    def update(self, changed: float, step_s: float, mono_s: float) -> None:
        self.longest_s *= math.exp(-step_s / _FORGET_S)
        if changed < _STILL:
            if self._since_s is None:
                self._since_s = mono_s - step_s
            return
        lasted_s = self.lasted_s(mono_s - step_s)
        if lasted_s < self.limit_s():  # what was called frozen is not what is usual
            self.longest_s = max(self.longest_s, lasted_s)
        self._since_s = None
        is_lively = changed >= _LIVELY
        self.lively_s += step_s if is_lively else 0.0
        self._lively += (float(is_lively) - self._lively) * min(step_s / _LIVELY_S, 1.0)

    def pause(self) -> None:
        """Pictures were missing, or come in another size."""
        self._since_s = None

    def lasted_s(self, mono_s: float) -> float:
        return mono_s - self._since_s if self._since_s is not None else 0.0

    def limit_s(self) -> float:
        """From when on stillness is a fault, where it can be told at all."""
        return max(_LEAST_S, _TIMES * self.longest_s)

    def is_odd(self) -> bool:
        """It stands still, and this camera's pictures usually do not."""
        return self._since_s is not None and self.lively_s >= _LIVELY_S and self._lively >= _LIVELY

    def recall(self, longest_s: float, lively_s: float) -> None:
        self.longest_s, self.lively_s = longest_s, lively_s
        self._lively = 1.0 if lively_s >= _LIVELY_S else 0.0
