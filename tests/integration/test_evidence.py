"""Pictures of alerts from the disk to the IOC: a real mosquitto, a real full disk, a process that is killed."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tenacity import wait_fixed

from agent.commands import Desk
from agent.commands.handlers.evidence import evidence
from agent.contract.event import Stream
from agent.evidence import EvidenceStore
from agent.outbox import Outbox
from agent.uplink import Broker, Uplink, UplinkSettings
from agent.uplink.subscriber import Subscriber
from tests.support.command import MIDDLE, Agent, broker_lines, write_config
from tests.support.commands import ask as signed
from tests.support.commands import make_desk
from tests.support.consumer import Consumer, eventually
from tests.support.events import crossing
from tests.support.mosquitto import Mosquitto
from tests.support.pictures import jpeg
from tests.support.small_disk import small_disk
from tests.support.testimony import alert
from tests.support.traffic import traffic_frame, write_traffic

REPOSITORY = Path(__file__).parents[2]
KILLS = 6
Starter = Callable[..., Uplink]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


@pytest.fixture
def uplink(outbox: Outbox, tmp_path: Path) -> Iterator[Starter]:
    started: list[tuple[Uplink, Desk]] = []

    def start(broker: Mosquitto, pictures: EvidenceStore, **settings: Any) -> Uplink:
        desk = make_desk(tmp_path, {"evidence": evidence(pictures)})
        link = Uplink(
            UplinkSettings("site", "box", (at(broker),), **settings),
            outbox,
            pictures=pictures,
            desk=desk,
            wait=wait_fixed(0.05),
        )
        desk.start()
        link.start()
        started.append((link, desk))
        return link

    yield start
    for link, desk in started:
        desk.stop()
        assert link.stop(15.0)
        desk.close()


def at(broker: Mosquitto) -> Broker:
    return Broker("127.0.0.1", broker.port)


def store_in(folder: Path, *, max_bytes: int = 10**8, send: bool = False) -> EvidenceStore:
    return EvidenceStore(folder / "evidence", max_bytes=max_bytes, max_days=14.0, send=send)


def say(store: EvidenceStore, outbox: Outbox, *tracks: int) -> None:
    """As a camera's thread does: the picture first."""
    for track in tracks:
        outbox.put(alert(track, store.put(jpeg(track))))


def ask(broker: Mosquitto, payload: bytes) -> None:
    with Subscriber(at(broker), ["nothing"]) as operator:
        operator.publish("gw/v1/site/box/command", payload)
        operator.next(0.2)


def replies(ioc: Consumer) -> list[dict[str, Any]]:
    return [fields for topic, fields in list(ioc.other) if topic.endswith("/reply")]


def arrived(ioc: Consumer) -> dict[str, str]:
    """Picture id → sha256 of what came."""
    return {evidence_id: hashlib.sha256(picture).hexdigest() for evidence_id, picture in list(ioc.pictures)}


def named(ioc: Consumer) -> dict[str, str]:
    """Picture id → sha256 that the alert promised."""
    alerts = [message for message in list(ioc.messages) if message["kind"] == "wrong-way" and "evidence" in message]
    return {message["evidence"]["id"]: message["evidence"]["sha256"] for message in alerts}


def test_a_picture_stays_on_the_box_until_it_is_asked_for_and_is_the_one_the_alert_named(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, tmp_path: Path
) -> None:
    store = store_in(tmp_path)
    with Consumer(at(broker)) as ioc:
        link = uplink(broker, store)
        say(store, outbox, 1, 2)
        assert link.drain(10)
        assert eventually(lambda: len(named(ioc)) == 2)
        assert ioc.pictures == []
        wanted = list(named(ioc))[1]
        ask(broker, signed("oanh", "evidence", id="q1", evidence=wanted))
        assert eventually(lambda: len(ioc.pictures) == 1)
        assert arrived(ioc) == {wanted: named(ioc)[wanted]}
        assert eventually(lambda: len(replies(ioc)) == 1)
        assert (replies(ioc)[0]["id"], replies(ioc)[0]["result"]) == ("q1", "done")
        assert replies(ioc)[0]["data"] == {"evidence": wanted, "bytes": 20_000}
        assert eventually(lambda: store.waiting() == [])
        assert ioc.missing() == {}


def test_a_picture_is_announced_as_a_jpeg(broker: Mosquitto, outbox: Outbox, uplink: Starter, tmp_path: Path) -> None:
    import paho.mqtt.client as mqtt

    types: list[Any] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda _client, _data, message: types.append(getattr(message.properties, "ContentType", None))
    client.connect("127.0.0.1", broker.port)
    client.subscribe("gw/v1/+/+/evidence/+", qos=1)
    client.loop_start()
    try:
        store = store_in(tmp_path, send=True)
        uplink(broker, store)
        say(store, outbox, 1)
        assert eventually(lambda: types == ["image/jpeg"])
    finally:
        client.disconnect()
        client.loop_stop()


