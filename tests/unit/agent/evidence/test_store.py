"""The folder of pictures: what is stored stays, what must go goes in order, and nothing the disk does is raised."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.clock import FakeClock
from agent.contract.topics import check_id
from agent.evidence import EvidenceStore
from tests.support.pictures import jpeg

DAY_S = 86_400.0


def opened(
    folder: Path, *, clock: FakeClock | None = None, max_bytes: int = 10**9, max_days: float = 14.0, send: bool = False
) -> EvidenceStore:
    return EvidenceStore(
        folder / "evidence", max_bytes=max_bytes, max_days=max_days, send=send, clock=clock or FakeClock()
    )


def put(store: EvidenceStore, *numbers: int) -> list[str]:
    """Their ids."""
    stored = [store.put(jpeg(number)) for number in numbers]
    return [evidence.id for evidence in stored if evidence is not None]


def files(store: EvidenceStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_a_stored_picture_comes_back_byte_for_byte_under_what_the_alert_says(tmp_path: Path) -> None:
    store = opened(tmp_path)
    evidence = store.put(jpeg(1))
    assert evidence is not None
    assert check_id(evidence.id) == evidence.id
    for again in (store, opened(tmp_path)):
        kept = again.read(evidence.id)
        assert kept == jpeg(1)
        assert (evidence.sha256, evidence.bytes) == (hashlib.sha256(kept).hexdigest(), len(kept))
    assert files(store) == [f"{evidence.id}.jpg"]


def test_ids_never_repeat_even_if_the_folder_was_lost(tmp_path: Path) -> None:
    first = put(opened(tmp_path), 1)
    for path in (tmp_path / "evidence").iterdir():
        path.unlink()
    assert set(put(opened(tmp_path), 1)).isdisjoint(first)


def test_pictures_are_not_sent_unless_asked_for(tmp_path: Path) -> None:
    store = opened(tmp_path)
    first, second, third = put(store, 1, 2, 3)
    assert store.waiting() == []
    assert store.request(third) == len(jpeg(3))
    assert store.request(first) == len(jpeg(1))
    assert store.waiting() == [first, third], "oldest first"
    assert second not in opened(tmp_path).waiting()
    assert opened(tmp_path).waiting() == [first, third], "a request survives a power cut"


def test_with_the_policy_always_every_picture_is_marked_before_its_alert_is_stored(tmp_path: Path) -> None:
    ids = put(opened(tmp_path, send=True), 1, 2)
    assert opened(tmp_path).waiting() == ids


def test_what_has_arrived_is_not_sent_again(tmp_path: Path) -> None:
    store = opened(tmp_path, send=True)
    first, second = put(store, 1, 2)
    store.settle(first)
    for again in (store, opened(tmp_path)):
        assert again.waiting() == [second]
        assert again.read(first) == jpeg(1), "and stays on the box"


def test_whoever_waits_for_pictures_is_told_of_each(tmp_path: Path) -> None:
    store = opened(tmp_path)
    woken: list[int] = []
    store.on_waiting(lambda: woken.append(1))
    (evidence_id,) = put(store, 1)
    assert woken == []
    store.request(evidence_id)
    assert woken == [1]


def test_the_oldest_give_way_and_those_to_be_sent_last(tmp_path: Path) -> None:
    store = opened(tmp_path, max_bytes=5 * 20_480)
    ids = put(store, 1, 2, 3, 4, 5)
    store.request(ids[0])
    store.request(ids[1])
    ids += put(store, 6, 7, 8)
    assert [n for n, one in enumerate(ids, 1) if store.read(one)] == [1, 2, 6, 7, 8]
    store.request(ids[5])
    store.request(ids[6])
    store.request(ids[7])
    ids += put(store, 9)
    assert [n for n, one in enumerate(ids, 1) if store.read(one)] == [2, 6, 7, 8, 9]
    assert len(files(store)) == 5 + 4, "and their marks went with them"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 60_000), min_size=1, max_size=30))
def test_the_bound_is_kept_whatever_the_sizes(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    store = opened(tmp_path_factory.mktemp("store"), max_bytes=200_000)
    for number, size in enumerate(sizes):
        assert store.put(jpeg(number, size)) is not None
        blocks = sum(-(-path.stat().st_size // 4096) * 4096 for path in store.folder.iterdir())
        assert blocks == store.holding().bytes <= 200_000


def test_pictures_go_when_they_are_too_old(tmp_path: Path) -> None:
    clock = FakeClock(wall_ms=round(time.time() * 1000))
    store = opened(tmp_path, clock=clock, max_days=2.0)
    old = put(store, 1)
    clock.sleep(1.5 * DAY_S)
    young = put(store, 2)
    store.tidy()
    assert store.holding().pictures == 2
    clock.sleep(0.6 * DAY_S)
    store.tidy()
    assert [store.read(one) for one in (*old, *young)] == [None, jpeg(2)]
    clock.sleep(2 * DAY_S)
    assert opened(tmp_path, clock=clock, max_days=2.0).holding().pictures == 0, "also after a restart"


def test_a_clock_that_is_not_set_makes_nothing_old(tmp_path: Path) -> None:
    now_ms = round(time.time() * 1000)
    clock = FakeClock(wall_ms=0, trusted=False)
    ids = put(opened(tmp_path, clock=clock), 1)
    clock.wall_ms = now_ms + round(400 * DAY_S * 1000)
    store = opened(tmp_path, clock=clock)
    assert store.holding().pictures == 1
    clock.wall_ms, clock.is_trusted = now_ms, True
    store.tidy()
    assert store.holding().pictures == 1, "undated: its time begins with the clock's"
    clock.sleep(13 * DAY_S)
    store.tidy()
    assert store.read(ids[0]) is not None
    clock.sleep(2 * DAY_S)
    assert opened(tmp_path, clock=clock).holding().pictures == 0


def test_pictures_of_a_clock_that_ran_ahead_do_not_stay_for_ever(tmp_path: Path) -> None:
    now_ms = round(time.time() * 1000)
    (ahead,) = put(opened(tmp_path, clock=FakeClock(wall_ms=now_ms)), 1)
    os.utime(tmp_path / "evidence" / f"{ahead}.jpg", (now_ms / 1000 + 900 * DAY_S,) * 2)
    clock = FakeClock(wall_ms=now_ms)
    opened(tmp_path, clock=clock)
    clock.sleep(15 * DAY_S)
    assert opened(tmp_path, clock=clock).holding().pictures == 0


def test_what_a_power_cut_left_half_done_is_cleared_and_strangers_are_let_be(tmp_path: Path) -> None:
    store = opened(tmp_path)
    (kept,) = put(store, 1)
    for name in ("7-0123456789ab.jpg.part", "7-0123456789ab.send", "notes.txt", "cat.jpg", "a.part", "b.send"):
        (store.folder / name).write_bytes(b"x")
    again = opened(tmp_path)
    assert files(again) == sorted([f"{kept}.jpg", "a.part", "b.send", "cat.jpg", "notes.txt"])
    assert again.holding().pictures == 1


@pytest.mark.parametrize(
    "wanted", ["", ".", "..", "../outbox.db", "/etc/passwd", "1-000000000000", "*", "a\0b", "1-0123456789ab.jpg"]
)
def test_an_id_that_is_not_ours_opens_nothing(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "outbox.db").write_bytes(b"secret")
    store = opened(tmp_path)
    put(store, 1)
    before = files(store)
    assert store.read(wanted) is None
    assert store.request(wanted) is None
    store.settle("7-0123456789ab")
    assert files(store) == before


def test_a_folder_that_cannot_be_made_costs_the_pictures_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "evidence").write_bytes(b"a file where the folder should be")
    store = opened(tmp_path)
    assert [store.put(jpeg(n)) for n in range(5)] == [None] * 5
    holding = store.holding()
    assert (holding.not_stored, holding.bytes) == (5, 0)
    assert "alerts go without" in str(holding.error)
    assert len(caplog.records) == 1
    (tmp_path / "evidence").unlink()
    assert store.put(jpeg(1)) is not None
    assert store.holding().error is None


def test_a_picture_that_vanished_is_not_there_any_more(tmp_path: Path) -> None:
    store = opened(tmp_path, send=True)
    (evidence_id,) = put(store, 1)
    (store.folder / f"{evidence_id}.jpg").unlink()
    assert store.read(evidence_id) is None
    assert store.waiting() == []
    assert store.request(evidence_id) is None
    assert store.holding().bytes == 0


def test_ten_thousand_pictures_are_found_in_a_moment(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    for number in range(10_000):
        (folder / f"{number + 1}-{number:012x}.jpg").write_bytes(b"x")
    began_s = time.thread_time()
    store = opened(tmp_path)
    took_s = time.thread_time() - began_s
    assert store.holding().pictures == 10_000
    assert took_s < 2.0  # of processor time; 0.1 s as a rule
    assert put(store, 1)[0].startswith("10001-")
