"""Pictures on their way: one at a time, until they have arrived or are given up, and never at the events' cost."""

from __future__ import annotations

import pytest

from agent.contract.topics import BoxTopics
from agent.uplink.attachments import Attachments, Kind
from agent.uplink.rate import Rate
from tests.support.pictures import jpeg

REFUSED = 0x87


class ListPictures:
    def __init__(self, *ids: str) -> None:
        self.kept = {one: jpeg(n) for n, one in enumerate(ids)}
        self.marked = list(ids)

    def on_waiting(self, wake: object) -> None:
        pass

    def waiting(self) -> list[str]:
        return list(self.marked)

    def read(self, evidence_id: str) -> bytes | None:
        if evidence_id not in self.kept and evidence_id in self.marked:
            self.marked.remove(evidence_id)
        return self.kept.get(evidence_id)

    def settle(self, evidence_id: str) -> None:
        if evidence_id in self.marked:
            self.marked.remove(evidence_id)


class ListLink:
    in_flight = 0

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, str | None]] = []

    def publish(self, topic: str, payload: bytes, *, content_type: str | None = None) -> int:
        self.sent.append((topic, payload, content_type))
        return len(self.sent)

    def ids(self) -> list[str]:
        return [topic.rpartition("/")[2] for topic, _, _ in self.sent]


def attachments(pictures: ListPictures, **options: object) -> Attachments:
    kind = Kind(pictures, BoxTopics("site", "box").evidence, "image/jpeg")
    made = Attachments([kind], tries=3, **options)  # type: ignore[arg-type]
    made.restart(None, 0.0)
    return made


def test_pictures_leave_one_at_a_time_as_they_are() -> None:
    pictures, link = ListPictures("1-a", "2-b"), ListLink()
    sender = attachments(pictures)
    sender.fill(link, 0.0)
    sender.fill(link, 0.0)
    assert link.sent == [("gw/v1/site/box/evidence/1-a", jpeg(0), "image/jpeg")]
    assert pictures.marked == ["1-a", "2-b"], "the mark goes with the acknowledgement"
    sender.acked(1, 0, 0.0)
    assert pictures.marked == ["2-b"]
    sender.fill(link, 0.0)
    sender.acked(2, 0x10, 0.0)
    assert (link.ids(), pictures.marked, sender.sent) == (["1-a", "2-b"], [], 2)


def test_acknowledgements_of_other_messages_mean_nothing() -> None:
    pictures, link = ListPictures("1-a"), ListLink()
    sender = attachments(pictures)
    sender.acked(1, 0, 0.0)
    sender.fill(link, 0.0)
    sender.acked(77, 0, 0.0)
    assert (pictures.marked, sender.in_flight) == (["1-a"], 1)


def test_a_refused_picture_is_tried_again_after_growing_waits_then_given_up_and_stays_on_the_box() -> None:
    pictures, link = ListPictures("1-a"), ListLink()
    sender = attachments(pictures, first_hold_s=10.0)
    sent_at: list[int] = []
    for now_s in range(100):
        sender.fill(link, now_s)
        if sender.in_flight:
            sent_at.append(now_s)
            sender.acked(len(link.sent), REFUSED, now_s)
    assert sent_at == [0, 10, 30]
    assert (pictures.marked, sender.given_up) == ([], 1)
    assert "picture 1-a is not sent: the broker refuses it (0x87)" in str(sender.error)
    assert "1-a" in pictures.kept
    pictures.marked.append("1-a")
    sender.fill(link, 1000)
    assert len(link.sent) == 4, "and may be asked for again"


def test_one_the_broker_refuses_does_not_keep_the_others() -> None:
    pictures, link = ListPictures("1-a", "2-b", "3-c"), ListLink()
    sender = attachments(pictures)
    for now_s in range(0, 1000, 10):
        sender.fill(link, now_s)
        if sender.in_flight:
            sender.acked(len(link.sent), REFUSED if link.ids()[-1] == "1-a" else 0, now_s)
    assert link.ids() == ["1-a", "2-b", "3-c", "1-a", "1-a"]


def test_a_broker_that_will_have_none_is_asked_less_and_less_often_however_many_wait() -> None:
    pictures, link = ListPictures(*(f"{n}-a" for n in range(100))), ListLink()
    sender = attachments(pictures)
    for now_s in range(3600):
        sender.fill(link, now_s)
        sender.restart(None, now_s)
    assert len(link.sent) <= 14
    assert len(pictures.marked) == 100


def test_a_lost_connection_sends_it_again_but_not_for_ever() -> None:
    pictures, link = ListPictures("1-a"), ListLink()
    sender = attachments(pictures)
    for now_s in range(0, 10_000, 1000):
        sender.fill(link, now_s)
        sender.restart(None, now_s)
    assert link.ids() == ["1-a"] * 3
    assert sender.given_up == 1


def test_an_outage_alone_costs_no_tries() -> None:
    pictures, link = ListPictures("1-a"), ListLink()
    sender = attachments(pictures)
    for now_s in range(100):
        sender.restart(None, now_s)
    sender.fill(link, 100)
    assert link.ids() == ["1-a"]


def test_a_picture_larger_than_the_broker_takes_is_given_up_at_once_and_the_next_one_sent() -> None:
    pictures, link = ListPictures("1-a", "2-b"), ListLink()
    pictures.kept["1-a"] = jpeg(1, 50_000)
    sender = attachments(pictures)
    sender.restart(30_000, 0.0)
    sender.fill(link, 0.0)
    assert link.ids() == ["2-b"]
    assert "more than the broker takes at once" in str(sender.error)


def test_a_picture_that_has_gone_meanwhile_is_passed_over() -> None:
    pictures, link = ListPictures("1-a", "2-b"), ListLink()
    del pictures.kept["1-a"]
    sender = attachments(pictures)
    sender.fill(link, 0.0)
    assert link.ids() == ["2-b"]


def test_on_a_metered_link_a_picture_waits_for_what_the_events_leave_over() -> None:
    pictures, link = ListPictures("1-a", "2-b"), ListLink()
    rate = Rate(1000, 5000)  # a full bucket at the start
    sender = attachments(pictures, rate=rate)
    sent_at: list[int] = []
    for now_s in range(100):
        assert rate.allows(now_s), "an event could have left at any time"
        before = len(link.sent)
        sender.fill(link, now_s)
        if len(link.sent) > before:
            sent_at.append(now_s)
            sender.acked(len(link.sent), 0, now_s)
    assert sent_at == [21, 41]  # 20 kB at 1000 bytes a second


def test_events_that_use_the_whole_rate_leave_nothing_for_pictures() -> None:
    rate = Rate(1000, 5000)
    sender, link = attachments(ListPictures("1-a"), rate=rate), ListLink()
    for now_s in range(1000):
        if rate.allows(now_s):
            rate.spend(6000 if now_s == 0 else 1000)
        sender.fill(link, now_s)
    assert link.sent == []


def test_silence_counts_later_while_a_picture_and_what_is_behind_it_are_on_a_slow_link() -> None:
    sender, link = attachments(ListPictures("1-a")), ListLink()
    sender.fill(link, 100.0)
    assert sender.silence_counts_from_s() == pytest.approx(120, abs=1)
    sender.acked(1, 0, 118.0)
    assert sender.silence_counts_from_s() == 118.0
