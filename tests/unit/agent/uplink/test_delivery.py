"""Delivery: order, fairness, and what each acknowledgement does, with a link and an outbox that are lists."""

from __future__ import annotations

from collections import Counter

from agent.contract.event import GapReason, Stream
from agent.contract.topics import BoxTopics
from agent.contract.wire import body_json, parse
from agent.errors import EventStoreError
from agent.outbox import Position, Waiting
from agent.outbox.store import Row
from agent.uplink.delivery import MAX_WINDOW, Delivery
from agent.uplink.rate import Rate
from tests.support.events import crossing

NOT_AUTHORISED, INVALID, NO_SUBSCRIBERS = 0x87, 0x99, 0x10


class ListOutbox:
    def __init__(self) -> None:
        self.rows: dict[Stream, list[Waiting]] = {stream: [] for stream in Stream}
        self.aside: list[tuple[Position, GapReason]] = []
        self.broken = False
        self.full = False

    def fill(self, stream: Stream, number: int, line: str = "gate") -> None:
        for _ in range(number):
            seq = len(self.rows[stream]) + 1
            body = body_json(crossing(seq).body).replace("gate", line)
            row = Row(stream, 1, seq, 77, "north", body, 1_700_000_000_000, 5, 1, True)
            self.rows[stream].append(Waiting(row, row.wall_ms, False, None, None))

    def peek(self, stream: Stream, after: Position = (0, 0), limit: int = 200) -> list[Waiting]:
        if self.broken:
            raise EventStoreError("disk on fire")
        return [waiting for waiting in self.rows[stream] if waiting.position > after][:limit]

    def remove(self, stream: Stream, positions: list[Position]) -> None:
        self.rows[stream] = [waiting for waiting in self.rows[stream] if waiting.position not in positions]

    def set_aside(self, waiting: Waiting, reason: GapReason) -> None:
        if self.full:
            raise EventStoreError("disk full")
        self.remove(waiting.row.stream, [waiting.position])
        self.aside.append((waiting.position, reason))


