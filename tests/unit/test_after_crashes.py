"""How long the service waits before a start: systemd/after-crashes.sh, with an uptime and a sleep of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "systemd" / "after-crashes.sh"


class Box:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uptime_s = 1000
        self.slept = folder / "slept"
        self.sleep = folder / "sleep"
        self.sleep.write_text(f'#!/bin/sh\necho "$1" >>{self.slept}\n')
        self.sleep.chmod(0o755)

    def environment(self, result: str) -> dict[str, str]:
        uptime = self.folder / "uptime"
        uptime.write_text(f"{self.uptime_s}.42 99.9\n")
        return {
            "PATH": "/usr/bin:/bin",
            "RUNTIME_DIRECTORY": str(self.folder),
            "SERVICE_RESULT": result,
            "UPTIME": str(uptime),
            "SLEEP": str(self.sleep),
        }

    def run(self, *arguments: str, result: str = "success") -> subprocess.CompletedProcess[str]:
        command = ["sh", str(SCRIPT), *arguments]
        return subprocess.run(
            command, env=self.environment(result), capture_output=True, text=True, timeout=30, check=False
        )

    def ends(self, result: str) -> None:
        assert self.run("note", result=result).returncode == 0

    def waits_s(self) -> int:
        self.slept.unlink(missing_ok=True)
        assert self.run("wait").returncode == 0
        return int(self.slept.read_text()) if self.slept.exists() else 0


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_the_wait_grows_with_each_crash_and_has_an_end(box: Box) -> None:
    waits_s = [box.waits_s()]
    for _ in range(10):
        box.uptime_s += 10
        box.ends("signal")
        waits_s.append(box.waits_s())
    assert waits_s == [0, 0, 2, 4, 8, 16, 32, 64, 120, 120, 120]


@pytest.mark.parametrize("result", ["exit-code", "signal", "core-dump", "watchdog", "timeout", "oom-kill"])
def test_every_bad_end_counts(box: Box, result: str) -> None:
    for _ in range(2):
        box.ends(result)
    assert box.waits_s() == 2


def test_a_good_end_makes_a_new_beginning(box: Box) -> None:
    for _ in range(5):
        box.ends("signal")
    box.ends("success")
    assert box.waits_s() == 0
    box.ends("signal")
    assert box.waits_s() == 0


def test_a_crash_is_forgotten_after_half_an_hour(box: Box) -> None:
    for _ in range(5):
        box.ends("signal")
    assert box.waits_s() == 16
    box.uptime_s += 1799
    assert box.waits_s() == 16
    box.uptime_s += 1
    assert box.waits_s() == 0


def test_a_box_that_crashes_for_years_keeps_no_long_list(box: Box) -> None:
    for _ in range(40):
        box.ends("signal")
    assert len((box.folder / "crashes").read_text().splitlines()) == 20


def test_who_ends_the_waiting_begins_anew(box: Box) -> None:
    for _ in range(9):
        box.ends("signal")
    box.sleep.write_text(f"#!/bin/sh\necho $1 >{box.slept}\nexec sleep 60\n")
    waiting = subprocess.Popen(
        ["sh", str(SCRIPT), "wait"],
        env=box.environment("success"),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "crashed 9 times in half an hour: starting in 120 s\n"
        while not box.slept.exists():
            assert waiting.poll() is None
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(30) == 0
    finally:
        os.killpg(waiting.pid, signal.SIGKILL)  # and its sleep
        waiting.wait()
        waiting.stdout.close()
    assert box.waits_s() == 0


@pytest.mark.parametrize("arguments", [[], ["stop"], ["wait", "wait"]])
def test_wrong_usage_is_told(box: Box, arguments: list[str]) -> None:
    done = box.run(*arguments)
    assert done.returncode == 64
    assert "wanted" in done.stderr
