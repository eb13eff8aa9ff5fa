"""Under heat, a weak supply or load, the detector is run less often, and the box says so.

Each cause asks for a share of the configured budget, and the smallest is what there is. It comes and goes gradually,
ends at _LEAST and never at nothing, and none of it trembles at a limit:

    share 1 ────────╮   ╭────╮          heat   falls along the upper line as it gets hotter, rises along the lower one,
                     ╲  ╎     ╲                5 °C cooler; in between it stays what it is
                      ╲ ╰──────╲        slowed, undervoltage   as little as there may be, until it has not been so for
    _LEAST             ╰────────               a minute
          hot_c - 5   hot_c   hot_c + 10  load   so much less that the detector rests for a fifth of the time: where it
                                               never rests, who comes first is served, and not who follows something

Which camera has what there is, is the budget's own business.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

from agent.clock import Clock
from agent.contract.event import BoxStrained, Cause, Event, Stream
from agent.errors import EventStoreError
from agent.ops.words import say
from agent.vision.budget import InferenceBudget
from agent.vision.rules.steady import Average, Switch
from drivers.board import Board, BoardState

_log = logging.getLogger(__name__)

_LEAST = 0.2
_PER_S = 0.02  # from all to _LEAST in 40 s
_LONGEST_STEP_S = 5.0

_SPAN_C = 10.0
_COOLER_C = 5.0
_REMEMBER_S = 60.0
_BUSY, _RESTS, _ENOUGH = 0.9, 0.8, 0.6  # shares of the time in which the detector works
_LATELY_S = 5.0

_TELL = 0.8  # less than this share is worth telling the centre
_PATIENCE_S = 60.0

_CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(slots=True)
class _Shares:
    """What each cause leaves of the budget."""

    of: dict[Cause, float] = field(default_factory=lambda: dict.fromkeys(_CAUSES, 1.0))

    def move(self, cause: Cause, target: float, elapsed_s: float) -> None:
        step = _PER_S * elapsed_s
        self.of[cause] = min(max(target, _LEAST, self.of[cause] - step), self.of[cause] + step, 1.0)

    def causes(self) -> tuple[Cause, ...]:
        return tuple(cause for cause in _CAUSES if self.of[cause] < 1.0)


class Strain:
    """Used by one thread. busy_s: how long the detector has been at work since it was made, seconds.

    put: stores events or raises EventStoreError; what could not be stored is tried again at the next update.
    """

    def __init__(
        self,
        board: Board,
        budget: InferenceBudget,
        busy_s: Callable[[], float],
        put: Callable[..., None],
        *,
        hot_c: float,
        clock: Clock,
        new_id: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._board = board
        self._budget = budget
        self._busy_s = busy_s
        self._put = put
        self._hot_c = hot_c
        self._clock = clock
        self._new_id = new_id
        self._shares = _Shares()
        self._busy = Average(_LATELY_S)
        self._last_s = clock.mono_s()
        self._last_busy_s = busy_s()
        self._seen_s: dict[Cause, float] = {}
        self._is_worth_telling = Switch(_PATIENCE_S)
        self._raised: tuple[BoxStrained, float] | None = None  # and since when
        self._logged: tuple[Cause, ...] = ()
        self._untold: list[Event] = []
        self._cannot_tell = False
        self.board = BoardState()

    def causes(self) -> tuple[Cause, ...]:
        """Why there is less than is configured; none: there is not."""
        return self._shares.causes()

    def resume(self, body: BoxStrained, since_s: float) -> None:
        """Go on with an alert that was raised when the agent ended."""
        self._raised = (body, since_s)
        self._is_worth_telling.resume()

    def update(self) -> None:
        """Look at the board, set the budget, and tell what is to be told. To be called every second or so."""
        now_s = self._clock.mono_s()
        elapsed_s = min(max(now_s - self._last_s, 0.0), _LONGEST_STEP_S)
        if elapsed_s == 0.0:
            return
        self.board = self._board.state()
        self._shares.move("hot", self._cool_enough(self.board.cpu_c), elapsed_s)
        self._shares.move("slowed", self._rare_enough("slowed", self.board.is_slowed, now_s), elapsed_s)
        undervolted = self._rare_enough("undervoltage", self.board.is_undervolted, now_s)
        self._shares.move("undervoltage", undervolted, elapsed_s)
        self._shares.move("load", self._rested_enough(now_s), elapsed_s)
        self._last_s = now_s
        self._budget.limit(min(self._shares.of.values()))
        self._log()
        self._untold += [Event(Stream.ALERT, "box", body, self._clock.stamp()) for body in self._news(now_s)]
        if self._untold:
            self._tell()

    def _cool_enough(self, cpu_c: float | None) -> float:
        if cpu_c is None:
            return 1.0
        return min(max(self._shares.of["hot"], self._at(cpu_c + _COOLER_C)), self._at(cpu_c))

    def _at(self, cpu_c: float) -> float:
        return 1.0 - (1.0 - _LEAST) * min(max((cpu_c - self._hot_c) / _SPAN_C, 0.0), 1.0)

    def _rare_enough(self, cause: Cause, is_so: bool, now_s: float) -> float:
        if is_so:
            self._seen_s[cause] = now_s
        return _LEAST if now_s - self._seen_s.get(cause, float("-inf")) < _REMEMBER_S else 1.0

    def _rested_enough(self, now_s: float) -> float:
        busy_s = self._busy_s()
        busy = self._busy.update((busy_s - self._last_busy_s) / max(now_s - self._last_s, 1e-3), now_s)
        self._last_busy_s = busy_s
        share = self._shares.of["load"]
        if busy > _BUSY:
            # Of what it may do now, for all causes: that is what has kept it busy.
            return min(self._shares.of.values()) * _RESTS / busy
        return 1.0 if busy < _ENOUGH else share

    def _tell(self) -> None:
        try:
            self._put(*self._untold)
        except EventStoreError as exc:
            if not self._cannot_tell:
                _log.error("%d event(s) about the box wait to be stored: %s", len(self._untold), exc)
            self._cannot_tell = True
            return
        self._untold, self._cannot_tell = [], False

    def _news(self, now_s: float) -> list[BoxStrained]:
        share, causes = min(self._shares.of.values()), self.causes()
        is_on = self._is_worth_telling.update(now_s, on=share < _TELL, off=not causes)
        if is_on and self._raised is None:
            body = BoxStrained(
                state="raised", alert=self._new_id(), severity="warning", causes=causes, cpu_c=self.board.cpu_c
            )
            self._raised = (body, now_s)
            return [body]
        if not is_on and self._raised is not None:
            (body, since_s), self._raised = self._raised, None
            over = {"state": "cleared", "cpu_c": self.board.cpu_c, "lasted_s": round(max(now_s - since_s, 0.0), 1)}
            return [body.model_copy(update=over)]
        return []

    def _log(self) -> None:
        causes = self.causes()
        if causes != self._logged:
            for sentence in sentences(self.board, causes, self._hot_c):
                _log.warning("%s", sentence)
            most = self._budget.state().max_per_s
            _log.info("%s", say("budget-less", max=most) if causes else say("budget-whole", max=most))
        self._logged = causes


def sentences(board: BoardState, causes: tuple[Cause, ...], hot_c: float) -> list[str]:
    """For a technician: what is wrong with the board."""
    said: dict[Cause, Callable[[], str]] = {
        "hot": lambda: say("board-hot", celsius=board.cpu_c or 0.0, limit=hot_c),
        "slowed": lambda: say("board-slowed"),
        "undervoltage": lambda: say("board-undervoltage"),
        "load": lambda: say("board-load"),
    }
    return [said[cause]() for cause in causes]


def what_is_wrong(board: BoardState, hot_c: float) -> tuple[Cause, ...]:
    """At a single look, as by `check`; load cannot be seen in one."""
    is_so: dict[Cause, bool] = {
        "hot": board.cpu_c is not None and board.cpu_c >= hot_c,
        "slowed": board.is_slowed,
        "undervoltage": board.is_undervolted,
    }
    return tuple(cause for cause in _CAUSES if is_so.get(cause))