class ListLink:
    """Keeps what was published; `answer` acknowledges as the caller says."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.sent_bytes = 0
        self.sent: list[tuple[int, str, int]] = []  # message id, stream, seq
        self.packets: list[bytes] = []
        self.answered = 0

    def publish_often(self, topic: str, payload: bytes) -> int:
        self.in_flight += 1
        self.packets.append(topic.encode() + payload)
        self.sent_bytes += len(self.packets[-1]) + 7  # as in MQTT
        self.sent.append((len(self.sent) + 1, topic.split("/")[4], parse(payload).envelope.seq))
        return len(self.sent)

    def answer(self, code: int = 0, number: int | None = None) -> list[tuple[int, int]]:
        waiting = self.sent[self.answered :][:number]
        self.answered += len(waiting)
        self.in_flight -= len(waiting)
        return [(mid, code) for mid, _, _ in waiting]

    def seqs(self, stream: str = "count") -> list[int]:
        return [seq for _, name, seq in self.sent if name == stream]


def pair(
    outbox: ListOutbox, window: int = MAX_WINDOW, max_packet_bytes: int | None = None
) -> tuple[Delivery, ListLink]:
    delivery = Delivery(outbox, BoxTopics("site", "box"), "json", tries=4)
    delivery.restart(window, max_packet_bytes)
    return delivery, ListLink()


def pump(delivery: Delivery, link: ListLink, now_s: float = 0.0) -> None:
    """Send and acknowledge until nothing more is to be sent now."""
    while True:
        delivery.fill(link, now_s)
        if not link.in_flight:
            return
        delivery.acked(link.answer(), now_s)


def test_a_stream_leaves_in_order_and_is_removed() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 950)
    delivery, link = pair(outbox)
    pump(delivery, link)
    assert link.seqs() == [*range(1, 951)]
    assert outbox.rows[Stream.COUNT] == []
    assert delivery.counts.acked == 950


def test_never_more_in_flight_than_the_broker_receives_at_once() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 50)
    delivery, link = pair(outbox, window=7)
    delivery.fill(link, 0.0)
    assert link.in_flight == 7
    delivery.acked(link.answer(number=3), 0.0)
    delivery.fill(link, 0.0)
    assert link.in_flight == 7


def test_nothing_is_removed_before_its_acknowledgement() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 5)
    delivery, link = pair(outbox)
    delivery.fill(link, 0.0)
    delivery.acked(link.answer(number=2), 0.0)
    assert [waiting.row.seq for waiting in outbox.rows[Stream.COUNT]] == [3, 4, 5]


def test_alerts_go_first_and_the_others_still_move() -> None:
    outbox = ListOutbox()
    for stream in Stream:
        outbox.fill(stream, 500)
    delivery, link = pair(outbox)
    while len(link.sent) < 400:
        delivery.fill(link, 0.0)
        delivery.acked(link.answer(), 0.0)
    shares = Counter(stream for _, stream, _ in link.sent[:400])
    assert shares == {"alert": 300, "count": 50, "reading": 50}


def test_new_rows_are_seen_when_told() -> None:
    outbox = ListOutbox()
    delivery, link = pair(outbox)
    pump(delivery, link)
    outbox.fill(Stream.ALERT, 1)
    delivery.stored()
    pump(delivery, link)
    assert link.seqs("alert") == [1]


def test_after_a_loss_everything_unacknowledged_is_sent_again_in_order() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 10)
    delivery, link = pair(outbox)
    delivery.fill(link, 0.0)
    delivery.acked(link.answer(number=4), 0.0)
    delivery.restart(MAX_WINDOW, None)
    again = ListLink()
    pump(delivery, again)
    assert again.seqs() == [5, 6, 7, 8, 9, 10]


def test_acknowledged_with_nobody_listening_counts_as_delivered() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 3)
    delivery, link = pair(outbox)
    delivery.fill(link, 0.0)
    delivery.acked(link.answer(NO_SUBSCRIBERS), 0.0)
    assert (delivery.counts.acked, delivery.counts.no_subscribers) == (3, 3)
    assert outbox.rows[Stream.COUNT] == []


def test_a_refused_message_waits_and_goes_before_its_successors() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 6)
    delivery, link = pair(outbox, window=3)
    delivery.fill(link, 0.0)
    delivery.acked(link.answer(NOT_AUTHORISED), 0.0)
    delivery.fill(link, 0.5)
    assert link.seqs() == [1, 2, 3], "held for a while"
    assert delivery.next_try_s() == 1.0
    delivery.fill(link, 1.0)
    assert link.seqs() == [1, 2, 3, 1], "one probe, not a windowful"
    pump(delivery, link, 1.0)
    assert link.seqs()[3:] == [1, 2, 3, 4, 5, 6]
    assert outbox.rows[Stream.COUNT] == []
    assert "not authorised (0x87)" in str(delivery.counts.error)


def test_a_refused_stream_does_not_hold_up_the_others() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 1)
    delivery, link = pair(outbox)
    delivery.fill(link, 0.0)
    delivery.acked(link.answer(NOT_AUTHORISED), 0.0)
    outbox.fill(Stream.ALERT, 5)
    delivery.stored()
    pump(delivery, link, 0.1)
    assert link.seqs("alert") == [1, 2, 3, 4, 5]


def test_a_message_refused_for_good_is_set_aside_and_the_rest_goes_on() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 3)
    delivery, link = pair(outbox, window=1)
    now_s, refusals = 0.0, 0
    while outbox.rows[Stream.COUNT] and now_s < 1000:
        delivery.fill(link, now_s)
        poison = bool(link.in_flight) and link.sent[-1][2] == 1
        refusals += poison
        delivery.acked(link.answer(NOT_AUTHORISED if poison else 0), now_s)
        now_s += 1.0
    assert outbox.aside == [((1, 1), "rejected")]
    assert refusals == 4
    assert link.seqs()[-2:] == [2, 3]


def test_a_hopeless_message_is_given_up_after_three_refusals() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 1)
    delivery, link = pair(outbox)
    for now_s in range(0, 100, 10):
        delivery.fill(link, float(now_s))
        delivery.acked(link.answer(INVALID), float(now_s))
    assert link.seqs() == [1, 1, 1]
    assert outbox.aside == [((1, 1), "rejected")]


def test_refusals_are_remembered_over_a_reconnect() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 1)
    delivery, link = pair(outbox)
    for now_s in (0.0, 10.0, 20.0):
        delivery.fill(link, now_s)
        delivery.acked(link.answer(INVALID), now_s)
        delivery.restart(MAX_WINDOW, None)
        link = ListLink()
        delivery.fill(link, now_s + 0.1)
        assert link.sent == [], "the wait is remembered too"
    assert outbox.aside == [((1, 1), "rejected")]


def test_a_message_larger_than_the_broker_takes_never_enters_the_link() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 1)
    outbox.fill(Stream.COUNT, 1, line="x" * 400)
    outbox.fill(Stream.COUNT, 1)
    delivery, link = pair(outbox, max_packet_bytes=300)
    pump(delivery, link)
    assert link.seqs() == [1, 3]
    assert outbox.aside == [((1, 2), "too-big")]


def test_an_outbox_that_fails_to_read_is_tried_again() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 2)
    outbox.broken = True
    delivery, link = pair(outbox)
    delivery.fill(link, 0.0)
    assert link.sent == []
    assert delivery.counts.error == "disk on fire"
    outbox.broken = False
    pump(delivery, link, 1.0)
    assert link.seqs() == [1, 2]


def test_an_outbox_that_fails_to_set_aside_keeps_the_message() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 1, line="x" * 400)
    outbox.fill(Stream.COUNT, 1)
    outbox.full = True
    delivery, link = pair(outbox, max_packet_bytes=300)
    delivery.fill(link, 0.0)
    assert link.sent == []
    assert len(outbox.rows[Stream.COUNT]) == 2
    outbox.full = False
    pump(delivery, link, 1.0)
    assert outbox.aside == [((1, 1), "too-big")]
    assert link.seqs() == [2]


def test_acknowledgements_of_other_messages_are_passed_over() -> None:
    delivery, _ = pair(ListOutbox())
    delivery.acked([(4711, 0), (4712, 0x87)], 0.0)
    assert delivery.counts.acked == 0
    assert delivery.counts.refused == 0


def test_the_age_of_the_oldest_in_flight_is_known() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 2)
    delivery, link = pair(outbox, window=1)
    assert delivery.oldest_sent_s() is None
    delivery.fill(link, 5.0)
    delivery.acked(link.answer(), 6.0)
    delivery.fill(link, 7.0)
    assert delivery.oldest_sent_s() == 7.0


def test_a_message_that_makes_the_broker_hang_up_is_found_and_set_aside_and_the_rest_goes_on() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 6)
    outbox.fill(Stream.ALERT, 6)
    delivery, link = pair(outbox)
    now_s = 0.0
    while any(outbox.rows.values()) and now_s < 1000:
        delivery.fill(link, now_s)
        taken = link.answer()
        poison = [mid for mid, stream, seq in link.sent if (stream, seq) == ("count", 3)]
        if poison:  # it takes what came before the poison, then closes
            delivery.acked([ack for ack in taken if ack[0] < poison[0]], now_s)
            delivery.hung_up(now_s)
            delivery.restart(MAX_WINDOW, None)
            link = ListLink()
        else:
            delivery.acked(taken, now_s)
        now_s += 0.5
    assert outbox.aside == [((1, 3), "rejected")]
    assert delivery.counts.acked == 11


def test_a_bystander_of_a_message_that_makes_the_broker_hang_up_is_not_blamed() -> None:
    """The broker reads what is there, finds the poison, and closes without a word about any of it."""
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 1)
    outbox.fill(Stream.ALERT, 1)
    outbox.fill(Stream.READING, 40)
    delivery, link = pair(outbox)
    now_s = 0.0
    while any(outbox.rows.values()) and now_s < 1000:
        delivery.fill(link, now_s)
        taken = link.answer()
        if ("count", 1) in [(stream, seq) for _, stream, seq in link.sent]:
            delivery.hung_up(now_s)
            now_s += 5.0  # as long as it takes to connect again: every wait is over by then
            delivery.restart(MAX_WINDOW, None)
            link = ListLink()
        else:
            delivery.acked(taken, now_s)
        now_s += 0.5
    assert outbox.aside == [((1, 1), "rejected")]
    assert delivery.counts.acked == 41


def test_a_suspect_that_was_evicted_meanwhile_is_forgotten() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 200)
    outbox.fill(Stream.READING, 1)
    delivery, link = pair(outbox, window=2)
    delivery.fill(link, 0.0)
    delivery.acked(link.answer(NOT_AUTHORISED), 0.0)
    while not link.seqs("reading"):
        delivery.fill(link, 0.5)
        delivery.acked(link.answer(NOT_AUTHORISED), 0.5)
    outbox.rows[Stream.COUNT] = outbox.rows[Stream.COUNT][50:]
    delivery.restart(2, None)
    again = ListLink()
    delivery.fill(again, 10.0)
    assert (again.seqs("count"), again.seqs("reading")) == ([51], [1]), "only readings are still suspect"


def test_a_link_that_breaks_now_and_then_sets_nothing_aside() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 3000)
    delivery, link = pair(outbox)
    for now_s in range(0, 2000, 10):
        delivery.fill(link, float(now_s))
        delivery.acked(link.answer(number=20), float(now_s))
        delivery.hung_up(float(now_s))
        delivery.restart(MAX_WINDOW, None)
        link = ListLink()
    assert outbox.aside == []
    assert outbox.rows[Stream.COUNT] == []


def test_on_a_metered_link_a_backlog_leaves_no_faster_than_allowed() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 1000)
    delivery = Delivery(outbox, BoxTopics("site", "box"), "json", rate=Rate(1000, 2000))
    delivery.restart(MAX_WINDOW, None)
    link = ListLink()
    now_s = 50.0
    while now_s < 60.0:
        pump(delivery, link, now_s)
        next_s = delivery.next_try_s()
        assert next_s is not None
        assert next_s > now_s, "no turning in circles while it waits"
        now_s = next_s
    sent_bytes = sum(len(packet) for packet in link.packets)
    assert 0.85 * 12_000 < sent_bytes <= 12_000, "a burst, and ten seconds; headers are paid for as well"
    assert link.seqs() == [*range(1, len(link.sent) + 1)]


def test_alerts_go_first_on_a_metered_link() -> None:
    outbox = ListOutbox()
    outbox.fill(Stream.COUNT, 1000)
    delivery = Delivery(outbox, BoxTopics("site", "box"), "json", rate=Rate(100, 1500))
    delivery.restart(MAX_WINDOW, None)
    link = ListLink()
    pump(delivery, link, 10.0)
    outbox.fill(Stream.ALERT, 1)
    delivery.stored()
    before = len(link.sent)
    pump(delivery, link, delivery.next_try_s() or 0.0)
    assert [stream for _, stream, _ in link.sent[before:]] == ["alert"]


def test_without_a_limit_nothing_waits() -> None:
    rate = Rate()
    rate.spend(10**9)
    assert rate.allows(1.0)
    assert rate.allows_again_s() is None


def test_a_quiet_time_earns_one_burst_and_not_more() -> None:
    rate = Rate(100, 500)
    assert rate.allows(0.0)
    rate.spend(700)
    assert not rate.allows(1.0)
    assert rate.allows_again_s() == 2.01
    assert rate.allows(1000.0)
    rate.spend(500)
    assert not rate.allows(1000.0)