def test_requests_for_pictures_that_are_not_here_are_refused_and_open_no_other_file(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, tmp_path: Path
) -> None:
    with Consumer(at(broker)) as ioc:
        link = uplink(broker, store_in(tmp_path))
        assert eventually(lambda: link.status().broker is not None)
        for wanted in ("7-0123456789ab", "../outbox.db", 7, None, ["a"]):
            ask(broker, signed("oanh", "evidence", evidence=wanted))
        assert eventually(lambda: len(replies(ioc)) == 5)
        assert {reply["result"] for reply in replies(ioc)} == {"refused"}
        assert "kept for 14 days" in str(replies(ioc)[0]["why"])
        assert ioc.pictures == []


def test_pictures_made_while_the_broker_is_away_come_after_every_event(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, tmp_path: Path
) -> None:
    store = store_in(tmp_path, send=True)
    with Consumer(at(broker)) as ioc:
        broker.save()
        broker.stop()
        link = uplink(broker, store)
        say(store, outbox, *range(1, 21))
        outbox.put(*[crossing(track, Stream.COUNT) for track in range(1, 2001)])
        events_before: list[int] = []
        take = ioc._enter

        def noting(topic: str, payload: bytes) -> None:
            if "/evidence/" in topic:
                events_before.append(len(ioc.messages))
            take(topic, payload)

        ioc._enter = noting  # type: ignore[method-assign]
        broker.start()
        assert link.drain(30)
        assert eventually(lambda: len(ioc.pictures) >= 20 and len(ioc.messages) == 2020)
        assert arrived(ioc) == named(ioc)
        assert min(events_before) == 2020
        assert ioc.missing() == {}


def test_a_broker_killed_again_and_again_costs_no_picture(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, tmp_path: Path
) -> None:
    store = store_in(tmp_path, send=True)
    with Consumer(at(broker)) as ioc:
        broker.save()
        link = uplink(broker, store)
        for kill in range(3):
            say(store, outbox, *range(kill * 40 + 1, kill * 40 + 41))
            assert eventually(lambda kill=kill: len(ioc.pictures) > kill * 40)
            broker.kill()
            broker.start()
        # One that was on its way at a kill is held back for some seconds, as is one that the broker dislikes.
        assert link.drain(60)
        assert eventually(lambda: len(arrived(ioc)) == 120 and len(named(ioc)) == 120)
        assert arrived(ioc) == named(ioc)
        assert link.status().pictures_given_up == 0


def test_a_killed_agent_has_a_picture_for_every_alert_that_names_one(broker: Mosquitto, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    told: list[str] = []
    for life in range(KILLS):
        log = tmp_path / f"told-{life}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.testimony", str(tmp_path)], stdout=out, cwd=REPOSITORY
            )
        wanted = chance.randrange(1, 12)
        try:
            assert eventually(lambda log=log, wanted=wanted: log.read_bytes().count(b"\n") >= wanted)
        finally:
            process.kill()
            process.wait(10)
        text = log.read_text()
        told += text[: text.rfind("\n") + 1].split()
    store = EvidenceStore(tmp_path / "evidence", max_bytes=2_000_000, max_days=1.0, send=True)
    outbox = Outbox(tmp_path / "outbox.db")
    link = Uplink(UplinkSettings("site", "box", (at(broker),)), outbox, pictures=store, wait=wait_fixed(0.05))
    with Consumer(at(broker)) as ioc:
        link.start()
        try:
            assert link.drain(30)
            assert eventually(lambda: set(told) <= set(named(ioc)))
            # A picture stored by a life that ended before its alert was, comes too, and nobody asks for it.
            assert eventually(lambda: named(ioc).items() <= arrived(ioc).items())
            assert len(arrived(ioc)) - len(named(ioc)) <= KILLS
        finally:
            assert link.stop(15.0)
            outbox.close()


def test_the_oldest_pictures_give_way_at_the_bound_and_are_refused_by_name(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, tmp_path: Path
) -> None:
    store = store_in(tmp_path, max_bytes=1024 * 1024)
    with Consumer(at(broker)) as ioc:
        link = uplink(broker, store)
        say(store, outbox, *range(1, 101))
        assert link.drain(10)
        assert eventually(lambda: len(named(ioc)) == 100)
        assert sum(path.stat().st_size for path in store.folder.iterdir()) <= 1024 * 1024
        ids = list(named(ioc))
        ask(broker, signed("oanh", "evidence", id="old", evidence=ids[0]))
        ask(broker, signed("oanh", "evidence", id="new", evidence=ids[-1]))
        assert eventually(lambda: len(replies(ioc)) == 2 and len(ioc.pictures) == 1)
        assert {reply["id"]: reply["result"] for reply in replies(ioc)} == {"old": "refused", "new": "done"}
        assert arrived(ioc) == {ids[-1]: named(ioc)[ids[-1]]}


