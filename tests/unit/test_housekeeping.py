"""What the weekly housekeeping deletes, and above all what not: systemd/housekeeping.sh."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "systemd" / "housekeeping.sh"
_DAY_S = 86400


def housekeeping(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """As on a box: what the agent needs, none of which is damaged."""
    for name in ("outbox.db", "outbox.db-wal", "alerts.raised", "outbox.db.new"):
        (tmp_path / name).write_text("needed")
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence/outbox.db.damaged-20200101T000000Z").write_text("somewhere else")
    return tmp_path


def set_aside(folder: Path, day: int, *, days_ago: float = 0, suffix: str = "") -> Path:
    store = folder / f"outbox.db.damaged-202601{day:02}T120000Z{suffix}"
    for end in ("", "-wal", "-shm"):
        path = Path(f"{store}{end}")
        path.write_text("damaged")
        then = path.stat().st_mtime - days_ago * _DAY_S
        os.utime(path, (then, then))
    return store


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_healthy_box_keeps_everything(state: Path) -> None:
    before = left(state)
    done = housekeeping(state)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert left(state) == before


def test_the_two_newest_damaged_stores_are_kept_whole_and_the_others_go_with_their_logs(state: Path) -> None:
    needed = left(state)
    old = [set_aside(state, 1), set_aside(state, 2)]
    newest = [set_aside(state, 3), set_aside(state, 3, suffix="-2")]
    done = housekeeping(state)
    assert done.returncode == 0, done.stderr
    assert left(state) == needed | {f"{store.name}{end}" for store in newest for end in ("", "-wal", "-shm")}
    assert [line.split()[2].rstrip(",") for line in done.stdout.splitlines()] == [str(store) for store in old]


def test_a_damaged_store_that_nobody_came_for_in_three_months_goes(state: Path) -> None:
    needed = left(state)
    set_aside(state, 1, days_ago=92)
    kept = set_aside(state, 2, days_ago=80)
    assert housekeeping(state).returncode == 0
    assert left(state) == needed | {f"{kept.name}{end}" for end in ("", "-wal", "-shm")}


def test_without_a_folder_it_says_what_it_wants_and_deletes_nothing(tmp_path: Path) -> None:
    store = set_aside(tmp_path, 1, days_ago=1000)
    for arguments in ((), (tmp_path / "none",), (tmp_path, "more")):
        done = housekeeping(*arguments)
        assert (done.returncode, done.stderr) == (64, "housekeeping.sh: wanted: housekeeping.sh FOLDER\n")
    assert store.exists()
