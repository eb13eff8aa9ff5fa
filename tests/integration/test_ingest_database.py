"""The ingester's database: a real PostgreSQL takes batches in any order, several at once, and its ledger is right."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.consumer.database import Database, RowsRefused, read_database
from agent.consumer.report import report
from agent.consumer.rows import rows_of
from agent.consumer.source import Delivery
from agent.contract.wire import pack
from agent.errors import ConfigError, DatabaseDown
from tests.support.mosquitto import free_port
from tests.support.postgres import Postgres

NOW_MS = 1_800_000_000_000
Server = tuple[Postgres, str]


def said(topic: str, **fields: Any) -> Delivery:
    return Delivery(topic, pack(fields, "json"), NOW_MS)


def message(seq: int, box: str = "box", stream: str = "count", epoch: int = 7, /, **body: Any) -> Delivery:
    fields = {"epoch": epoch, "seq": seq, "time": NOW_MS, "up": seq, "kind": "novel", **body}
    return said(f"gw/v1/site/{box}/{stream}/north", **fields)


def opened(server: Server, **options: Any) -> Database:
    database = Database(read_database(server[0].address(server[1])), **options)
    database.setup()
    return database


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    database = opened(postgres)
    yield database
    database.close()


def put(database: Database, *deliveries: Delivery) -> int:
    return database.write(rows_of(deliveries, pictures=True))


def missing(database: Database) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in database.query("select box, stream, epoch, first, last from gateway.missing order by 1, 2, 3, 4")
    ]


# ---- the ledger ------------------------------------------------------------------------------------------------------


def test_a_message_is_stored_once_whatever_is_repeated(database: Database) -> None:
    assert put(database, message(1), message(2), message(1)) == 2
    assert put(database, message(2), message(3)) == 1
    assert [row[0] for row in database.query("select seq from gateway.message order by 1")] == [1, 2, 3]
    assert database.query("select repeats, missing::text from gateway.ledger") == [[2, "{}"]]


def test_what_is_missing_is_told_and_fills_in_any_order(database: Database) -> None:
    put(database, message(9), message(3))
    assert missing(database) == [("box", "count", 7, 1, 2), ("box", "count", 7, 4, 8)]
    put(database, message(6))
    put(database, *[message(seq) for seq in (8, 1, 2, 7, 5, 4)])
    assert missing(database) == []


def gap(seq: int, first: int, last: int, **more: Any) -> Delivery:
    return message(seq, "box", "alert", kind="gap", stream="count", first=first, last=last, reason="disk-full", **more)


def test_a_gap_notice_excuses_before_and_after_the_hole_shows(database: Database) -> None:
    put(database, gap(1, 4, 6))
    put(database, message(1), message(10))
    assert missing(database) == [("box", "count", 7, 2, 3), ("box", "count", 7, 7, 9)]
    put(database, gap(2, 7, 9), gap(2, 7, 9))
    put(database, message(5))  # welcome all the same
    assert missing(database) == [("box", "count", 7, 2, 3)]
    (box,) = report(database).boxes
    assert box.excused == [("count", 7, 4, 6, "disk-full"), ("count", 7, 7, 9, "disk-full")]
    assert str(box) == (
        "site/box: 5 messages, 1 repeats, missing count 2 to 3 of epoch 7, "
        "excused count 4 to 6 of epoch 7 (disk-full), count 7 to 9 of epoch 7 (disk-full)"
    )


def test_a_gap_of_another_epoch_excuses_there(database: Database) -> None:
    put(database, message(1), message(3), message(1, "box", "count", 9), gap(1, 2, 2, of=9), gap(2, 2, 2, of=7))
    put(database, message(3, "box", "count", 9))
    assert missing(database) == []


def test_who_joins_begins_where_a_box_is_and_expects_a_new_epoch_from_its_start(postgres: Server) -> None:
    database = opened(postgres, joining=True)
    put(database, message(5000), message(5003))
    assert missing(database) == [("box", "count", 7, 5001, 5002)]
    put(database, message(4998))  # through another ingester
    assert missing(database) == [("box", "count", 7, 4999, 4999), ("box", "count", 7, 5001, 5002)]
    put(database, message(3, "box", "count", 9))
    assert ("box", "count", 9, 1, 2) in missing(database)
    database.close()


def test_what_the_box_has_numbered_and_is_not_here_is_told_apart_from_missing(database: Database) -> None:
    put(database, message(1), message(2), said("gw/v1/site/box/state", online=True, epoch=7, last={"count": 2}))
    assert report(database).boxes[0].behind == []
    put(database, said("gw/v1/site/box/health", time=1, outbox={"last": {"count": 5, "alert": 1}}))
    (box,) = report(database).boxes
    assert box.behind == [("alert", 7, 1, 1), ("count", 7, 3, 5)]
    assert box.missing == []
    put(database, said("gw/v1/site/box/state", online=True, epoch=8, last={"count": 0}))
    assert report(database).boxes[0].behind == []


STREAMS = ("alert", "count")
Sent = tuple[str, str, int, int]
sent_messages = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(STREAMS), st.integers(1, 2), st.integers(1, 12))
sent_gaps = st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 2), st.integers(1, 12), st.integers(0, 4))
batches = st.lists(st.lists(sent_messages | sent_gaps, min_size=1, max_size=8), min_size=1, max_size=6)
_notice = itertools.count(1000)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches)
def test_any_batches_in_any_order_are_what_a_set_of_numbers_says(database: Database, batches: Any) -> None:
    """Against the plainest thinkable ledger: all numbers up to the highest, minus what came, minus what is excused."""
    database.query("truncate gateway.message, gateway.ledger, gateway.gap")
    came: dict[tuple[str, str, int], set[int]] = {}
    excused: dict[tuple[str, str, int], set[int]] = {}
    repeats = 0
    for batch in batches:
        deliveries = []
        for item in batch:
            if isinstance(item[1], str):
                box, stream, epoch, seq = item
                body = {}
            else:
                # A notice of a number nothing else has, in an epoch of its own: the excuse is what is tested.
                box, of, first, length = item
                stream, epoch, seq = "alert", 99, next(_notice)
                last = first + length
                body = {"kind": "gap", "stream": "count", "of": of, "first": first, "last": last, "reason": "corrupt"}
                excused.setdefault((box, "count", of), set()).update(range(first, last + 1))
            repeats += seq in came.setdefault((box, stream, epoch), set())
            came[box, stream, epoch].add(seq)
            deliveries.append(message(seq, box, stream, epoch, **body))
        put(database, *deliveries)
    found: dict[tuple[str, str, int], set[int]] = {}
    for box, stream, epoch, first, last in missing(database):
        found.setdefault((box, stream, epoch), set()).update(range(first, last + 1))
    wanted = {key: set(range(1, max(seqs))) - seqs - excused.get(key, set()) for key, seqs in came.items()}
    assert found == {key: seqs for key, seqs in wanted.items() if seqs}
    ((stored,),) = database.query("select count(*) from gateway.message")
    assert stored == sum(map(len, came.values()))
    assert database.query("select sum(repeats)::int from gateway.ledger") == [[repeats]]


def test_several_at_once_on_the_same_boxes_neither_deadlock_nor_lose(postgres: Server, database: Database) -> None:
    """What competing consumers do: every message twice, cut into batches at random, by four at once."""
    boxes, last = [f"box{n}" for n in range(12)], 60
    todo = [message(seq, box, stream) for box in boxes for stream in STREAMS for seq in range(1, last + 1)] * 2
    todo += [gap(seq, seq, seq) for seq in range(1000, 1060)]
    random.Random(7).shuffle(todo)
    failed: list[BaseException] = []

    def work(part: Sequence[Delivery]) -> None:
        mine = opened(postgres)
        try:
            for start in range(0, len(part), 40):
                put(mine, *part[start : start + 40])
        except BaseException as exc:
            failed.append(exc)
        finally:
            mine.close()

    threads = [threading.Thread(target=work, args=(todo[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert database.query("select count(*) from gateway.message where box like 'box_%'") == [[len(boxes) * 2 * last]]
    assert [row for row in missing(database) if row[0] != "box"] == []
    assert database.query("select sum(repeats)::int from gateway.ledger") == [[len(boxes) * 2 * last]]


def test_a_batch_costs_the_same_after_a_million_messages(database: Database) -> None:
    """The ledger is a range and not its history: its row is short, and what is missing is found by an index."""
    database.query("insert into gateway.ledger select 'site', 'box', 'count', 7, 1, '{[1,1000001)}', '{}', 0, now()")
    put(database, message(1_000_003))
    assert missing(database) == [("box", "count", 7, 1_000_001, 1_000_002)]
    ((size,),) = database.query("select pg_column_size(l) from gateway.ledger l")
    assert size < 200
    database.query("set enable_seqscan = off")
    plan = "\n".join(row[0] for row in database.query("explain select * from gateway.missing"))
    assert "ledger_missing" in plan
    assert "message" not in plan


# ---- what else is kept -----------------------------------------------------------------------------------------------


def test_times_are_the_boxs_or_where_its_clock_was_not_set_ours(database: Database) -> None:
    put(database, message(1), message(2, clock="unset", time=5, late=60))
    rows = database.query(
        "select extract(epoch from happened)::bigint, clock_unset, time_ms from gateway.message order by seq"
    )
    assert rows == [[NOW_MS // 1000, False, NOW_MS], [NOW_MS // 1000 - 60, True, 5]]


def test_what_is_set_aside_is_counted_and_kept_once(database: Database) -> None:
    put(database, Delivery("gw/v1/site/box/count/north", b"junk", NOW_MS), message(1))
    put(database, Delivery("gw/v1/site/box/count/north", b"junk", NOW_MS))
    put(database, Delivery("x\0y", b"\0\xff", NOW_MS))
    rows = database.query("select topic, payload, times from gateway.set_aside order by topic")
    assert rows == [["gw/v1/site/box/count/north", b"junk", 2], ["x\\0y", b"\0\xff", 1]]
    assert report(database).set_aside == (2, 3)


def test_a_picture_is_kept_once(database: Database) -> None:
    picture = Delivery("gw/v1/site/box/evidence/7-ab", b"\xff\xd8jpeg", NOW_MS)
    put(database, picture)
    put(database, picture)
    assert database.query("select id, jpeg from gateway.picture") == [["7-ab", b"\xff\xd8jpeg"]]


def test_an_older_state_does_not_replace_a_newer_one(database: Database) -> None:
    def state(**fields: Any) -> Delivery:
        return said("gw/v1/site/box/state", epoch=7, boot_id="b", **fields)

    put(database, state(online=True, since=2000))
    put(database, state(online=True, since=1000))
    assert database.query("select state -> 'since' from gateway.box") == [[2000]]
    put(database, state(online=False, reason="lost"))
    assert database.query("select state ->> 'reason' from gateway.box") == [["lost"]]


# ---- incidents -------------------------------------------------------------------------------------------------------


def alert(seq: int, **body: Any) -> Delivery:
    return message(seq, "box", "alert", **{"time": NOW_MS + seq * 60_000, **body})


INCIDENT = (
    "select kind, rule, status, acknowledged_by, resolved_by, cleared is not null from gateway.incident order by seq"
)


def test_an_incident_is_traced_from_alert_to_resolution_with_who_did_what(database: Database) -> None:
    jam = {"kind": "congestion", "rule": "jam", "severity": "warning", "alert": "a1"}
    steps: list[tuple[Delivery, list[Any]]] = [
        (alert(1, **jam, state="raised"), ["raised", None, None, False]),
        (alert(2, kind="handled", alert="a1", state="acknowledged", by="An"), ["acknowledged", "An", None, False]),
        (alert(3, **jam, state="cleared", lasted_s=120.0), ["cleared", "An", None, True]),
        (
            alert(4, kind="handled", alert="a1", state="resolved", by="Bình", note="ok"),
            ["resolved", "An", "Bình", True],
        ),
    ]
    for step, wanted in steps:
        put(database, step)
        assert database.query(INCIDENT) == [["congestion", "jam", *wanted]]
    times = database.query(
        "select extract(epoch from acknowledged - raised)::int, extract(epoch from resolved - raised)::int, "
        "lasted_s::int from gateway.incident"
    )
    assert times == [[60, 180, 120]]


def test_the_steps_of_an_incident_may_come_in_any_order(database: Database) -> None:
    put(database, alert(4, kind="handled", alert="a1", state="resolved", by="Bình"))
    put(database, alert(3, kind="crowd", rule="r", alert="a1", state="cleared"))
    assert database.query(INCIDENT) == []
    put(database, alert(1, kind="crowd", rule="r", alert="a1", state="raised"))
    assert database.query(INCIDENT) == [["crowd", "r", "resolved", None, "Bình", True]]


def test_an_alert_that_is_said_once_is_handled_by_its_number(database: Database) -> None:
    put(
        database,
        alert(1, kind="wrong-way", rule="one-way", severity="critical"),
        alert(2, kind="wrong-way", rule="one-way"),
    )
    put(database, alert(3, kind="handled", event={"epoch": 7, "seq": 1}, state="acknowledged", by="An"))
    put(database, message(4, "other", "alert", kind="handled", event={"epoch": 7, "seq": 2}, state="resolved", by="No"))
    assert database.query(INCIDENT) == [
        ["wrong-way", "one-way", "acknowledged", "An", None, False],
        ["wrong-way", "one-way", "raised", None, None, False],
    ]


def test_what_is_no_alert_is_no_incident(database: Database) -> None:
    put(database, gap(1, 1, 2), alert(2, kind="audit", action="command"), alert(3, kind="commissioned", problems=0))
    assert database.query(INCIDENT) == []


# ---- setup and trouble -----------------------------------------------------------------------------------------------


def test_setup_is_safe_to_do_again_and_by_several_at_once(postgres: Server) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            opened(postgres).close()
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert postgres[0].query(postgres[1], "select version from gateway.version") == [[1]]


def test_a_schema_of_a_newer_ingester_is_left_alone(postgres: Server) -> None:
    opened(postgres).close()
    postgres[0].query(postgres[1], "insert into gateway.version (version) values (1000)")
    with pytest.raises(ConfigError, match="schema 1000, this ingester knows 1; upgrade the ingester"):
        opened(postgres)


def test_a_database_that_is_not_there_is_a_setup_and_a_server_that_is_not_is_an_outage(postgres: Server) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        opened((postgres[0], "absent"))
    with pytest.raises(DatabaseDown):
        Database(read_database(f"postgresql://tests@127.0.0.1:{free_port()}/x")).setup()
    with pytest.raises(ConfigError, match="gateway"):
        report(Database(read_database(postgres[0].address(postgres[1]))))


def test_a_row_that_only_the_database_finds_wrong_is_named_and_nothing_is_stored(database: Database) -> None:
    huge = message(2, "box", "alert", alert="x" * 100_000 + str(random.Random(1).randbytes(9000)))
    with pytest.raises(RowsRefused, match="index row"):
        put(database, message(1), huge)
    assert database.query("select count(*) from gateway.message") == [[0]]
    assert put(database, message(1)) == 1


def test_a_connection_that_was_cut_is_made_again(postgres: Server, database: Database) -> None:
    put(database, message(1))
    postgres[0].query(
        postgres[1], "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'gateway%'"
    )
    with pytest.raises(DatabaseDown):
        put(database, message(2))
    assert put(database, message(2)) == 1


def test_a_commit_is_on_disk_whatever_the_servers_default_is(postgres: Server) -> None:
    postgres[0].query(postgres[1], f"alter database {postgres[1]} set synchronous_commit = off")
    database = opened(postgres)
    assert database.query("show synchronous_commit") == [["on"]]
    database.close()


def test_a_report_is_json_for_programs(database: Database) -> None:
    put(database, message(2))
    (box,) = report(database).boxes
    assert json.loads(json.dumps(box.as_json()))["missing"] == [["count", 7, 1, 1]]
