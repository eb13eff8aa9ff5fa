"""All sensors of a box: their buses, a supervisor that looks for drivers that hang, and the way to the outbox."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from agent.alive import Signs, give_again
from agent.clock import Clock, Stamp
from agent.contract.event import Event, Reading, SensorAlert, Stream
from agent.errors import EventStoreError
from agent.sensing.bus import Bus
from agent.sensing.outputs import OutputKeeper, OutputState
from agent.sensing.quantity import Said
from agent.sensing.sensor import SensorState, SensorWatch

_log = logging.getLogger(__name__)

_CHECK_EVERY_S = 1.0
_STORE_AGAIN_S = 1.0
_STEP_WITHIN_S = 60.0  # the supervisor's, which calls no driver but an output's


class Sensing:
    """Made before anything is opened, so that a configuration that cannot be used is refused with nothing running."""

    def __init__(
        self,
        watches: Sequence[SensorWatch],
        *,
        clock: Clock,
        outputs: Sequence[OutputKeeper] = (),
    ) -> None:
        self._watches = {watch.sensor_id: watch for watch in watches}
        self._put: Callable[..., None] | None = None
        self._outputs = {output.output_id: output for output in outputs}
        self._clock = clock
        self._stopping = threading.Event()
        names = dict.fromkeys(watch.bus for watch in watches)
        self.buses = [
            Bus(name, [watch for watch in watches if watch.bus == name], self._store, clock=clock) for name in names
        ]
        self.signs = Signs("sensors", clock)
        self._supervisor = threading.Thread(target=self._supervise, name="sensors-supervisor", daemon=True)

    def start(self, put: Callable[..., None]) -> None:
        """put: stores events or raises EventStoreError."""
        self._put = put
        for bus in self.buses:
            bus.start()
        if self.buses:
            self.signs.give(_STEP_WITHIN_S)
            self._supervise_once()  # takes the outputs, which switches them off
            self._supervisor.start()

    def resume(self, sensor_id: str, body: SensorAlert, since_s: float) -> bool:
        """Before start: go on with what was raised when the agent ended. False: nobody watches for it any more."""
        watch = self._watches.get(sensor_id)
        if watch is None or not watch.resume(body, since_s):
            return False
        for output in self._outputs.values():
            output.heard(sensor_id, Said(body, since_s))
        return True

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Ends all threads. False if one hangs in a driver: it is left behind. May be called before start()."""
        self._stopping.set()
        deadline_s = self._clock.mono_s() + timeout_s
        ended = [bus.stop(deadline_s) for bus in self.buses]
        if self._supervisor.ident is not None:
            self._supervisor.join(timeout_s)
        for bus, has_ended in zip(self.buses, ended, strict=True):
            if not has_ended:
                _log.warning("bus %s: still busy %g s after being told to stop; left behind", bus.name, timeout_s)
        for output in self._outputs.values():
            output.close()
        return all(ended)

    def output_states(self) -> dict[str, OutputState]:
        return {output_id: output.state() for output_id, output in self._outputs.items()}

    def states(self) -> dict[str, SensorState]:
        return {sensor_id: watch.state() for sensor_id, watch in self._watches.items()}

    def _supervise(self) -> None:
        while not self._stopping.wait(_CHECK_EVERY_S):
            # A bus is looked after here, also while a driver hangs in it. One whose thread has ended is nobody's.
            if all(bus.is_running() for bus in self.buses):
                self.signs.give(_STEP_WITHIN_S)
            self._supervise_once()
        self.signs.end()

    def _supervise_once(self) -> None:
        try:
            for bus in self.buses:
                bus.check()
            for output in self._outputs.values():
                output.tick()
        except Exception:  # a bug of ours must not end the watching over drivers that hang
            _log.exception("bug in the supervisor of the sensors; going on")

    def _store(self, sensor_id: str, said: list[Said]) -> None:
        """Called by the buses' threads. Keeps the bus until it is stored: what a sensor said is not lost."""
        assert self._put is not None, "started"
        now, now_s = self._clock.stamp(), self._clock.mono_s()
        events = [
            Event(
                Stream.READING if isinstance(one.body, Reading) else Stream.ALERT,
                sensor_id,
                one.body,
                _earlier(now, now_s - one.mono_s),
            )
            for one in said
        ]
        complained = False
        while True:
            give_again()
            try:
                self._put(*events)
                break
            except EventStoreError as exc:
                if not complained:
                    _log.error("sensor %s: %d event(s) wait to be stored: %s", sensor_id, len(events), exc)
                    complained = True
            if self._stopping.wait(_STORE_AGAIN_S):
                _log.error("sensor %s: stopped with %d event(s) not stored", sensor_id, len(events))
                return
        for one in said:
            for output in self._outputs.values():
                output.heard(sensor_id, one)


def _earlier(stamp: Stamp, by_s: float) -> Stamp:
    """The stamp of something that happened by_s before it."""
    by_ms = max(round(by_s * 1000), 0)
    return Stamp(stamp.wall_ms - by_ms, stamp.mono_ms - by_ms, stamp.trusted)
