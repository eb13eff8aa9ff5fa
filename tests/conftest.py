"""For every test: what it starts, it also ends. A thread, child process or listening socket left behind fails it."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_GRACE_S = 5.0  # for what has been told to end and is about to


@pytest.fixture(scope="module", autouse=True)
def _module_leaves_nothing_behind() -> Iterator[None]:
    """Set up before a module's own fixtures and checked after they are gone."""
    yield from _watch()


@pytest.fixture(autouse=True)
def _test_leaves_nothing_behind(_module_leaves_nothing_behind: None) -> Iterator[None]:
    yield from _watch()


def _watch() -> Iterator[None]:
    before = _running()
    yield
    deadline_s = time.monotonic() + _GRACE_S
    while (left := _running() - before) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not left, f"left behind: {', '.join(sorted(left))}"


def _running() -> set[str]:
    return {
        *(f"thread {thread.name} ({thread.ident})" for thread in threading.enumerate()),
        *_children(),
        *_listeners(),
    }


def _children() -> Iterator[str]:
    ours = str(os.getpid())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # pid (comm) state ppid …; a name may hold brackets and spaces.
            name, _, rest = (entry / "stat").read_text().rpartition(")")
            state, parent = rest.split()[:2]
        except OSError:
            continue  # gone meanwhile
        if parent == ours and state != "Z":  # a zombie that nobody waits for is a ResourceWarning, and fails by that
            yield f"process {name.partition('(')[2]} ({entry.name})"


def _listeners() -> Iterator[str]:
    for entry in os.listdir("/proc/self/fd"):
        fd = int(entry)
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            with socket.socket(fileno=os.dup(fd)) as copy:
                if copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield f"listening socket {copy.getsockname()}"
        except OSError:
            continue  # closed meanwhile
