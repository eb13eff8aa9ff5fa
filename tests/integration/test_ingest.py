"""`gateway-agent ingest` as it runs at a centre: several of them, a real mosquitto, a real PostgreSQL, real boxes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from tenacity import wait_fixed

from agent.clock import SystemClock
from agent.contract.event import Stream
from agent.contract.wire import pack
from agent.outbox import Outbox
from agent.uplink import Broker, Uplink, UplinkSettings
from agent.uplink.link import Link
from tests.support.command import eventually
from tests.support.events import crossing
from tests.support.ingest import Ingester, report
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.postgres import BINARIES, Postgres

CITY = "city"


class Boxes:
    """The real outboxes and links of some boxes. One thread stores for all of them, in all streams, until drain()."""

    def __init__(self, folder: Path, port: int, count: int = 8) -> None:
        self._outboxes: list[Outbox] = []
        self._uplinks: list[Uplink] = []
        self._ended = threading.Event()
        for number in range(count):
            outbox = Outbox(folder / f"box{number}.db")
            settings = UplinkSettings("site", f"box{number}", (Broker("127.0.0.1", port),), ack_timeout_s=3.0)
            uplink = Uplink(settings, outbox, wait=wait_fixed(0.1))
            uplink.start()
            self._outboxes.append(outbox)
            self._uplinks.append(uplink)
        self._thread = threading.Thread(target=self._speak)
        self._thread.start()

    def _speak(self) -> None:
        clock, track = SystemClock(), 0
        while not self._ended.wait(0.005):
            track += 1
            for stream in Stream:
                self._outboxes[track % len(self._outboxes)].put(crossing(track, stream, stamp=clock.stamp()))

    def numbered(self) -> int:
        return sum(sum(outbox.depth().last.values()) for outbox in self._outboxes)

    def say(self, more: int) -> None:
        """Wait until they have numbered so many more."""
        wanted = self.numbered() + more
        assert eventually(lambda: self.numbered() >= wanted)

    def drain(self) -> int:
        """Say no more. What they numbered in all, once the broker has acknowledged it."""
        self._ended.set()
        self._thread.join()
        assert all(uplink.drain(30.0) for uplink in self._uplinks)
        return self.numbered()

    def __enter__(self) -> Boxes:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for uplink, outbox in zip(self._uplinks, self._outboxes, strict=True):
            uplink.stop()
            outbox.close()


class Centre:
    """A broker, a database of its own, and ingesters by name; all of them may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Postgres()
        self.broker = Mosquitto(folder / "broker")
        self.database = ""
        self._ingesters: list[Ingester] = []

    def ingester(self, name: str, *options: str) -> Ingester:
        """Started, and in the group: the broker has its subscriptions."""
        source = f"mqtt://127.0.0.1:{self.broker.port}"
        ingester = Ingester(self.folder, name, source, self.database, *options)
        self._ingesters.append(ingester)
        self.begin(ingester)
        return ingester

    def begin(self, ingester: Ingester) -> None:
        before = self._subscribed(ingester)
        ingester.start()
        assert eventually(lambda: self._subscribed(ingester) > before), ingester.log()

    def _subscribed(self, ingester: Ingester) -> int:
        # mosquitto logs who subscribes to what: <time>: <client id> <QoS> <filter>
        return self.broker.log().count(f"ioc-{ingester.name} 1 $share/ioc/")

    def stored(self) -> int:
        ((count,),) = self.server.query(CITY, "select count(*) from gateway.message")
        return int(count)

    def all_is_stored(self, numbered: int) -> bool:
        return eventually(lambda: self.stored() >= numbered, 60.0)

    def said(self) -> str:
        return "".join(f"{ingester.name}: {ingester.log()}" for ingester in self._ingesters)

    def __enter__(self) -> Centre:
        with ExitStack() as stack:
            self.server.start()
            stack.callback(self.server.__exit__, None, None, None)
            self.broker.start()
            stack.callback(self.broker.stop)
            self.database = self.server.make(CITY)
            stack.callback(self._stop_ingesters)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop_ingesters(self) -> None:
        for ingester in self._ingesters:
            ingester.stop()


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    if PROGRAM is None:
        pytest.skip("no mosquitto; apt-get install mosquitto")
    if BINARIES is None:
        pytest.skip("no PostgreSQL; apt-get install postgresql")
    with Centre(tmp_path) as running:
        yield running


def complete(centre: Centre) -> bool:
    """Every series is there from 1 to its highest number, each number once."""
    series = "select count(*), count(distinct seq), min(seq), max(seq) from gateway.message"
    rows = centre.server.query(CITY, f"{series} group by site, box, stream, epoch")
    return bool(rows) and all(row == [row[3], row[3], 1, row[3]] for row in rows)


