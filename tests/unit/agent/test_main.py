"""The command's frame: which failure ends with which exit code, and which verbs want a configuration."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import __main__ as command
from agent import config
from agent.errors import ConfigError, EventStoreError, UplinkDown
from agent.verbs import check
from drivers.base import CameraUnavailable, ModelPackError


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ConfigError("gateway.toml: no good"), 78),
        (ModelPackError("model pack x: no good"), 78),
        (EventStoreError("another agent has it"), 1),
        (UplinkDown("ioc:8883: no answer"), 1),
        (CameraUnavailable("camera north: gone"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_one_line_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: Exception, code: int
) -> None:
    monkeypatch.setattr(check, "run", raises(failure))
    assert command.main(["check"]) == code
    assert capsys.readouterr().err == f"gateway-agent check: {failure}\n"


def test_a_bug_is_not_dressed_as_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "run", raises(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        command.main(["check"])


def test_ctrl_c_ends_a_verb_without_a_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "run", raises(KeyboardInterrupt()))
    assert command.main(["check"]) == 1
    assert capsys.readouterr() == ("", "")


def raises(failure: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        raise failure

    return run


@pytest.mark.parametrize("verb", ["run", "check", "outbox"])
def test_the_configuration_is_where_the_service_has_it_unless_said(verb: str) -> None:
    assert command.parser(verb).parse_args([verb]).config == config.DEFAULT_PATH
    assert command.parser(verb).parse_args([verb, "--config", "x.toml"]).config == Path("x.toml")


def test_a_path_in_the_help_is_not_broken_over_lines() -> None:
    verbs = next(a for a in command.parser(*command.VERBS)._actions if isinstance(a, argparse._SubParsersAction))
    assert all(str(config.DEFAULT_PATH) in verbs.choices[verb].format_help() for verb in ("run", "check", "replay"))
