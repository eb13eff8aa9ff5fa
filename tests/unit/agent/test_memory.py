"""What outlives the agent: written whole or not at all, and never the reason for a camera to stop."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent import durable
from agent.memory import CameraMemory


def camera(folder: Path) -> CameraMemory:
    return CameraMemory(folder, "north")


def test_a_view_is_found_again(tmp_path: Path) -> None:
    assert camera(tmp_path / "cameras").view() is None
    camera(tmp_path / "cameras").keep_view(b"as usual")
    assert camera(tmp_path / "cameras").view() == b"as usual"
    assert CameraMemory(tmp_path / "cameras", "south").view() is None


def test_a_write_that_fails_leaves_the_old_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = camera(tmp_path)
    kept.keep_view(b"old")
    monkeypatch.setattr(os, "fsync", disk_full)
    for _ in range(5):
        kept.keep_view(b"new")
    assert camera(tmp_path).view() == b"old"
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text


def disk_full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def numbers_of_a_run(kept: CameraMemory, tracks: int) -> range:
    """The numbers of so many tracks, as the worker lets them be reserved."""
    first = kept.first_track()
    for number in range(first, first + tracks, 100):
        kept.reached_track(number)
    return range(first, first + tracks)


def disjoint(runs: list[range]) -> bool:
    ordered = sorted(runs, key=lambda run: run.start)
    return all(a.stop <= b.start for a, b in pairwise(ordered))


def test_no_number_is_given_out_twice_over_many_runs(tmp_path: Path) -> None:
    runs = [numbers_of_a_run(camera(tmp_path), tracks) for tracks in (1, 50, 260_000, 0, 99_999, 100_001, 3)]
    assert disjoint(runs)


def test_a_run_that_outlives_a_disk_it_cannot_write_does_not_meet_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = camera(tmp_path)
    first = kept.first_track()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", disk_full)
        for number in range(first, first + 150_000, 100):
            kept.reached_track(number)
    assert disjoint([range(first, first + 150_000), numbers_of_a_run(camera(tmp_path), 1000)])


def test_a_run_writes_once_at_its_start_and_once_in_a_hundred_thousand_tracks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    write = durable.write_whole
    monkeypatch.setattr(durable, "write_whole", lambda path, content: (written.append(content), write(path, content)))
    numbers_of_a_run(camera(tmp_path), 40_000)
    assert len(written) == 1
    numbers_of_a_run(camera(tmp_path), 460_000)
    assert len(written) == 2 + 5


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"many", b"-3", b"42000", b"1e3", b"9" * 5000])
def test_a_damaged_file_is_replaced_by_lots_and_said(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "north.tracks").write_bytes(content)
    first = camera(tmp_path).first_track()
    assert 1 <= first < 2**32
    assert "north.tracks" in caplog.text
    assert camera(tmp_path).first_track() != first


def test_lots_are_drawn_where_nothing_can_be_read_or_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lots = iter([7, 8, 9])
    monkeypatch.setattr("secrets.randbelow", lambda below: next(lots))
    assert camera(tmp_path).first_track() == 700_001
    monkeypatch.setattr(os, "fsync", disk_full)
    assert camera(tmp_path).first_track() == 800_001
    assert camera(tmp_path).first_track() == 900_001


def test_the_last_era_is_followed_by_the_first(tmp_path: Path) -> None:
    (tmp_path / "north.tracks").write_text("41999\n")
    assert camera(tmp_path).first_track() == 100_001


def test_numbers_fit_into_32_bits(tmp_path: Path) -> None:
    (tmp_path / "north.tracks").write_text("41997\n")
    assert numbers_of_a_run(camera(tmp_path), 100_000).stop < 2**32


def test_a_folder_that_cannot_be_made_costs_the_memory_and_not_the_camera(tmp_path: Path) -> None:
    (tmp_path / "cameras").write_text("a file where the folder should be")
    kept = camera(tmp_path / "cameras")
    assert kept.first_track() >= 1
    assert kept.view() is None
    kept.keep_view(b"as usual")
    kept.reached_track(2**31)
