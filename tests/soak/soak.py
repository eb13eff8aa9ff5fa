"""One camera of the agent, hour after hour: its worker, pipeline, every kind of rule, camera health, colours, evidence
and memory, without a thread and without waiting. What it says is checked on the way, what it holds is measured.
"""

from __future__ import annotations

import gc
import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from agent import config
from agent.camera import make_pipeline
from agent.clock import FakeClock
from agent.contract.event import CameraFault, Event, Lasting, StateAlert
from agent.evidence import EvidenceStore, Witness
from agent.memory import CameraMemory
from agent.raised import RaisedAlerts
from agent.vision.budget import InferenceBudget
from agent.vision.worker import CameraWorker
from drivers.fakes import FakeCamera
from tests.soak.scene import HOUR_S, SPELLS, ErringDetector, Painter, Shown, spell
from tests.soak.sizes import sizes

DAY_S = 86_400.0
_CONFIG = """
[box]
site = "soak"
id = "gw"
[[camera]]
id = "north"
source = "file:clip.mp4"
readers = ["colour"]
regions = true
[camera.calibration]
points = [[0.0, 0.2], [1.0, 0.2], [1.0, 1.0], [0.0, 1.0]]
metres = [[0, 0], [32, 0], [32, 14], [0, 14]]
[[camera.line]]
id = "gate"
a = [0.5, 0.2]
b = [0.5, 1.0]
[[camera.zone]]
id = "road"
polygon = [[0.0, 0.3], [1.0, 0.3], [1.0, 1.0], [0.0, 1.0]]
dwell_s = 10
"""
RULES = {
    "wrong-way": 'line = "gate"\nallowed = "in"',
    "restricted": 'zone = "road"\nclasses = ["person"]',
    "loitering": 'zone = "road"\nafter_s = 20',
    "stopped": 'zone = "road"\nafter_s = 15',
    "speeding": 'line = "gate"\nlimit_kmh = 20',
    "congestion": 'zone = "road"\nvehicles = 4\nafter_s = 5',
    "crowd": 'zone = "road"\nmore_than = 4\nafter_s = 5',
    "left-behind": 'zone = "road"\nafter_s = 10',
    "removed": 'zone = "road"\nafter_s = 10',
}


def settings() -> config.CameraConfig:
    rules = "".join(f'[[camera.rule]]\nid = "{kind}"\nkind = "{kind}"\n{keys}\n' for kind, keys in RULES.items())
    return config.parse(_CONFIG + rules, "soak").camera[0]


@dataclass
class Held:
    """What the camera held at one moment, in rest."""

    hours: float
    entries: Counter[str]
    rss_mb: float


@dataclass
class Books:
    """What the camera said, and which of it cannot be."""

    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    tracks: int = 0
    _born_s: dict[int, float] = field(default_factory=dict)  # of the last day
    _in_order: deque[tuple[float, int]] = field(default_factory=deque)
    _open: set[str] = field(default_factory=set)

    def numbers(self, first: int, next_id: int, now_s: float) -> None:
        """These were given to new tracks at now_s."""
        while self._in_order and now_s - self._in_order[0][0] > DAY_S:
            _, old = self._in_order.popleft()
            self._born_s.pop(old, None)
        for number in range(first, next_id):
            if number in self._born_s:
                self.wrong.append(f"track {number} of {self._born_s[number]:.0f} s was used again at {now_s:.0f} s")
            self._born_s[number] = now_s
            self._in_order.append((now_s, number))
            self.tracks += 1

    def said(self, event: Event) -> None:
        body = event.body
        state = body.state if isinstance(body, Lasting) else ""
        self.kinds[f"{body.kind} {state}".strip()] += 1  # type: ignore[attr-defined]
        if isinstance(body, Lasting):
            is_open = body.alert in self._open
            if is_open == (state == "raised"):
                self.wrong.append(f"{body.kind} {body.alert} was {state} {'again' if is_open else 'and never raised'}")
            (self._open.add if state == "raised" else self._open.discard)(body.alert)


class Soak:
    """spoil: done to every new pipeline; how a test makes it leak."""

    def __init__(self, folder: Path, *, seed: int = 1, spoil: Callable[[Any], None] = lambda pipeline: None) -> None:
        self._folder = folder
        self._rng = np.random.default_rng(seed)
        self._spoil = spoil
        self._camera = settings()
        self._detector = ErringDetector(self._rng)
        self._painter = Painter()
        self._evidence = EvidenceStore(folder / "evidence", max_bytes=2_000_000, max_days=1.0)
        self.clock = FakeClock(mono_s=1000.0)
        self.books = Books()
        self.held: list[Held] = []
        self.things_in: Counter[str] = Counter()  # things left behind and removed, as told in each kind of spell
        self.frames = 0
        self.hours = 0
        self.start()

    def start(self) -> None:
        """The agent, anew, as after a crash: nothing is known but what is in its files."""
        memory = CameraMemory(self._folder / "cameras", "north")
        first = memory.first_track()
        pipeline = make_pipeline(
            self._camera, self._detector, first_track=first, view=memory.view(), budget=InferenceBudget(40.0)
        )
        self._spoil(pipeline)
        self._next_id = first
        raised = RaisedAlerts(self._folder / "alerts.raised", clock=self.clock)
        self.worker = CameraWorker(
            "north",
            FakeCamera("north", []),
            pipeline,
            raised.noting(self._put),
            clock=self.clock,
            stall_timeout_s=5.0,
            memory=memory,
            witness=cast(Any, Witness(self._evidence, self._detector, pixelate="others")),
        )
        raised.resume(self._resume)

    def hour(self, *, shrinks: bool = False) -> None:
        """A spell, and the rest after it. shrinks: the picture changes its size in a spell of trouble, which makes the
        tracker and the rules begin anew; and so hides what they did not forget."""
        kind = SPELLS[self.hours % len(SPELLS)]
        began_s = self.clock.mono_s()
        told = self._things_told()
        for shown in spell(kind, self._rng, shrinks=shrinks):
            self._show(shown, began_s + shown.at_s)
        for at_s in (*range(70, 130, 2), *range(130, int(HOUR_S), 120)):
            self._show(Shown(at_s), began_s + at_s)
        self._evidence.tidy()
        self.things_in[kind] += self._things_told() - told
        self.hours += 1
        self.clock.sleep(began_s + HOUR_S - self.clock.mono_s())

    def _things_told(self) -> int:
        return self.books.kinds["left-behind raised"] + self.books.kinds["removed raised"]

    def measure(self) -> Held:
        """To be called in rest, where nobody is in view."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        entries = sizes(self.worker, "worker") + sizes(self._evidence, "evidence")
        self.held.append(Held(self.hours, entries, pages * os.sysconf("SC_PAGE_SIZE") / 1e6))
        return self.held[-1]

    def _show(self, shown: Shown, mono_s: float) -> None:
        self.clock.sleep(mono_s - self.clock.mono_s())
        self._detector.shown = shown
        self.worker._look(self._painter.frame(shown, self.frames, mono_s))
        self.frames += 1
        if self.worker.bugs:
            raise AssertionError("a bug in a stage; see the log")
        next_id = self.worker.pipeline.next_track
        self.books.numbers(self._next_id, next_id, mono_s)
        self._next_id = next_id

    def _resume(self, source: str, body: Lasting, since_s: float) -> bool:
        assert isinstance(body, StateAlert | CameraFault)
        self.worker.resume(body, since_s)
        return True

    def _put(self, *events: Event) -> None:
        for event in events:
            self.books.said(event)
