"""What happens at a gateway that stands nowhere: crossings by Poisson with a day's profile, counts, alerts, readings.

The same seed gives the same happenings. Nothing here reads a clock or keeps anything; whoever plays it decides when.
As a box does with the shipped defaults: every crossing is a message, every visit to a zone is two (enter, exit), every
camera sends its counts once a minute beside them, and a reading is sent when it has moved by its deadband or is 300 s
old (by the agent's own `QuantityWatch`).
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from statistics import fmean

from agent.contract.event import (
    Body,
    Congestion,
    Counts,
    Crossing,
    Direction,
    LineCount,
    LineFlow,
    ObjectClass,
    Reading,
    Stopped,
    Stream,
    WrongWay,
    ZoneEnter,
    ZoneExit,
    ZoneOccupancy,
    cleared,
)
from agent.sensing.quantity import QuantityWatch, Rules
from drivers.base import Reading as Measured

# Of a day's vehicles, per hour from midnight: a street that people go to work and to market by.
_HOURS = (9, 5, 4, 4, 8, 25, 65, 85, 60, 50, 48, 52, 46, 44, 48, 54, 70, 86, 70, 52, 44, 34, 22, 15)
_BUSIEST = max(_HOURS) * 24 / sum(_HOURS)
_CLASSES: dict[ObjectClass, float] = {
    "motorcycle": 0.70,
    "car": 0.17,
    "truck": 0.05,
    "bicycle": 0.04,
    "person": 0.03,
    "bus": 0.01,
}
_COUNT_INTERVAL_S = 60.0
_TURN_OF_TRACKS = 99_999  # as high as numbers of tracks go here


@dataclass(frozen=True, slots=True)
class Sensor:
    """What it measures, how far from it a value wanders in ten seconds, and the smallest change that is told."""

    id: str
    unit: str
    about: float
    wander: float
    deadband: float


@dataclass(frozen=True, slots=True)
class Gateway:
    """What stands at a gateway, and how much happens there in a day, all cameras together.

    Each camera has one line across the road and one zone beside it.
    """

    cameras: tuple[str, ...] = ("north", "south", "east", "west")
    sensors: tuple[Sensor, ...] = (
        Sensor("temperature", "°C", 28.0, 0.03, 0.2),
        Sensor("humidity", "%", 75.0, 0.15, 1.0),
        Sensor("pm25", "µg/m³", 35.0, 0.6, 3.0),
        Sensor("water", "m", 0.4, 0.002, 0.02),
        Sensor("rain", "mm/h", 2.0, 0.05, 0.5),
        Sensor("voltage", "V", 12.6, 0.01, 0.1),
    )
    crossings: float = 20_000
    visits: float = 600  # of the zones
    alerts: float = 60  # said once, such as wrong-way
    jams: float = 20  # raised and cleared


TYPICAL = Gateway()


@dataclass(frozen=True, slots=True)
class Happening:
    """at_s: since the beginning."""

    at_s: float
    stream: Stream
    source: str
    body: Body


def busy(second_of_day: float) -> float:
    """How much happens at that time of day, over the day's mean."""
    return _HOURS[int(second_of_day // 3600) % 24] * 24 / sum(_HOURS)


def traffic(gateway: Gateway, seed: str, *, start_s: float, length_s: float) -> Iterator[Happening]:
    """All that happens from start_s, a second of the day, for length_s; in its order."""
    parts = [
        *(_camera(gateway, camera, random.Random(f"{seed}/{camera}"), start_s, length_s) for camera in gateway.cameras),
        *(_sensor(sensor, random.Random(f"{seed}/{sensor.id}"), length_s) for sensor in gateway.sensors),
        _alerts(gateway, random.Random(f"{seed}/alerts"), start_s, length_s),
        _jams(gateway, random.Random(f"{seed}/jams"), start_s, length_s),
    ]
    return heapq.merge(*parts, key=attrgetter("at_s"))


def _times(per_day: float, rng: random.Random, start_s: float, length_s: float) -> Iterator[float]:
    """A Poisson process whose rate follows the day: as many as on the busiest hour, thinned."""
    if per_day <= 0:
        return
    at_s = 0.0
    while True:
        at_s += rng.expovariate(per_day / 86_400 * _BUSIEST)
        if at_s >= length_s:
            return
        if rng.random() * _BUSIEST < busy(start_s + at_s):
            yield at_s


@dataclass(slots=True)
class _Interval:
    """What a camera counts from one message to the next."""

    crossed: Counter[tuple[Direction, ObjectClass]] = field(default_factory=Counter)
    gaps_s: dict[Direction, list[float]] = field(default_factory=lambda: {"in": [], "out": []})
    last_s: dict[Direction, float] = field(default_factory=dict)
    inside_s: float = 0.0
    peak: int = 0

    def crossing(self, body: Crossing, at_s: float) -> None:
        self.crossed[body.direction, body.object_class] += 1
        if body.object_class != "person":
            if body.direction in self.last_s:
                self.gaps_s[body.direction].append(at_s - self.last_s[body.direction])
            self.last_s[body.direction] = at_s

    def take(self) -> Counts:
        lines = tuple(
            LineCount.model_validate({"line": "gate", "direction": direction, "class": name, "n": n})
            for (direction, name), n in sorted(self.crossed.items())
        )
        flows = tuple(
            LineFlow(line="gate", direction=direction, headway_s=round(fmean(gaps_s), 2))
            for direction, gaps_s in self.gaps_s.items()
            if gaps_s
        )
        zone = ZoneOccupancy(zone="bay", mean=round(self.inside_s / _COUNT_INTERVAL_S, 2), peak=self.peak)
        self.crossed.clear()
        self.gaps_s = {"in": [], "out": []}
        self.inside_s, self.peak = 0.0, 0
        return Counts(
            interval_s=_COUNT_INTERVAL_S, lines=lines, zones=(zone,), flows=flows or None, seen_s=_COUNT_INTERVAL_S
        )


def _camera(gateway: Gateway, camera: str, rng: random.Random, start_s: float, length_s: float) -> Iterator[Happening]:
    track = rng.randrange(1, 5000)
    share = len(gateway.cameras)
    crossings = ((at_s, "crossing", 0) for at_s in _times(gateway.crossings / share, rng, start_s, length_s))
    stays = _stays(gateway.visits / share, random.Random(rng.random()), start_s, length_s)
    # Each camera's intervals begin when it does, so a city's boxes do not all speak at the full minute.
    minutes = _regular(rng.uniform(0, _COUNT_INTERVAL_S), _COUNT_INTERVAL_S, length_s)
    counted = _Interval()
    inside: dict[int, tuple[int, ObjectClass, float]] = {}  # by visit: track, class, since
    for at_s, what, visit in heapq.merge(crossings, stays, ((at_s, "counts", 0) for at_s in minutes)):
        body: Body
        match what:
            case "crossing":
                track = track % _TURN_OF_TRACKS + 1
                body = Crossing.model_validate(
                    {"line": "gate", "direction": rng.choice(("in", "out")), "class": _class(rng), "track": track}
                )
                counted.crossing(body, at_s)
            case "enter":
                track = track % _TURN_OF_TRACKS + 1
                inside[visit] = (track, _class(rng), at_s)
                counted.peak = max(counted.peak, len(inside))
                body = ZoneEnter.model_validate({"zone": "bay", "class": inside[visit][1], "track": track})
            case "exit":
                number, name, since_s = inside.pop(visit)
                counted.inside_s = min(counted.inside_s + at_s - since_s, _COUNT_INTERVAL_S)
                body = ZoneExit.model_validate(
                    {"zone": "bay", "class": name, "track": number, "dwell_s": round(at_s - since_s, 1)}
                )
            case _:
                body = counted.take()
        yield Happening(at_s, Stream.COUNT if isinstance(body, Counts) else Stream.ALERT, camera, body)


def _stays(per_day: float, rng: random.Random, start_s: float, length_s: float) -> Iterator[tuple[float, str, int]]:
    """Visits of a zone: (time, "enter" or "exit", number of the visit)."""
    leaving: list[tuple[float, int]] = []
    for visit, at_s in enumerate(_times(per_day, rng, start_s, length_s)):
        while leaving and leaving[0][0] <= at_s:
            left_s, number = heapq.heappop(leaving)
            yield left_s, "exit", number
        yield at_s, "enter", visit
        heapq.heappush(leaving, (at_s + rng.expovariate(1 / 20.0), visit))
    yield from ((left_s, "exit", number) for left_s, number in sorted(leaving) if left_s < length_s)


def _regular(first_s: float, every_s: float, length_s: float) -> Iterator[float]:
    for n in range(math.ceil(max(length_s - first_s, 0.0) / every_s)):
        yield first_s + n * every_s


def _sensor(sensor: Sensor, rng: random.Random, length_s: float) -> Iterator[Happening]:
    watch = QuantityWatch(sensor.id, Rules(deadband=sensor.deadband), named=False, stale_s=600.0, since_s=0.0)
    value = sensor.about
    for at_s in _regular(rng.uniform(0, 10.0), 10.0, length_s):
        # Wanders, and is drawn back to what is usual: so it stays within what can be.
        value += rng.gauss(0, sensor.wander) - (value - sensor.about) * 0.002
        said, due = watch.take(Measured(sensor.id, max(round(value, 3), 0.0), sensor.unit, at_s))
        assert not said
        if due is not None:
            yield Happening(at_s, Stream.READING, sensor.id, Reading(value=due.value, unit=due.unit))


def _alerts(gateway: Gateway, rng: random.Random, start_s: float, length_s: float) -> Iterator[Happening]:
    for at_s in _times(gateway.alerts, rng, start_s, length_s):
        what = {"class": _class(rng), "track": rng.randrange(1, _TURN_OF_TRACKS), "severity": "warning"}
        if rng.random() < 0.5:
            direction = {"line": "gate", "direction": "out", "rule": "one-way"}
            body: Body = WrongWay.model_validate({**what, **direction})
        else:
            stands = {"zone": "bay", "dwell_s": 120.0, "rule": "no-stopping"}
            body = Stopped.model_validate({**what, **stands})
        yield Happening(at_s, Stream.ALERT, rng.choice(gateway.cameras), body)


def _jams(gateway: Gateway, rng: random.Random, start_s: float, length_s: float) -> Iterator[Happening]:
    """Lasting alerts, raised and cleared under one id; one whose end is not within the time stays raised."""

    def each() -> Iterator[Happening]:
        for at_s in _times(gateway.jams, rng, start_s, length_s):
            body = Congestion(
                rule="jam",
                severity="warning",
                state="raised",
                alert=f"{rng.getrandbits(32):08x}",
                zone="bay",
                vehicles=round(rng.uniform(5, 15), 1),
                mean_speed_lengths_per_s=round(rng.uniform(0, 0.4), 2),
            )
            lasts_s, camera = rng.expovariate(1 / 240.0), rng.choice(gateway.cameras)
            yield Happening(at_s, Stream.ALERT, camera, body)
            if at_s + lasts_s < length_s:
                yield Happening(at_s + lasts_s, Stream.ALERT, camera, cleared(body, lasts_s))

    return iter(sorted(each(), key=attrgetter("at_s")))


def _class(rng: random.Random) -> ObjectClass:
    return rng.choices(tuple(_CLASSES), tuple(_CLASSES.values()))[0]
