"""One light box: the agent's outbox, contract and link, fed with made-up happenings instead of cameras."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from agent import __version__
from agent.clock import Clock, Stamp, SystemClock
from agent.contract.box import (
    BudgetHealth,
    CameraHealth,
    Health,
    OutboxHealth,
    SensorHealth,
)
from agent.contract.event import Event, Reading, Stream
from agent.errors import EventStoreError, UplinkDown
from agent.outbox import Outbox
from agent.simulate.road import Road
from agent.simulate.traffic import Gateway, Happening, traffic
from agent.uplink import Uplink, UplinkSettings
from agent.uplink.link import Link

ClockFault = Literal["right", "unset", "drifting"]

_HEALTH_INTERVAL_S = 60.0
_UNSET_WALL_MS = 1_577_836_800_000  # 2020: what a board without a battery believes until somebody tells it
_STORE_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong with one box. cuts: (from, to) in seconds since it began, in order."""

    clock: ClockFault = "right"
    set_after_s: float = 0.0  # unset: when a time server is heard
    drift_ms_per_s: float = 0.0  # drifting: the clock is trusted, and wrong
    cuts: tuple[tuple[float, float], ...] = ()


def draw_faults(rng: random.Random, length_s: float) -> Faults:
    """One box in ten starts with its clock unset, one in ten has a clock that drifts (by up to half a second an hour);
    each loses its link once an hour, on average for a minute, and has it back when all is over."""
    cuts, at_s = [], rng.expovariate(1 / 3600.0)
    while at_s < length_s:
        lasts_s = rng.expovariate(1 / 60.0)
        cuts.append((at_s, min(at_s + lasts_s, length_s)))
        at_s += lasts_s + rng.expovariate(1 / 3600.0)
    chance = rng.random()
    if chance < 0.1:
        return Faults("unset", set_after_s=rng.uniform(20.0, max(20.0, length_s / 2)), cuts=tuple(cuts))
    if chance < 0.2:
        return Faults("drifting", drift_ms_per_s=rng.uniform(-0.14, 0.14), cuts=tuple(cuts))
    return Faults(cuts=tuple(cuts))


class BoxClock:
    """The machine's monotonic clock, and a wall clock with a fault of its own."""

    def __init__(self, faults: Faults, boot_id: str) -> None:
        self.boot_id = boot_id
        self._faults = faults
        self._real = SystemClock()
        self._began_s = time.monotonic()

    def mono_s(self) -> float:
        return time.monotonic()

    def since_s(self) -> float:
        return time.monotonic() - self._began_s

    def stamp(self) -> Stamp:
        real = replace(self._real.stamp(), trusted=True)  # the machine that simulates is believed
        ran_s = self.since_s()
        match self._faults.clock:
            case "unset" if ran_s < self._faults.set_after_s:
                return Stamp(_UNSET_WALL_MS + int(ran_s * 1000), real.mono_ms, False)
            case "drifting":
                return replace(real, wall_ms=real.wall_ms + int(ran_s * self._faults.drift_ms_per_s))
            case _:
                return real

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def offer(self, utc_ms: int, mono_s: float, source: str) -> None:
        raise NotImplementedError("a simulated box has no receiver")


