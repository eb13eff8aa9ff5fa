"""One thread per bus asks its sensors in turns, the most overdue first.

A driver call that never returns cannot be ended from outside. So the sensor in it is given up for silent, and the other
sensors of its bus go on in a new thread; the old one, should its call come back, hands its sensor over and ends. There
are thus never more threads than sensors, however many drivers hang.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.clock import Clock
from agent.sensing.quantity import Said
from agent.sensing.sensor import SensorWatch

_log = logging.getLogger(__name__)

# How much longer than its timeout a call may take before it is taken to hang. open() has a timeout of its own.
HANG_GRACE_S = 10.0
_AFTER_BUG_S = 5.0


@dataclass(slots=True)
class _Call:
    """A driver call that runs."""

    watch: SensorWatch
    thread: threading.Thread
    since_s: float


class Bus:
    """store(sensor_id, said): puts what was said on disk; it may take its time."""

    def __init__(
        self,
        name: str,
        watches: Sequence[SensorWatch],
        store: Callable[[str, list[Said]], None],
        *,
        clock: Clock,
    ) -> None:
        self.name = name
        self.sensors = tuple(watches)
        self._store = store
        self._clock = clock
        self._changed = threading.Condition()
        # Below: guarded by _changed.
        self._waiting = list(watches)  # those that no thread has in a call
        self._calls: list[_Call] = []
        self._current: threading.Thread | None = None
        self._threads: list[threading.Thread] = []
        self._started = 0
        self._stopping = False

    def start(self) -> None:
        with self._changed:
            self._begin()

    def stop(self, deadline_s: float) -> bool:
        """End its threads and close its sensors. False if one still hangs at deadline_s on the monotonic clock."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(deadline_s - self._clock.mono_s(), 0.0))
        return not any(thread.is_alive() for thread in threads)

    def check(self) -> None:
        """Look for calls that hang. Called by the supervisor, now and then."""
        now_s = self._clock.mono_s()
        with self._changed:
            hanging = [c for c in self._calls if now_s - c.since_s > c.watch.timeout_s + HANG_GRACE_S]
        for call in hanging:
            said = call.watch.hangs(now_s - call.since_s)
            if said:
                self._store(call.watch.sensor_id, said)
            with self._changed:
                # The others must not wait for it.
                if call.thread is self._current and call in self._calls and self._waiting and not self._stopping:
                    _log.warning("bus %s: the other %d sensor(s) go on without it", self.name, len(self._waiting))
                    self._begin()

    def is_running(self) -> bool:
        """False: the thread that asks its sensors has ended by itself, which is a bug."""
        with self._changed:
            return self._stopping or (self._current is not None and self._current.is_alive())

    def threads(self) -> int:
        with self._changed:
            return sum(thread.is_alive() for thread in self._threads)

    def _begin(self) -> None:
        self._started += 1
        thread = threading.Thread(target=self._run, name=f"sensors-{self.name}-{self._started}", daemon=True)
        self._current = thread
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()

    def _run(self) -> None:
        me = threading.current_thread()
        while (watch := self._next(me)) is not None:
            call = _Call(watch, me, self._clock.mono_s())
            with self._changed:
                self._calls.append(call)
            try:
                said = watch.poll()
            except Exception:  # a bug of ours: say so loudly, and let this sensor and the others go on
                _log.exception("sensor %s: bug in sensing; going on", watch.sensor_id)
                watch.put_off(_AFTER_BUG_S)
                said = []
            with self._changed:
                self._calls.remove(call)
            if said:
                self._store(watch.sensor_id, said)
            with self._changed:
                self._waiting.append(watch)
                self._changed.notify_all()  # another thread may hold the bus by now: it takes this sensor over
        self._let_go(me)

    def _next(self, me: threading.Thread) -> SensorWatch | None:
        """The most overdue sensor, as soon as one is due. None: this thread is to end."""
        with self._changed:
            while not self._stopping and self._current is me:
                watch = min(self._waiting, key=lambda waiting: waiting.due_mono_s, default=None)
                wait_s = None if watch is None else watch.due_mono_s - self._clock.mono_s()
                if watch is not None and wait_s is not None and wait_s <= 0:
                    self._waiting.remove(watch)
                    return watch
                self._changed.wait(wait_s)
            return None

    def _let_go(self, me: threading.Thread) -> None:
        with self._changed:
            closing, self._waiting = (self._waiting, []) if self._stopping else ([], self._waiting)
        for watch in closing:
            watch.close()
