"""A week without a broker: an event a second, and a link that tries all the while. Then the broker is there again.

    python -m tests.fault.week [--days 7] [--folder DIR]

The week's time is simulated, its events and attempts are not: 604,800 events are put, in commits of a minute each, and
as many connections are tried as in a week. Twice: with room for all of it on the disk, and with room for a third, where
the box must name what it drops. Then a new process starts on that backlog, and a consumer with the ledger counts what
comes. Exit code 1 if something is lost, out of order, twice, or not within the bounds printed beside it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agent.clock import FakeClock
from agent.contract.event import Crossing, Event, Stream
from agent.contract.topics import parse_topic
from agent.contract.wire import decode
from agent.outbox import Outbox
from agent.uplink import Broker, Uplink, UplinkSettings
from tests.support.consumer import Consumer
from tests.support.mosquitto import Mosquitto, free_port

MB = 1024 * 1024
DAY_S = 86_400
ATTEMPTS_PER_DAY = DAY_S // 15  # the waits between them grow to 30 s, and are drawn: 15 s on average
ROOM_MB = 512
START_S = 2.0
RSS_GROWTH_MB = 3.0
FILE_OVER_BOUND_MB = 10.0  # log, reserve, unused pages, and what SQLite needs beside the rows
GIVEN_BACK_S = 600.0
_STREAMS = (Stream.COUNT, Stream.READING, Stream.ALERT, Stream.COUNT, Stream.READING)


def event(number: int, clock: FakeClock) -> Event:
    body = Crossing(line="gate", direction="in", object_class="car", track=number)
    return Event(_STREAMS[number % len(_STREAMS)], "north", body, clock.stamp())


def outage(pipe: Connection, path: Path, days: int, max_mb: int, attempts_per_day: int) -> None:
    """The process that lives through it. Sends (day, RSS, file size, attempts) at the end of each day."""
    clock = FakeClock()
    outbox = Outbox(path, max_bytes=max_mb * MB, alert_reserve_bytes=max_mb * MB // 4, clock=clock)
    attempts = 0

    def count(_: Any) -> float:
        nonlocal attempts
        attempts += 1
        return 0.0 if attempts < wanted else 0.05

    wanted = attempts_per_day
    uplink = Uplink(UplinkSettings("site", "box", (Broker("127.0.0.1", free_port()),)), outbox, wait=count)  # type: ignore[arg-type]
    uplink.start()
    for day in range(1, days + 1):
        wanted = day * attempts_per_day
        for minute in range((day - 1) * 1440, day * 1440):
            events = []
            for second in range(60):
                clock.sleep(1.0)
                events.append(event(minute * 60 + second + 1, clock))
            outbox.put(*events)
        while attempts < wanted:
            time.sleep(0.1)
        pipe.send((day, resident_mb(), size_mb(path), attempts))
    uplink.stop()
    outbox.close()


def afterwards(pipe: Connection, path: Path, port: int, max_mb: int, number: int) -> None:
    """The process that starts on the backlog. Sends how long that took, then what draining it took."""
    began_s = time.monotonic()
    outbox = Outbox(path, max_bytes=max_mb * MB, alert_reserve_bytes=max_mb * MB // 4)
    uplink = Uplink(UplinkSettings("site", "box", (Broker("127.0.0.1", port),)), outbox)
    uplink.start()
    outbox.put(event(number, FakeClock()))
    stored_s = time.monotonic() - began_s
    while uplink.status().acked == 0:
        time.sleep(0.005)
    first_s = time.monotonic() - began_s
    rows = outbox.depth().rows
    pipe.send((stored_s, first_s, rows))
    began_s, least_mb, most_mb = time.monotonic(), resident_mb(), 0.0
    while outbox.depth().rows:
        most_mb = max(most_mb, resident_mb())
        time.sleep(0.1)
    drained_s = time.monotonic() - began_s
    pipe.send((drained_s, rows / drained_s, least_mb, most_mb))
    while size_mb(path) > FILE_OVER_BOUND_MB and time.monotonic() < began_s + drained_s + GIVEN_BACK_S:
        time.sleep(1.0)
    pipe.send(time.monotonic() - began_s - drained_s)
    uplink.stop()
    outbox.close()


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MB


def size_mb(path: Path) -> float:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / MB


class Tally(Consumer):
    """Counts what comes and keeps none of it."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.events = self.named = self.out_of_order = 0
        self._newest: dict[Stream, int] = {}

    def _enter(self, name: str, payload: bytes) -> None:
        topic, fields = parse_topic(name), decode(payload)
        if topic is None or topic.stream is None:
            return
        if self.ledger.take(("box", topic.stream), fields["epoch"], fields["seq"]).repeat:
            self.repeats += 1
        elif fields["kind"] == "gap":
            self.ledger.excuse(("box", Stream(fields["stream"])), fields["epoch"], fields["first"], fields["last"])
            self.named += fields["last"] - fields["first"] + 1
        else:
            self.events += 1
            self.out_of_order += fields["track"] < self._newest.get(topic.stream, 0)
            self._newest[topic.stream] = fields["track"]