def test_a_picture_larger_than_the_broker_takes_costs_neither_events_nor_connection(
    outbox: Outbox, uplink: Starter, tmp_path: Path
) -> None:
    with (
        Mosquitto(tmp_path / "small", extra=["max_packet_size 10000"]) as broker,
        Consumer(at(broker)) as ioc,
    ):
        store = store_in(tmp_path, send=True)
        link = uplink(broker, store)
        say(store, outbox, 1)
        assert link.drain(10)
        say(store, outbox, 2)
        assert link.drain(10)
        assert eventually(lambda: len(named(ioc)) == 2)
        assert (link.status().connects, link.status().pictures_given_up, ioc.pictures) == (1, 2, [])
        assert store.holding().pictures == 2


def test_a_broker_that_refuses_pictures_takes_events_all_the_same(
    outbox: Outbox, uplink: Starter, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite gw/v1/#\ntopic deny gw/v1/site/box/evidence/#\n")
    with (
        Mosquitto(tmp_path / "strict", extra=[f"acl_file {acl}"]) as broker,
        Consumer(at(broker)) as ioc,
    ):
        store = store_in(tmp_path, send=True)
        link = uplink(broker, store)
        say(store, outbox, 1, 2, 3)
        assert eventually(lambda: len(named(ioc)) == 3 and outbox.depth().rows == 0)
        outbox.put(crossing(9))
        assert eventually(lambda: ioc.tracks("count") == [9])
        assert len(store.waiting()) == 3
        assert link.status().connects <= 2, "mosquitto 2.0.11 says no, and ends the connection"


# ---- from the camera -------------------------------------------------------------------------------------------------


RULE = """
[[camera.rule]]
id = "one-way"
kind = "wrong-way"
line = "mid"
allowed = "in"
"""


def test_a_car_that_goes_the_wrong_way_is_seen_at_the_ioc_and_the_bystander_is_not(
    broker: Mosquitto, tmp_path: Path
) -> None:
    clip = write_traffic(tmp_path / "traffic.mp4", 2)
    config = write_config(
        tmp_path,
        clip,
        broker=broker_lines(broker.port),
        camera='readers = ["colour"]',
        rules=MIDDLE + RULE,
        more=f'[evidence]\npath = "{tmp_path / "evidence"}"\nsend = "always"\n',
    )
    with Consumer(at(broker)) as ioc:
        with Agent(config) as agent:
            assert agent.process is not None
            assert agent.process.wait(60) == 0, agent.log()
        assert eventually(lambda: len(ioc.pictures) == len(ioc.kinds("wrong-way")) == 1)
        (alert,) = ioc.kinds("wrong-way")
        assert arrived(ioc) == {alert["evidence"]["id"]: alert["evidence"]["sha256"]}
        assert (alert["direction"], alert["class"], alert["attributes"]) == ("out", "car", {"colour": "red"})
        ((_, picture),) = ioc.pictures
        assert len(picture) == alert["evidence"]["bytes"] <= 60_000
        shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape == (360, 640, 3)
        red = (shown[..., 2] > 150) & (shown[..., 0] < 90) & (shown[..., 1] < 90)
        assert red[180:290].sum() > 3000, "the car, as it is"
        assert skin(shown) == 0 < skin(traffic_frame(20))


def skin(picture: npt.NDArray[np.uint8]) -> int:
    """Pixels of the bystander's face."""
    face = picture[55:80, 545:575].astype(int)
    return int((face[..., 2] - face[..., 0] > 40).sum())


# ---- disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with small_disk(request.param, tmp_path, 4) as mounted:
        yield mounted


def test_on_a_full_disk_alerts_go_without_and_what_was_stored_is_whole(
    disk: Path, outbox: Outbox, broker: Mosquitto, uplink: Starter
) -> None:
    store = store_in(disk, send=True)
    say(store, outbox, *range(1, 401))
    holding = store.holding()
    assert 50 < holding.pictures < 300
    assert holding.pictures + holding.not_stored == 400
    assert os.strerror(errno.ENOSPC) in str(holding.error)
    assert not list(store.folder.glob("*.part"))
    with Consumer(at(broker)) as ioc:
        link = uplink(broker, store)
        assert link.drain(30)
        assert eventually(lambda: len(ioc.kinds("wrong-way")) == 400 and len(ioc.pictures) >= holding.pictures)
        assert arrived(ioc) == named(ioc)
        assert len(named(ioc)) == holding.pictures
    next(store.folder.glob("*.jpg")).unlink()
    again = store_in(disk, send=True)
    assert again.put(jpeg(1)) is not None


def test_a_disk_gone_read_only_still_gives_what_it_has(
    disk: Path, outbox: Outbox, broker: Mosquitto, uplink: Starter
) -> None:
    store = store_in(disk)
    say(store, outbox, 1, 2)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        again = store_in(disk, max_bytes=40_000)
        assert again.put(jpeg(3)) is None
        with Consumer(at(broker)) as ioc:
            link = uplink(broker, again)
            assert link.drain(10)
            assert eventually(lambda: len(named(ioc)) == 2)
            wanted = next(iter(named(ioc)))
            ask(broker, signed("oanh", "evidence", id="q", evidence=wanted))
            assert eventually(lambda: arrived(ioc) == {wanted: named(ioc)[wanted]})
            assert eventually(lambda: again.waiting() == [])
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