def test_nothing_is_lost_or_stored_twice_whoever_dies(centre: Centre, tmp_path: Path) -> None:
    group = [centre.ingester(name) for name in ("a", "b", "c")]
    with Boxes(tmp_path, centre.broker.port) as boxes:
        boxes.say(300)
        group[0].kill()
        boxes.say(100)
        centre.begin(group[0])
        boxes.say(100)
        centre.server.kill()
        boxes.say(200)
        centre.server.start()
        boxes.say(100)
        centre.broker.stop()
        boxes.say(100)
        centre.broker.start()
        boxes.say(100)
        numbered = boxes.drain()
    assert centre.all_is_stored(numbered), f"{centre.stored()} of {numbered} stored\n{centre.said()}"
    assert centre.stored() == numbered
    assert complete(centre)
    code, said = report(centre.database)
    assert (code, len(said)) == (0, 8)
    assert all(box["missing"] == box["excused"] == [] for box in said)
    for ingester in group:
        assert ingester.stop() == 0
        assert " 0 new" not in ingester.log(), f"{ingester.name} had no share in the work"


def test_what_boxes_send_before_the_ingesters_are_back_at_a_broker_started_anew_is_stored(
    centre: Centre, tmp_path: Path
) -> None:
    """mosquitto forgets shared subscriptions when it stops, and acknowledges what nobody has subscribed to."""
    group = [centre.ingester(name) for name in ("a", "b")]
    with Boxes(tmp_path, centre.broker.port) as boxes:
        boxes.say(100)
        for ingester in group:
            ingester.kill()
        centre.broker.stop()
        centre.broker.start()
        boxes.say(200)
        numbered = boxes.drain()
    for ingester in group:
        centre.begin(ingester)
    assert centre.all_is_stored(numbered), f"{centre.stored()} of {numbered} stored\n{centre.said()}"
    assert complete(centre)


def test_an_ingester_that_leaves_for_good_stores_what_waits_for_it_and_gets_no_more(
    centre: Centre, tmp_path: Path
) -> None:
    stays, goes = centre.ingester("stays"), centre.ingester("goes")
    with Boxes(tmp_path, centre.broker.port) as boxes:
        boxes.say(100)
        goes.kill()
        boxes.say(100)
        numbered = boxes.drain()
    assert not eventually(lambda: centre.stored() >= numbered, 2.0), "what waits for one name is not given to another"
    left = Ingester(tmp_path, "goes", f"mqtt://127.0.0.1:{centre.broker.port}", centre.database, "--leave").start()
    assert left.wait() == 0, left.log()
    assert centre.all_is_stored(numbered), centre.said()
    with Boxes(tmp_path, centre.broker.port) as boxes:
        boxes.say(100)
        numbered = boxes.drain()
    assert centre.all_is_stored(numbered), centre.said()
    assert complete(centre)
    assert stays.stop() == 0


def test_what_was_never_sent_is_reported_by_its_range_and_what_a_box_dropped_as_excused(
    centre: Centre, tmp_path: Path
) -> None:
    centre.ingester("a")
    _publish(centre.broker.port, "gw/v1/site/torn/count/north", [1, 2, 6, 7, 9])
    kept = _fill(tmp_path / "full.db", 3000)
    uplink = Uplink(UplinkSettings("site", "full", (Broker("127.0.0.1", centre.broker.port),)), kept)
    uplink.start()
    try:
        assert uplink.drain(30.0)
    finally:
        uplink.stop()
        kept.close()
    assert eventually(lambda: len(report(centre.database)[1]) == 2)
    assert eventually(lambda: _boxes(centre)["torn"]["messages"] == 5)
    torn = _boxes(centre)["torn"]
    assert torn["missing"] == [["count", 7, 3, 5], ["count", 7, 8, 8]]
    assert report(centre.database)[0] == 1, "something is missing"
    assert eventually(lambda: bool(_boxes(centre)["full"]["excused"]) and not _boxes(centre)["full"]["missing"])
    full = _boxes(centre)["full"]
    dropped = sum(last - first + 1 for _, _, first, last, _ in full["excused"])
    assert {(stream, reason) for stream, _, _, _, reason in full["excused"]} == {("reading", "disk-full")}
    assert min(first for _, _, first, _, _ in full["excused"]) == 1
    notices = centre.server.query(CITY, "select count(*) from gateway.message where box = 'full' and kind = 'gap'")
    assert full["messages"] == 3000 - dropped + notices[0][0]


def _boxes(centre: Centre) -> dict[str, dict[str, object]]:
    return {box["box"]: box for box in report(centre.database)[1]}


def _publish(port: int, topic: str, numbers: Sequence[int]) -> None:
    with Link(Broker("127.0.0.1", port), client_id="torn") as link:
        for seq in numbers:
            body = {"epoch": 7, "seq": seq, "time": 1_800_000_000_000, "up": seq, "kind": "novel"}
            link.publish(topic, pack(body, "json"))
        _drive(link, lambda: len(link.acks) == len(numbers))


def _drive(link: Link, done: Callable[[], bool]) -> None:
    def driven() -> bool:
        link.drive(0.05)
        return done()

    assert eventually(driven)


def _fill(path: Path, events: int) -> Outbox:
    """An outbox that had room for fewer than came while its link was down."""
    outbox, clock = Outbox(path, max_bytes=256 * 1024, alert_reserve_bytes=64 * 1024), SystemClock()
    for track in range(1, events + 1):
        outbox.put(crossing(track, Stream.READING, stamp=clock.stamp()))
    return outbox
