"""What is sent to systemd, byte for byte, and to whom."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ops.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        path = str(tmp_path / "notify")
        sock.bind(path)
        sock.setblocking(False)
        yield sock, path


def test_systemd_hears_of_each_state(systemd: tuple[socket.socket, str]) -> None:
    sock, path = systemd
    notifier = Notifier({"NOTIFY_SOCKET": path})
    notifier.ready()
    notifier.status("2 of 2 cameras,\nbroker up")
    notifier.fed()
    notifier.stopping(60.0)
    assert [sock.recv(1000) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=2 of 2 cameras, broker up",
        b"WATCHDOG=1",
        b"STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000",
    ]


def test_a_socket_without_a_file_is_reached_too() -> None:
    name = f"gateway-agent-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        sock.setblocking(False)
        assert sock.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        pytest.param({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None, id="meant for another process"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="nonsense"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="off"),
        ({}, None),
    ],
)
def test_the_watchdogs_period_is_systemds(environment: dict[str, str], watchdog_s: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/run/systemd/notify", **environment}).watchdog_s == watchdog_s


def test_started_by_hand_there_is_nobody_to_tell() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "60000000"})
    notifier.ready()
    assert notifier.watchdog_s is None


def test_a_supervisor_that_is_gone_is_said_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    with caplog.at_level(logging.WARNING):
        notifier.fed()
        notifier.fed()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot tell systemd WATCHDOG=1: [Errno 2] No such file or directory"
    ]


def test_a_supervisor_that_does_not_read_makes_nobody_wait(systemd: tuple[socket.socket, str]) -> None:
    _, path = systemd
    notifier = Notifier({"NOTIFY_SOCKET": path})
    for _ in range(2000):  # far more than a socket holds
        notifier.fed()
