"""The stage that asks whether the camera itself can still see: dark, overexposed, blurred, covered, moved, frozen.

Frame in, findings out, two looks a second; reads no clock, opens no file. A fault is raised once it has been there for
some seconds, within ten of its beginning, and cleared once it has been gone for some, under the same alert. What is
usual is learned by day and by night apart (`agent.vision.usual`): until a minute of it is known, only dark,
overexposed and frozen are told.

What must not raise anything, and why it does not:
  headlights, lightning, exposure hunting   pass before a fault has lasted long enough
  dawn, dusk, clouds                        compared are gradients of the logarithm; what is usual follows in minutes
  rain, snow, a swaying pole                hide some of the scene's edges, never half of them for seconds
  a lorry that fills the picture            comes in from the side, in seconds, where a hand or paint is there at once;
                                            one with nothing at all on its side, over most of the picture, standing for
                                            5 s, is taken for a cover
  an empty road, sent without change        see `agent.vision.stillness`
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.contract.event import CameraFault, Fault, Severity
from agent.vision.camera_view import Eye, Field, Floats, Look, Match, Place, View, along, even, shifted, turned
from agent.vision.masks import Polygon, unmasked
from agent.vision.rules.base import Happening
from agent.vision.stillness import Stillness
from agent.vision.usual import Usual
from drivers.base import Frame

FAULTS: tuple[Fault, ...] = ("dark", "overexposed", "blurred", "covered", "moved", "frozen")
# Critical: nothing can be seen. Warning: something can, and what is counted there is doubtful.
_SEVERITY: dict[Fault, Severity] = {
    "dark": "critical",
    "overexposed": "warning",
    "blurred": "warning",
    "covered": "critical",
    "moved": "warning",
    "frozen": "critical",
}

_LOOK_EVERY_S = 0.45  # two a second, with room for a camera's jitter
_PAUSE_S = 2.0  # longer without pictures: what was seen before proves nothing about now
_SMOOTH_S = 1.0  # so much of a moving car is averaged away, and of the noise
_STATIC = 0.4  # share of the newest look in what is known to stand still

_RAISE_S: dict[str, float] = {"dark": 5.0, "overexposed": 5.0, "blurred": 4.0, "blank": 4.0, "elsewhere": 3.5}
_CLEAR_S: dict[Fault, float] = {
    "dark": 15.0,  # one car's headlights on an unlit road are not the end of the night
    "overexposed": 5.0,
    "blurred": 5.0,
    "covered": 5.0,
    "moved": 5.0,
    "frozen": 0.0,
}
_SUDDEN_S = 5.5
_ARRIVES_S, _ARRIVED_S = 4.0, 2.0  # before and after half of the scene is gone: in this time it went
_SLOW_S = 180.0  # hidden for so long, however it came: no lorry waits so long in front of the lens

_DARK_BELOW, _DARK_DETAIL = 16.0, 4.0  # grey levels; an unlit road at night with one lamp far away is above both
_LIT_ABOVE, _LIT_DETAIL = 20.0, 6.0
_BLOWN, _BLOWN_NO_MORE = 0.65, 0.5  # share of the picture at the upper end
_BLURRED, _BLURRED_NO_MORE = 0.5, 0.3
_HIDDEN, _HIDDEN_NO_MORE = 0.42, 0.3  # shares of the witnesses
_ODD = 0.35  # not hidden yet, but nothing to learn from
_MOST = 0.7
_REPLACED = 0.15
_STAYS = 0.1
_LEAST_FALL = 0.2
_FALL = 0.65  # share of the whole fall from one look to the next; a lorry that is to stop makes half of it at most
_FOUND, _FOUND_BETTER = 0.28, 0.1  # correlation at another place, and by how much more than where it should be
_SEARCH_AFTER_S, _SEARCH_EVERY_S = 1.5, 1.5

_REMEMBER_EVERY_S = 3600.0


@dataclass(slots=True)
class _Raised:
    alert: str
    since_s: float


@dataclass(slots=True, eq=False)
class _Now:
    """What is known of the last seconds; forgotten over a pause."""

    looked_s: float | None = None
    before: Look | None = None
    log: Floats | None = None  # of the last looks, the newest counting most
    static: Floats | None = None  # per block, the power of what stands still
    match: Match | None = None
    is_blind: bool = False
    present_since_s: dict[str, float] = field(default_factory=dict)
    absent_since_s: dict[Fault, float] = field(default_factory=dict)
    presence: float = 1.0  # of the usual scene; 1 = as usual
    met: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=20))  # when, share of the witnesses
    hidden_since_s: float | None = None
    is_sudden: bool | None = None  # None: not known yet
    place: Place | None = None  # where the scene was found by turning and zooming
    searched_s: float = -math.inf


class CameraHealth:
    """Watches the pictures of one camera.

    new_id: gives each alert its name. watched: the faults to tell of. privacy: polygons in fractions, black in every
    picture and so no part of what is looked at. fingerprint: of the configuration that drew lines on this view; what
    was remembered under another is forgotten.
    """

    def __init__(
        self,
        new_id: Callable[[], str],
        *,
        watched: Iterable[Fault] = FAULTS,
        privacy: tuple[Polygon, ...] = (),
        fingerprint: str = "",
    ) -> None:
        self._new_id = new_id
        self._watched = frozenset(watched)
        self._privacy = privacy
        self._fingerprint = fingerprint
        self._usual = Usual()
        self._stillness = Stillness()
        self._raised: dict[Fault, _Raised] = {}
        self._knows_view = False  # by an earlier run, under the lines of now
        self._remembered_s: float | None = None
        self._to_remember = False
        self._wh_px: tuple[int, int] | None = None
        self._now = _Now()

    def faults(self) -> tuple[Fault, ...]:
        """What is raised now, in the order of FAULTS."""
        return tuple(fault for fault in FAULTS if fault in self._raised)

    def resume(self, fault: Fault, alert: str, since_s: float) -> bool:
        """Before the first frame: this was raised when the agent ended. False: nobody watches for it, or the view it
        was raised against is not known any more, so that nobody could tell when it is over."""
        if fault not in self._watched or not self._knows_view:
            return False
        self._raised[fault] = _Raised(alert, since_s)
        return True

    def restart(self) -> None:
        """After a bug: forget the moment; keep what is usual and what is raised."""
        self._wh_px = None

    def update(self, frame: Frame) -> list[Happening]:
        """Frames of one camera in the order of their mono_s."""
        looked_s = self._now.looked_s
        step_s = frame.mono_s - looked_s if looked_s is not None else 0.0
        if looked_s is not None and step_s < _LOOK_EVERY_S and frame.size_wh_px == self._wh_px:
            return []
        if frame.size_wh_px != self._wh_px:
            self._begin(frame.size_wh_px)
            step_s = 0.0
        elif step_s > _PAUSE_S:
            self._pause()
            step_s = 0.0
        look = self._eye.look(frame.image_bgr)
        if self._now.before is not None:
            changed = self._eye.changed_blocks(look.fine, self._now.before.fine)
            self._stillness.update(changed, step_s, frame.mono_s)
        self._smooth(look, step_s)
        self._judge(look, frame.mono_s)
        self._learn(look, step_s)
        said = self._tell(frame)
        self._now.before, self._now.looked_s = look, frame.mono_s
        self._plan_to_remember(frame.mono_s, bool(said))
        return said

    def _begin(self, frame_wh_px: tuple[int, int]) -> None:
        self._wh_px = frame_wh_px
        self._eye = Eye(frame_wh_px, unmasked(self._privacy, frame_wh_px) if self._privacy else None)
        self._usual.fit(self._eye)
        self._pause()

    def _pause(self) -> None:
        self._now = _Now()
        self._stillness.pause()

    # ---- one look ----------------------------------------------------------------------------------------------------

    def _smooth(self, look: Look, step_s: float) -> None:
        now = self._now
        if now.before is None or now.log is None:
            now.log = look.log.copy()
            return
        now.log += (look.log - now.log) * np.float32(1.0 - math.exp(-step_s / _SMOOTH_S))
        # Noise of one look knows nothing of the noise of the next: in their product only what stands still is left.
        both = self._eye.blocks(along(look.gradient, now.before.gradient))
        now.static = both if now.static is None else now.static + (both - now.static) * np.float32(_STATIC)

    def _judge(self, look: Look, mono_s: float) -> None:
        """Which signs there are now; since when is kept."""
        now = self._now
        is_lit = look.brightest >= _LIT_ABOVE or look.detail >= _LIT_DETAIL
        self._sign("dark", look.brightest < _DARK_BELOW and look.detail < _DARK_DETAIL, mono_s)
        self._gone("dark", is_lit, mono_s)
        self._sign("overexposed", look.blown >= _BLOWN, mono_s)
        self._gone("overexposed", look.blown < _BLOWN_NO_MORE, mono_s)
        still_s = self._stillness.lasted_s(mono_s)
        self._gone("frozen", still_s == 0.0 and now.before is not None, mono_s)

        now.match = None
        now.is_blind = not is_lit or look.blown >= _BLOWN_NO_MORE
        may_be_frozen = still_s > _PAUSE_S and self._stillness.is_odd()
        best = self._usual.best(self._eye, look)
        if best is None or now.is_blind or may_be_frozen or now.log is None or now.static is None:
            self._judge_nothing(mono_s)
            return
        view, now.presence = best
        now.met.append((mono_s, view.met(self._eye, look)))
        gradient = self._eye.gradient(now.log)
        now.match = view.match(self._eye, look, gradient, now.static)
        if now.match is not None:
            self._compare(now.match, view, gradient, mono_s)

    def _judge_nothing(self, mono_s: float) -> None:
        """Nothing can be said of the scene: what was being counted begins again, what is raised stays."""
        for sign in ("blurred", "blank", "elsewhere"):
            self._sign(sign, False, mono_s)
        self._gone("blurred", False, mono_s)
        self._gone("covered", False, mono_s)
        self._gone("moved", False, mono_s)
        self._now.hidden_since_s = self._now.is_sudden = None

    def _compare(self, match: Match, view: View, gradient: Field, mono_s: float) -> None:
        now = self._now
        may_tell = self._usual.is_known()  # on the first night, the day's view can only say that it is back
        is_blank = may_tell and match.lost >= _MOST and match.blank >= _MOST * match.lost
        # Of a scene that is hidden, fine detail is missing too; of a defocused one, nothing is replaced.
        is_blurred = may_tell and match.blurred >= _BLURRED and match.changed < _REPLACED and not is_blank
        if match.lost < _HIDDEN or is_blurred or not may_tell:
            now.hidden_since_s = now.is_sudden = None
        elif now.hidden_since_s is None:
            now.hidden_since_s = mono_s
        elif now.is_sudden is None and mono_s - now.hidden_since_s >= _ARRIVED_S:
            now.is_sudden = self._came_suddenly(now.hidden_since_s - _ARRIVES_S)
        is_elsewhere = self._is_elsewhere(view, gradient, mono_s, may_search=not is_blank)
        self._sign("elsewhere", is_elsewhere and may_tell, mono_s)
        self._sign("blank", is_blank and not is_elsewhere, mono_s)
        self._sign("blurred", is_blurred and not is_elsewhere, mono_s)
        self._gone("blurred", match.blurred < _BLURRED_NO_MORE, mono_s)
        self._gone("covered", match.lost < _HIDDEN_NO_MORE, mono_s)
        self._gone("moved", match.lost < _HIDDEN_NO_MORE and not is_elsewhere, mono_s)

    def _is_elsewhere(self, view: View, gradient: Field, mono_s: float, *, may_search: bool) -> bool:
        """The scene is found, but at another place. Turns and zooms are tried when it has been gone for a while."""
        now = self._now
        now_even = even(gradient)
        here = view.presence_of(self._eye, now_even)
        if _is_better(shifted(now_even, view.even(self._eye)), here):
            return True
        if now.hidden_since_s is None or not may_search or "moved" in self._raised:
            now.place = None
            return False
        is_time = mono_s - max(now.hidden_since_s + _SEARCH_AFTER_S, now.searched_s + _SEARCH_EVERY_S) >= 0
        if is_time and now.log is not None:
            now.place, now.searched_s = turned(now.log, view, self._eye.seen), mono_s
        return now.place is not None and _is_better(now.place, here)

    def _came_suddenly(self, from_s: float) -> bool:
        """The scene went from one look to the next, which is how no vehicle that then stands comes in."""
        past = [met for at_s, met in self._now.met if at_s >= from_s]
        low, top = float(np.mean(past[-3:])), max(past)
        return top - low >= _LEAST_FALL and max(a - b for a, b in pairwise(past)) >= _FALL * (top - low)

    def _learn(self, look: Look, step_s: float) -> None:
        now, match = self._now, self._now.match
        if self._raised or now.is_blind or now.log is None or "elsewhere" in now.present_since_s:
            return
        if match is not None and (match.lost >= _ODD or match.blurred >= _BLURRED_NO_MORE):
            return
        self._usual.learn(self._eye, look, now.log, step_s)

    # ---- raised and cleared ------------------------------------------------------------------------------------------

    def _sign(self, sign: str, is_there: bool, mono_s: float) -> None:
        if is_there:
            self._now.present_since_s.setdefault(sign, mono_s)
        else:
            self._now.present_since_s.pop(sign, None)

    def _gone(self, fault: Fault, is_gone: bool, mono_s: float) -> None:
        if is_gone:
            self._now.absent_since_s.setdefault(fault, mono_s)
        else:
            self._now.absent_since_s.pop(fault, None)

    def _held_since_s(self, sign: str, mono_s: float) -> float | None:
        since_s = self._now.present_since_s.get(sign, math.inf)
        return since_s if mono_s - since_s >= _RAISE_S[sign] else None

    def _present(self, mono_s: float) -> dict[Fault, float]:
        """Faults that have been there for long enough, and since when."""
        signs: tuple[tuple[Fault, str], ...] = (
            ("dark", "dark"),
            ("overexposed", "overexposed"),
            ("blurred", "blurred"),
            ("moved", "elsewhere"),
            ("covered", "blank"),
        )
        found = {fault: since_s for fault, sign in signs if (since_s := self._held_since_s(sign, mono_s)) is not None}
        still_s = self._stillness.lasted_s(mono_s)
        if self._stillness.is_odd() and still_s >= self._stillness.limit_s():
            found["frozen"] = mono_s - still_s
        if not {"moved", "covered"} & {*found, *self._raised}:
            found |= self._hidden(mono_s)
        return found

    def _hidden(self, mono_s: float) -> dict[Fault, float]:
        """The scene is gone, nothing blank took its place, and it is nowhere else."""
        now = self._now
        if now.hidden_since_s is None or now.match is None or "elsewhere" in now.present_since_s:
            return {}
        hidden_s = mono_s - now.hidden_since_s
        if hidden_s < (_SUDDEN_S if now.is_sudden else _SLOW_S):
            return {}
        # Another scene is as full as the old one and has nothing of it; paint leaves some of it, or is blank.
        is_cover = now.presence >= _STAYS or now.match.blank >= now.match.changed
        return {"covered" if is_cover else "moved": now.hidden_since_s}

    def _tell(self, frame: Frame) -> list[Happening]:
        said = []
        present = self._present(frame.mono_s)
        for fault in FAULTS:
            raised = self._raised.get(fault)
            if raised is None and fault in present and fault in self._watched:
                self._raised[fault] = _Raised(self._new_id(), present[fault])
                said.append(_happening(fault, self._raised[fault], frame, is_over=False))
            elif raised is not None and frame.mono_s - self._now.absent_since_s.get(fault, math.inf) >= _CLEAR_S[fault]:
                del self._raised[fault]
                said.append(_happening(fault, raised, frame, is_over=True))
        return said

    # ---- remembered from one run of the agent to the next ------------------------------------------------------------

    def is_to_be_remembered(self) -> bool:
        """Something new is known that the next run should know: what an alert was raised against, a view, an hour's
        drift."""
        return self._to_remember

    def memory(self) -> bytes:
        """What `recall` takes; some tens of kilobytes."""
        self._to_remember = False
        words = {
            "fingerprint": self._fingerprint,
            "longest_still_s": self._stillness.longest_s,
            "lively_s": self._stillness.lively_s,
        }
        arrays: dict[str, npt.NDArray[Any]] = self._usual.arrays()
        arrays["words"] = np.frombuffer(json.dumps(words).encode(), np.uint8)
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **arrays)
        content = file.getvalue()
        return hashlib.sha256(content).digest() + content  # a damaged zip can fail in a dozen ways, and not fail at all

    def recall(self, memory: bytes) -> None:
        """Before the first frame. Raises ValueError for what `memory` did not make; nothing is taken over then."""
        digest, content = memory[:32], memory[32:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError(f"{len(memory)} bytes that are not what was written")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            words = json.loads(arrays.pop("words").tobytes())
            is_new_view = words["fingerprint"] != self._fingerprint
            usual = Usual.of(arrays)
            longest_s, lively_s = float(words["longest_still_s"]), float(words["lively_s"])
        except (KeyError, TypeError, AttributeError) as exc:  # of another version of the agent
            raise ValueError(f"{type(exc).__name__}: {exc}") from exc
        self._stillness.recall(longest_s, lively_s)
        if not is_new_view:
            self._usual, self._knows_view = usual, True

    def _plan_to_remember(self, mono_s: float, has_spoken: bool) -> None:
        is_time = self._remembered_s is None or mono_s - self._remembered_s >= _REMEMBER_EVERY_S
        if is_time and self._usual.is_known():
            self._remembered_s = mono_s
            self._to_remember = True
        self._to_remember |= has_spoken


def _is_better(place: Place, here: float) -> bool:
    return place.is_elsewhere and place.presence >= max(_FOUND, here + _FOUND_BETTER)


def _happening(fault: Fault, raised: _Raised, frame: Frame, *, is_over: bool) -> Happening:
    body = CameraFault(
        fault=fault,
        state="cleared" if is_over else "raised",
        alert=raised.alert,
        severity=_SEVERITY[fault],
        lasted_s=round(max(frame.mono_s - raised.since_s, 0.0), 1) if is_over else None,
    )
    return Happening(body, 0, frame.index, frame.mono_s)
