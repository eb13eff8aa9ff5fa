"""What systemd's answer means. The answers are a systemd's own, of the unit in the state that is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.ops import service

NOW_S = 10_000.0


def systemctl(folder: Path, **properties: str | int) -> str:
    """A program that answers as systemctl does."""
    said = {
        "NRestarts": 0,
        "Result": "success",
        "ExecMainCode": 0,
        "ExecMainStatus": 0,
        "ActiveEnterTimestampMonotonic": 0,
        "LoadState": "loaded",
        "StatusText": "1 of 1 cameras, broker up",
        **properties,
    }
    program = folder / "systemctl"
    lines = "\n".join(f"{name}={value}" for name, value in said.items())
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n")
    program.chmod(0o755)
    return str(program)


RUNNING: dict[str, str | int] = {
    "ActiveState": "active",
    "SubState": "running",
    "ExecMainCode": 0,
    "ActiveEnterTimestampMonotonic": 5_000_000_000,
}
FAILED: dict[str, str | int] = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainCode": 1}


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        pytest.param(RUNNING, [], id="runs"),
        pytest.param({**RUNNING, "NRestarts": 2}, ["service-restarted"], id="was restarted long ago"),
        pytest.param(
            {**RUNNING, "NRestarts": 2, "ActiveEnterTimestampMonotonic": 9_900_000_000},
            ["service-flaps"],
            id="was restarted lately",
        ),
        pytest.param({"ActiveState": "activating", "SubState": "start"}, [], id="starts"),
        pytest.param(
            {"ActiveState": "activating", "SubState": "auto-restart", "Result": "watchdog", "NRestarts": 7},
            ["service-waits"],
            id="waits for its next start",
        ),
        pytest.param({**FAILED, "ExecMainStatus": 78}, ["service-config"], id="wrong configuration"),
        pytest.param({**FAILED, "ExecMainStatus": 64}, ["service-config"], id="wrong arguments"),
        pytest.param({**FAILED, "ExecMainStatus": 1}, ["service-failed"], id="failed"),
        pytest.param(
            {**FAILED, "Result": "signal", "ExecMainCode": 2, "ExecMainStatus": 9}, ["service-failed"], id="killed"
        ),
        pytest.param({"ActiveState": "inactive", "SubState": "dead"}, ["service-stopped"], id="stopped"),
        pytest.param(
            {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"},
            ["service-missing"],
            id="not installed",
        ),
    ],
)
def test_a_state_of_the_service_is_told(tmp_path: Path, properties: dict[str, str | int], wanted: list[str]) -> None:
    found = service.ask(NOW_S, systemctl(tmp_path, **properties))
    assert found is not None
    assert [one.kind for one in service.judge(found)] == wanted


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"Result": "watchdog", "ExecMainCode": 2, "ExecMainStatus": 6}, "the watchdog ended it"),
        ({"Result": "oom-kill", "ExecMainCode": 2, "ExecMainStatus": 9}, "for want of memory"),
        ({"Result": "signal", "ExecMainCode": 3, "ExecMainStatus": 11}, "ended by SIGSEGV"),
        ({"Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": 1}, "exit code 1 (exit-code)"),
    ],
)
def test_how_the_service_ended_is_told(
    tmp_path: Path, properties: dict[str, str | int], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    (told,) = service.judge(service.ask(NOW_S, systemctl(tmp_path, **{**FAILED, **properties})))
    assert words in told.found


def test_where_there_is_no_systemd_the_service_is_not_known(tmp_path: Path) -> None:
    assert service.ask(NOW_S, str(tmp_path / "none")) is None
    assert [one.kind for one in service.judge(None)] == ["service-missing"]
