"""What a camera usually shows, by day and by night apart.

Each has room for two views: a camera that is switched between two scenes in its first minutes is learned as two. Once
one is known well, nothing else becomes usual: a camera that was moved stays moved until a person has seen to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agent.vision.camera_view import Eye, Floats, Look, View

_KNOWN_S = 60.0
_SOME_S = 5.0
_VIEWS = 2
_ALIKE = 0.5
_LEAST_PRESENCE = 0.1
_NIGHT_BELOW, _DAY_ABOVE = 45.0, 65.0  # grey levels, averaged over a minute: a hand before the lens is not the night
_SLOW_S = 60.0


class Usual:
    def __init__(self, views: tuple[View, ...] = ()) -> None:
        self._views = list(views)
        self._is_night: bool | None = None
        self._slow_mean = 0.0

    def is_known(self) -> bool:
        """A minute has been seen of this time of day."""
        return any(view.by_night == self._is_night and view.learned_s >= _KNOWN_S for view in self._views)

    def best(self, eye: Eye, look: Look) -> tuple[View, float] | None:
        """The view that is met best, by day or night, and how well, 1 being as usual. None until one is known."""
        if self._is_night is None:
            self._tell_night_from_day(look, 0.0)
        if not any(view.learned_s >= _KNOWN_S for view in self._views):
            return None
        seen = [view for view in self._views if view.learned_s >= _SOME_S]
        presences = [view.presence_of(eye, look.even) for view in seen]
        best = int(np.argmax(presences))
        return seen[best], presences[best] / max(seen[best].presence, _LEAST_PRESENCE)

    def learn(self, eye: Eye, look: Look, now_log: Floats, step_s: float) -> None:
        self._tell_night_from_day(look, step_s)
        own = [view for view in self._views if view.by_night == self._is_night]
        presences = [view.presence_of(eye, look.even) / max(view.presence, _LEAST_PRESENCE) for view in own]
        if own and (self.is_known() or max(presences) >= _ALIKE):
            own[int(np.argmax(presences))].learn(eye, look, now_log, step_s)
            return
        if len(own) == _VIEWS:
            self._views.remove(min(own, key=lambda view: view.learned_s))
        self._views.append(View(look, by_night=bool(self._is_night)))

    def fit(self, eye: Eye) -> None:
        """Forget views of pictures of another shape."""
        self._views = [view for view in self._views if view.fits(eye)]

    def _tell_night_from_day(self, look: Look, step_s: float) -> None:
        if self._is_night is None:
            self._slow_mean = look.mean
            self._is_night = look.mean < (_NIGHT_BELOW + _DAY_ABOVE) / 2
            return
        self._slow_mean += (look.mean - self._slow_mean) * min(step_s / _SLOW_S, 1.0)
        if self._slow_mean < _NIGHT_BELOW:
            self._is_night = True
        elif self._slow_mean > _DAY_ABOVE:
            self._is_night = False

    # ---- kept on disk ------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        known = [view for view in self._views if view.learned_s >= _KNOWN_S]
        return {f"{n}-{name}": a for n, view in enumerate(known) for name, a in view.arrays().items()}

    @staticmethod
    def of(arrays: dict[str, npt.NDArray[Any]]) -> Usual:
        """Raises KeyError or ValueError for what `arrays` did not make."""
        views: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for name, array in arrays.items():
            number, _, part = name.partition("-")
            views.setdefault(number, {})[part] = array
        return Usual(tuple(View.of(views[number]) for number in sorted(views)))