@dataclass
class Verdict:
    failures: list[str] = field(default_factory=list)

    def hold(self, true: bool, words: str) -> None:
        print(f"{'ok    ' if true else 'FAILED'} {words}", flush=True)
        if not true:
            self.failures.append(words)


def in_child(target: Callable[..., None], *args: Any) -> tuple[Any, Connection]:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def run(folder: Path, days: int, max_mb: int, attempts_per_day: int, verdict: Verdict) -> None:
    folder.mkdir()
    path, events = folder / "outbox.db", days * DAY_S
    process, pipe = in_child(outage, path, days, max_mb, attempts_per_day)
    samples = []
    for _ in range(days):
        samples.append(pipe.recv())
        print("       day {}: {:.1f} MB resident, {:.1f} MB on disk, {} attempts to connect".format(*samples[-1]))
    process.join()
    growth_mb = samples[-1][1] - samples[0][1]
    verdict.hold(growth_mb < RSS_GROWTH_MB, f"RSS grew by {growth_mb:.1f} MB from the first day's end to the last's")
    most_mb = max(sample[2] for sample in samples)
    verdict.hold(most_mb < max_mb + FILE_OVER_BOUND_MB, f"{most_mb:.1f} MB on disk at most; the bound is {max_mb} MB")

    with Mosquitto(folder / "broker") as broker, Tally(Broker("127.0.0.1", broker.port)) as tally:
        process, pipe = in_child(afterwards, path, broker.port, max_mb, events + 1)
        stored_s, first_s, rows = pipe.recv()
        verdict.hold(stored_s < START_S, f"with {rows} rows waiting: first event stored {stored_s:.2f} s after opening")
        verdict.hold(first_s < START_S, f"first message acknowledged after {first_s:.2f} s")
        drained_s, per_s, least_mb, most_mb = pipe.recv()
        print(f"       drained in {drained_s:.1f} s, {per_s:.0f} per s")
        verdict.hold(most_mb - least_mb < RSS_GROWTH_MB, f"{least_mb:.1f} to {most_mb:.1f} MB resident meanwhile")
        while tally.events + tally.named < events + 1:
            before = tally.events + tally.named
            time.sleep(5.0)
            if tally.events + tally.named == before:
                break
        missing = {key: tally.ledger.missing(key) for key in tally.ledger.series() if tally.ledger.missing(key)}
        complete = tally.events + tally.named == events + 1 and not missing
        words = f"{events + 1} accepted, {tally.events} received, {tally.named} named"
        verdict.hold(complete and bool(tally.named) == (max_mb < ROOM_MB), words)
        verdict.hold(not tally.out_of_order, f"{tally.out_of_order} out of order, {tally.repeats} sent twice")
        given_back_s = pipe.recv()
        words = f"{size_mb(path):.1f} MB on disk {given_back_s:.0f} s after the last was taken"
        verdict.hold(size_mb(path) <= FILE_OVER_BOUND_MB, words)
        process.join()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fault.week", description="A week without a broker.")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="a new folder for everything (default: in /tmp)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="week-"))
    verdict = Verdict()
    print(f"{options.days} days with room for everything; files in {folder}")
    run(folder / "room", options.days, ROOM_MB, ATTEMPTS_PER_DAY, verdict)
    third_mb = max(8, options.days * 6)
    print(f"\n{options.days} days with room for {third_mb} MB")
    run(folder / "tight", options.days, third_mb, 1, verdict)
    return 1 if verdict.failures else 0


if __name__ == "__main__":
    sys.exit(main())
