"""Doing to devices what a profile says, by a command or by a person's hand, and bounding what may never come back."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.hil.profile import EventConfig
from tests.hil.words import say

T = TypeVar("T")
_COMMAND_S = 60.0


def do(event: EventConfig) -> None:
    _act(event, event.do)


def undo(event: EventConfig) -> None:
    _act(event, event.undo)


def shows(event: EventConfig) -> bool:
    """Whether what is to be seen while it is raised is to be seen."""
    assert event.shows is not None
    return (
        subprocess.run(["sh", "-c", event.shows], capture_output=True, timeout=_COMMAND_S, check=False).returncode == 0
    )


def _act(event: EventConfig, what: str) -> None:
    if event.by_hand:
        _ask(what)
        return
    try:
        done = subprocess.run(
            ["sh", "-c", what],
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"{what}: not done in {_COMMAND_S:g} s; correct the profile's event {event.id!r}", pytrace=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        pytest.fail(
            f"{what}: exit code {done.returncode}: {said}; correct the profile's event {event.id!r}", pytrace=False
        )


def _ask(what: str) -> None:
    """A person at the terminal; pytest has taken stdin and stdout away."""
    try:
        with open("/dev/tty", "r+b", buffering=0) as terminal:
            terminal.write(f"\n>>> {say('ask', what=what)} ".encode())
            while terminal.read(1) not in (b"\n", b""):
                pass
    except OSError as exc:
        pytest.fail(f"{what}: nobody can be asked without a terminal ({exc.strerror}); run it in one", pytrace=False)


def bounded(work: Callable[[], T], limit_s: float, what: str) -> T:
    """What a call gives or raises; fails if it does not come back in time, which a driver can do to its caller."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as exc:  # a skip and a failure of pytest's are no Exceptions
            errors.append(exc)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        pytest.fail(f"{what} has not come back for {limit_s:g} s; unplug it and plug it in again", pytrace=False)
    if errors:
        raise errors[0]
    return results[0]
