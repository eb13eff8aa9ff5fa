"""How fast events become durable and leave, beside the parts they are made of, in one interleaved run.

    python -m tests.bench.outbox [--events 20000] [--rounds 3] [--folder /where/the/disk/is]

raw-1, raw-50     sqlite3 alone, WAL and FULL, 1 and 50 rows per commit
paho              paho alone, QoS 1, window 100, its own loop thread, no store
put-50            our put from 50 threads
drain             ours end to end: a full outbox to an empty one, PUBACK and removal included
live              put p50 and p99 at 200 events/s with the link up, and from put to PUBACK

Numbers of one machine and one moment: compare columns, not runs. The broker is a real mosquitto on loopback, and
shares the processor with what is measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.contract.event import Event, Stream
from agent.contract.wire import Envelope, body_json, encode
from agent.outbox import Outbox
from agent.uplink import Broker, Uplink, UplinkSettings
from tests.support.events import STAMP, crossing
from tests.support.mosquitto import Mosquitto

WINDOW = 100
BODY = body_json(crossing(4711).body)
PAYLOAD = encode(Envelope(2671403458, 123_456, STAMP.wall_ms, STAMP.mono_ms), BODY, "json")


def written_bytes() -> int:
    """What this process has had written to a disk so far (0 where the kernel does not tell)."""
    try:
        text = Path("/proc/self/io").read_text()
    except OSError:
        return 0
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("write_bytes")))


class Measure:
    """rate per second, processor and disk per event."""

    def __init__(self, events: int, work: Callable[[], None]) -> None:
        began_s, cpu_s, disk = time.perf_counter(), time.process_time(), written_bytes()
        work()
        self.rate = events / (time.perf_counter() - began_s)
        self.cpu_us = (time.process_time() - cpu_s) / events * 1e6
        self.disk_bytes = (written_bytes() - disk) / events


def raw(folder: Path, events: int, per_commit: int) -> Measure:
    db = sqlite3.connect(folder / f"raw-{per_commit}.db", isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = full")
    db.execute("create table if not exists event (id integer primary key, body text not null)")

    def work() -> None:
        for _ in range(events // per_commit):
            db.execute("begin")
            db.executemany("insert into event (body) values (?)", [(BODY,)] * per_commit)
            db.execute("commit")

    try:
        return Measure(events, work)
    finally:
        db.close()


def paho(port: int, events: int) -> Measure:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(0)
    room, connected, done = threading.Semaphore(WINDOW), threading.Event(), threading.Event()
    acked = 0

    def on_publish(*_: Any) -> None:
        nonlocal acked
        acked += 1
        room.release()
        if acked == events:
            done.set()

    client.on_publish = on_publish
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    connected.wait()

    def work() -> None:
        for _ in range(events):
            room.acquire()
            client.publish("gw/v1/site/box/count/north", PAYLOAD, qos=1)
        done.wait()

    try:
        return Measure(events, work)
    finally:
        client.disconnect()
        client.loop_stop()


def put_from_threads(folder: Path, events: int, threads: int = 50) -> Measure:
    outbox, clock = Outbox(folder / "put.db"), SystemClock()

    def stage() -> None:
        for track in range(1, events // threads + 1):
            outbox.put(crossing(track, stamp=clock.stamp()))

    def work() -> None:
        stages = [threading.Thread(target=stage) for _ in range(threads)]
        for thread in stages:
            thread.start()
        for thread in stages:
            thread.join()

    try:
        return Measure(events, work)
    finally:
        outbox.close()


def fill(outbox: Outbox, events: int) -> None:
    for first in range(1, events + 1, 1000):
        outbox.put(*[crossing(track) for track in range(first, min(first + 1000, events + 1))])


def drain(folder: Path, port: int, events: int) -> Measure:
    outbox = Outbox(folder / "drain.db")
    fill(outbox, events)
    uplink = Uplink(UplinkSettings("site", "box", (Broker("127.0.0.1", port),)), outbox)

    def work() -> None:
        uplink.start()
        while uplink.status().acked < events:
            time.sleep(0.002)
        outbox.flush()

    try:
        measure = Measure(events, work)
        if outbox.depth().rows:
            raise RuntimeError(f"{outbox.depth().rows} rows left after the drain")
        return measure
    finally:
        uplink.stop(10.0)
        outbox.close()


class TimedOutbox(Outbox):
    """Notes when the link let go of a row."""

    def __init__(self, path: Path) -> None:
        self.removed_s: dict[tuple[int, int], float] = {}
        super().__init__(path)

    def remove(self, stream: Stream, positions: list[tuple[int, int]]) -> None:
        now_s = time.perf_counter()
        self.removed_s.update(dict.fromkeys(positions, now_s))
        super().remove(stream, positions)


def live(folder: Path, port: int, events: int, per_s: float = 200.0) -> tuple[list[float], list[float]]:
    """Seconds that put took, and seconds from its call to the PUBACK, per event."""
    outbox, clock = TimedOutbox(folder / "live.db"), SystemClock()
    uplink = Uplink(UplinkSettings("site", "box", (Broker("127.0.0.1", port),)), outbox)
    uplink.start()
    while uplink.status().broker is None:
        time.sleep(0.01)
    called_s: list[float] = []
    took_s: list[float] = []
    next_s = time.perf_counter()
    for track in range(1, events + 1):
        next_s += 1 / per_s
        time.sleep(max(0.0, next_s - time.perf_counter()))
        event: Event = crossing(track, Stream.ALERT, stamp=clock.stamp())
        called_s.append(time.perf_counter())
        outbox.put(event)
        took_s.append(time.perf_counter() - called_s[-1])
    uplink.drain(10.0)
    uplink.stop(5.0)
    outbox.close()
    return took_s, [outbox.removed_s[1, seq] - called_s[seq - 1] for seq in range(1, events + 1)]


def percentile_ms(values_s: list[float], share: float) -> float:
    return sorted(values_s)[int(share * (len(values_s) - 1))] * 1000


def rss_alone(folder: Path, port: int, events: int) -> float:
    """MB of a process that holds nothing but outbox and link, after draining so many events."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from agent.outbox import Outbox\n"
        "from agent.uplink import Broker, Uplink, UplinkSettings\n"
        "outbox = Outbox(Path(sys.argv[1]))\n"
        "uplink = Uplink(UplinkSettings('site', 'box', (Broker('127.0.0.1', int(sys.argv[2])),)), outbox)\n"
        "uplink.start()\n"
        "assert uplink.drain(120)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
        "uplink.stop(); outbox.close()\n"
    )
    outbox = Outbox(folder / "rss.db")
    fill(outbox, events)
    outbox.close()
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "rss.db"), str(port)], check=True, capture_output=True, text=True
    )
    return int(done.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="per measurement and round (default: 20000)")
    parser.add_argument("--rounds", type=int, default=3, help="each measurement once per round (default: 3)")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: the system's temporary folder)")
    args = parser.parse_args()
    events: int = args.events
    results: dict[str, list[Measure]] = {}
    put_s: list[float] = []
    acked_s: list[float] = []
    top = Path(tempfile.mkdtemp(prefix="bench-outbox-", dir=args.folder))
    try:
        with Mosquitto(top / "broker") as broker:
            for number in range(args.rounds):
                folder = top / str(number)
                folder.mkdir()
                for name, measure in {
                    "raw-1": lambda folder=folder: raw(folder, events // 10, 1),
                    "raw-50": lambda folder=folder: raw(folder, events, 50),
                    "paho": lambda: paho(broker.port, events),
                    "put-50": lambda folder=folder: put_from_threads(folder, events),
                    "drain": lambda folder=folder: drain(folder, broker.port, events),
                }.items():
                    results.setdefault(name, []).append(measure())
                puts, acks = live(folder, broker.port, 1000)
                put_s += puts
                acked_s += acks
            rss_mb = rss_alone(top, broker.port, events)
    finally:
        shutil.rmtree(top)
    print(f"{events} events, {args.rounds} rounds, medians; {os.cpu_count()} cores, sqlite {sqlite3.sqlite_version}")
    print(f"{'':8} {'events/s':>10} {'us CPU':>8} {'B to disk':>10}   per event; rates of each round")
    for name, measures in results.items():
        middle = [statistics.median(getattr(m, field) for m in measures) for field in ("rate", "cpu_us", "disk_bytes")]
        rounds = " ".join(f"{measure.rate:.0f}" for measure in measures)
        print(f"{name:8} {middle[0]:10.0f} {middle[1]:8.0f} {middle[2]:10.0f}   {rounds}")
    ratio = statistics.median(
        ours.rate / theirs.rate for ours, theirs in zip(results["drain"], results["paho"], strict=True)
    )
    print(f"drain / paho {ratio:.2f}")
    print(f"put at 200/s: p50 {percentile_ms(put_s, 0.5):.1f} ms, p99 {percentile_ms(put_s, 0.99):.1f} ms")
    print(f"put to PUBACK: p50 {percentile_ms(acked_s, 0.5):.1f} ms, p99 {percentile_ms(acked_s, 0.99):.1f} ms")
    print(f"a process with outbox and link alone, after draining {events}: {rss_mb:.1f} MB resident at most")


if __name__ == "__main__":
    main()
