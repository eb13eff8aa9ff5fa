from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.web import session as session_module
from agent.web.password import Passwords, Role
from agent.web.session import IDLE_S, LONGEST_S, Sessions
from tests.support.web import write_password


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def password(tmp_path: Path) -> Path:
    write_password(tmp_path / "technician", "a ladder at noon")
    return tmp_path / "technician"


@pytest.fixture
def sessions(clock: FakeClock, password: Path) -> Sessions:
    return Sessions(Passwords({Role.TECHNICIAN: password}), clock)


def opened(sessions: Sessions, name: str = "Hùng") -> str:
    found = sessions.open(Role.TECHNICIAN, name)
    assert found is not None
    return found[0]


def test_a_session_is_found_by_its_token_and_by_no_other(sessions: Sessions) -> None:
    token = opened(sessions)
    found = sessions.find(token)
    assert found is not None
    assert found.by == "Hùng (technician)"
    assert sessions.find(token + "x") is None
    assert sessions.find("") is None


def test_tokens_have_256_bits_and_differ(sessions: Sessions) -> None:
    tokens = {opened(sessions) for _ in range(50)}
    assert len(tokens) == 50
    assert min(map(len, tokens)) == 43


def test_a_session_that_is_not_used_ends(sessions: Sessions, clock: FakeClock) -> None:
    token = opened(sessions)
    clock.sleep(IDLE_S)
    assert sessions.find(token) is not None
    clock.sleep(IDLE_S + 1)
    assert sessions.find(token) is None


def test_a_session_that_is_used_all_the_time_ends_too(sessions: Sessions, clock: FakeClock) -> None:
    token = opened(sessions)
    for _ in range(int(LONGEST_S / 600)):
        clock.sleep(600)
        assert sessions.find(token) is not None
    clock.sleep(600)
    assert sessions.find(token) is None


def test_a_new_password_ends_the_sessions_of_the_one_before(sessions: Sessions, password: Path) -> None:
    token = opened(sessions)
    write_password(password, "rain on the mast")
    assert sessions.find(token) is None


def test_without_a_password_there_is_no_session(sessions: Sessions, password: Path) -> None:
    password.unlink()
    assert sessions.open(Role.TECHNICIAN, "Hùng") is None
    assert sessions.open(Role.VIEWER, "Hùng") is None


def test_who_logs_out_is_out(sessions: Sessions) -> None:
    token = opened(sessions)
    sessions.close(token)
    assert sessions.find(token) is None


def test_of_too_many_the_one_ends_that_was_idle_longest(
    sessions: Sessions, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_MOST", 3)
    first, second, third = (opened(sessions) for _ in range(3))
    clock.sleep(1)
    assert sessions.find(first) is not None
    clock.sleep(1)
    assert sessions.find(third) is not None
    fourth = opened(sessions)
    assert [sessions.find(token) is not None for token in (first, second, third, fourth)] == [True, False, True, True]
    assert len(sessions) == 3


def test_the_token_itself_is_not_kept(sessions: Sessions) -> None:
    token = opened(sessions)
    assert token.encode() not in sessions._by_key