class SimulatedBox:
    """Starts when it is made: its outbox is opened, its link goes up by itself. due_s() and step() play its day."""

    def __init__(
        self,
        settings: UplinkSettings,
        folder: Path,
        gateway: Gateway,
        *,
        seed: str,
        start_s: float,
        length_s: float,
        faults: Faults,
    ) -> None:
        """start_s: second of the day. length_s: how long it goes on."""
        rng = random.Random(f"{seed}/box")
        self.name = settings.box
        self.faults = faults
        self.puts_ms: deque[float] = deque(maxlen=10_000)
        self.late_s = 0.0  # at most, against its own plan: the machine that simulates is too slow
        self.not_stored = 0
        self.cut_for_good = False
        self._settings = settings
        self._gateway = gateway
        self._clock: Clock = BoxClock(faults, f"{rng.getrandbits(128):032x}")
        self._began_s = time.monotonic()
        self.road = Road(self._is_cut)
        folder.mkdir(parents=True, exist_ok=True)
        self.outbox = Outbox(folder / "outbox.db", clock=self._clock)
        self.uplink = Uplink(settings, self.outbox, clock=self._clock, make_link=self.road.link)
        self._happenings: Iterator[Happening] = traffic(gateway, seed, start_s=start_s, length_s=length_s)
        self._next = next(self._happenings, None)
        self._length_s = length_s
        self._health_due_s = rng.uniform(0.0, _HEALTH_INTERVAL_S)
        self._values: dict[str, tuple[float, float]] = {}  # by sensor: value, when
        self._inferred = 0
        self.uplink.start()

    def due_s(self) -> float | None:
        """When the next step is due, on the monotonic clock; None when its time is over."""
        due_s = min(self._health_due_s, self._next.at_s if self._next else float("inf"))
        return self._began_s + due_s if due_s < self._length_s else None

    def step(self) -> None:
        """Do what is due: store a happening, as a camera's thread does, or send the pulse."""
        late_s = time.monotonic() - (self.due_s() or 0.0)
        self.late_s = max(self.late_s, late_s)
        happening = self._next
        if happening is None or self._health_due_s <= happening.at_s:
            self._health_due_s += _HEALTH_INTERVAL_S
            self.uplink.publish_health(self.health())
            return
        self._next = next(self._happenings, None)
        if isinstance(happening.body, Reading):
            self._values[happening.source] = (happening.body.value, time.monotonic())
        event = Event(happening.stream, happening.source, happening.body, self._clock.stamp())
        began_s = time.perf_counter()
        try:
            self.outbox.put(event)
        except EventStoreError:
            self.not_stored += 1  # a camera would try again; here the disk is what is wrong, and it is told
            return
        self.puts_ms.append((time.perf_counter() - began_s) * 1000)

    def health(self) -> Health:
        """As the agent's own, with what a box without eyes can say."""
        now, now_s = self._clock.stamp(), time.monotonic()
        depth = self.outbox.depth()
        self._inferred += 260
        return Health(
            time=now.wall_ms,
            uptime_s=round(now_s - self._began_s, 1),
            agent=__version__,
            clock_trusted=now.trusted,
            runtime="ai-edge-litert 2.3.0",
            model="ssd-mobilenet-v3-large-coco-320-int8",
            cameras={
                camera: CameraHealth(state="open", fps=10.0, dropped=0, inferred=self._inferred)
                for camera in self._gateway.cameras
            },
            sensors={
                sensor: SensorHealth(state="ok", age_s=round(now_s - at_s, 1), values={sensor: value})
                for sensor, (value, at_s) in self._values.items()
            }
            or None,
            outbox=OutboxHealth(
                rows=depth.rows,
                bytes=depth.bytes,
                max_bytes=depth.max_bytes,
                oldest_s=max(now.wall_ms - depth.oldest_ms, 0) / 1000 if depth.oldest_ms is not None else None,
                last=depth.last,
            ),
            link=self.uplink.status().health(),
            budget=BudgetHealth(limit_per_s=30.0, max_per_s=30.0, granted=self._inferred * 4, refused=0),
            cpu_c=55.0,
            rss_bytes=150_000_000,
            disk_free_bytes=20_000_000_000,
        )

    def waiting(self) -> int:
        """Messages that the broker has not acknowledged."""
        return self.outbox.depth().rows

    def end(self) -> dict[str, Any]:
        """Say goodbye, close, and give the account of what was numbered."""
        self.uplink.stop()
        status = self.uplink.status()
        depth = self.outbox.depth()
        self.outbox.close()
        return {
            "epoch": depth.epoch,
            "last": {stream.value: depth.streams[stream].last_seq for stream in Stream},
            "waiting": depth.rows,
            "not_stored": self.not_stored,
            "clock": self.faults.clock,
            "cuts": len(self.faults.cuts),
            "connects": status.connects,
            "sent": status.sent,
            "acked": status.acked,
            "refused": status.refused,
            "set_aside": status.set_aside,
            "sent_bytes": self.road.sent_bytes,
            "received_bytes": self.road.received_bytes,
            "segments": self.road.segments,
            "error": status.last_error,
        }

    def vanish(self) -> None:
        """Leave nothing of itself with the broker: no retained state, no session. After end()."""
        topics = self._settings.topics
        for broker in self._settings.brokers:
            link = Link(
                broker,
                client_id=f"gw-{self._settings.site}-{self._settings.box}",
                login=self._settings.login,
                timeout_s=self._settings.connect_timeout_s,
                session_expiry_s=0,
            )
            try:
                with link:
                    link.publish(topics.state, b"", retain=True)
                    deadline_s = time.monotonic() + self._settings.connect_timeout_s
                    while not link.acks and time.monotonic() < deadline_s:
                        link.drive(0.1)
                return
            except UplinkDown:
                continue

    def _is_cut(self) -> bool:
        ran_s = time.monotonic() - self._began_s
        return any(first_s <= ran_s < last_s for first_s, last_s in self.faults.cuts)
