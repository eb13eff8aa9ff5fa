"""Commands from message to answer: once, written down before, noted, and through any end of the agent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.audit import AuditLog, verify
from agent.clock import FakeClock
from agent.commands import Asked, AtOnce, Desk, Done, Handler, Journal, Later, Request, Return
from agent.commands.desk import INTERRUPTED
from agent.contract.command import Reply
from agent.contract.event import Audit
from agent.errors import CommandFailed, CommandRefused, EventStoreError
from tests.support.commands import claims, token, write_trust

NOW_S = 1_800_000_000
NOWHERE = Return()


class Box:
    """A desk whose thread is not started: `say` does what it would do, one message at a time."""

    def __init__(self, folder: Path, handlers: dict[str, Handler], clock: FakeClock) -> None:
        self.folder, self.clock = folder, clock
        self.journal = Journal(folder / "commands.db")
        self.audit = AuditLog(folder / "audit", clock=clock)
        self.desk = Desk("site/box", write_trust(folder), self.journal, self.audit, handlers, clock=clock)
        self.desk._guarded(self.desk._resume)

    def say(self, made: bytes, to: Return = NOWHERE) -> list[Reply]:
        """What is answered to it now; the answers count as sent."""
        self.desk._guarded(lambda: self.desk._take(Asked(made, to, object())))
        return self.sent()

    def look(self) -> list[Reply]:
        self.desk._guarded(self.desk._look_after)
        return self.sent()

    def sent(self) -> list[Reply]:
        answers = self.desk.answers()
        for answer in answers:
            self.desk.sent(answer.n)
        self.journal.sent([answer.n for answer in answers])
        self.desk._guarded(lambda: None)
        return [answer.reply for answer in answers]

    def noted(self) -> list[tuple[str, str, str]]:
        return [(entry.by, entry.did, entry.outcome) for entry in self.audit.since(0)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall_ms=NOW_S * 1000)


@pytest.fixture
def box(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[..., Box]]:
    made: list[Box] = []

    def start(**handlers: Handler) -> Box:
        """On what the last one left."""
        while made:
            made.pop().journal.close()
        made.append(Box(tmp_path, handlers, clock))
        return made[-1]

    yield start
    for one in made:
        one.journal.close()


def made(name: str, cmd: str, **changed: Any) -> bytes:
    return token(name, {**claims(cmd, now_s=NOW_S), **changed})


class Counting:
    """How often it was done."""

    def __init__(self, result: dict[str, Any] | Exception | None = None) -> None:
        self.n = 0
        self._result = result

    def __call__(self, request: Request) -> dict[str, Any]:
        self.n += 1
        if isinstance(self._result, Exception):
            raise self._result
        return self._result or {"n": self.n}


def test_a_command_is_done_answered_and_noted(box: Callable[..., Box]) -> None:
    one = box(restart=AtOnce(Counting()))
    [reply] = one.say(made("en", "restart", jti="q1", by="Lan"))
    assert (reply.result, reply.command, reply.id, reply.data) == ("done", "restart", "q1", {"n": 1})
    assert one.noted() == [("Lan (en)", "restart", "accepted"), ("Lan (en)", "restart", "done")]
    assert verify(one.folder / "audit").trouble is None


def test_what_comes_twice_is_done_once_and_answered_as_the_first_time(box: Callable[..., Box]) -> None:
    counting = Counting()
    one, message = box(restart=AtOnce(counting)), made("en", "restart", jti="q1")
    [first] = one.say(message)
    [again] = one.say(message)
    assert (again.result, again.data, again.earlier) == ("done", first.data, True)
    [after_restart] = box(restart=AtOnce(counting)).say(message)
    assert after_restart == again
    assert counting.n == 1


def test_a_replay_is_noted(box: Callable[..., Box]) -> None:
    one, message = box(restart=AtOnce(Counting())), made("en", "restart", jti="q1")
    one.say(message)
    one.say(message)
    assert one.noted()[-1] == ("en", "restart", "repeated")


def test_an_id_cannot_be_used_for_another_command(box: Callable[..., Box]) -> None:
    counting = Counting()
    one = box(restart=AtOnce(counting), reboot=AtOnce(counting))
    one.say(made("en", "restart", jti="q1"))
    [reply] = one.say(made("en", "reboot", jti="q1"))
    assert (reply.result, counting.n) == ("refused", 1)
    assert "used before for another command" in str(reply.why)


@pytest.mark.parametrize(
    ("error", "result", "why"),
    [
        (CommandRefused("not on a Sunday"), "refused", "not on a Sunday"),
        (CommandFailed("it broke"), "failed", "it broke"),
        (ZeroDivisionError("by zero"), "failed", "a bug of the agent: ZeroDivisionError: by zero"),
    ],
)
def test_what_goes_wrong_is_said_and_the_desk_goes_on(
    box: Callable[..., Box], error: Exception, result: str, why: str
) -> None:
    one = box(restart=AtOnce(Counting(error)), ping=AtOnce(Counting()))
    [reply] = one.say(made("en", "restart"))
    assert (reply.result, reply.why) == (result, why)
    assert one.say(made("vy", "ping"))[0].result == "done"


def test_a_command_that_was_begun_when_the_power_failed_is_not_begun_again(box: Callable[..., Box]) -> None:
    class Cut(BaseException):
        pass

    def cut(request: Request) -> dict[str, Any]:
        raise Cut

    one = box(restart=AtOnce(cut))
    with pytest.raises(Cut):
        one.say(made("en", "restart", jti="q1"))
    counting = Counting()
    two = box(restart=AtOnce(counting))
    [reply] = two.sent()
    assert (reply.result, reply.id, reply.why, counting.n) == ("failed", "q1", INTERRUPTED, 0)
    assert two.noted()[-1] == ("en", "restart", "failed")


class Slow:
    """Accepted, and over when somebody says so."""

    def __init__(self) -> None:
        self.over = False
        self.begun = 0

    def do(self, request: Request) -> Later:
        self.begun += 1
        return Later({"step": 1})

    def look(self, request: Request) -> Done | Later:
        return Done({"step": 2}) if self.over else Later()


def test_a_command_that_takes_its_time_is_accepted_then_done_across_restarts(box: Callable[..., Box]) -> None:
    slow = Slow()
    one = box(restart=slow)
    [accepted] = one.say(made("en", "restart", jti="q1"))
    assert (accepted.result, accepted.data) == ("accepted", {"step": 1})
    assert one.look() == []
    two = box(restart=slow)
    assert two.sent() == []
    assert [reply.earlier for reply in two.say(made("en", "restart", jti="q1"))] == [True]
    slow.over = True
    [done] = two.look()
    assert (done.result, done.id, done.data, slow.begun) == ("done", "q1", {"step": 2}, 1)
    assert two.look() == []


def test_an_answer_waits_until_the_broker_has_it_and_knows_where_it_goes(box: Callable[..., Box]) -> None:
    one = box(restart=AtOnce(Counting()))
    to = Return("ioc/answers", b"\x01\x02")
    one.desk._guarded(lambda: one.desk._take(Asked(made("en", "restart", jti="q1"), to, object())))
    two = box(restart=AtOnce(Counting()))
    [answer] = two.desk.answers()
    assert (answer.to, answer.reply.id) == (to, "q1")
    two.sent()
    assert box().desk.answers() == []


def test_a_key_that_was_taken_away_counts_at_once(box: Callable[..., Box]) -> None:
    one = box(ping=AtOnce(Counting()))
    assert one.say(made("vy", "ping"))[0].result == "done"
    trust = one.folder / "trust.toml"
    trust.write_text(trust.read_text().partition("[commander.vy]")[0])
    assert "who may: nobody" in str(one.say(made("vy", "ping"))[0].why)


def test_strangers_are_told_of_a_few_times_and_then_counted(box: Callable[..., Box], clock: FakeClock) -> None:
    one = box()
    for _ in range(1000):
        assert one.say(b"rubbish")[0].result == "refused"
    assert len(one.noted()) == 20
    clock.sleep(3601)
    one.say(token("mallory", claims("reboot", now_s=NOW_S)))
    assert len(one.noted()) == 22
    assert "980 more" in str(one.audit.since(20)[0].why)


def test_without_an_audit_log_nothing_is_changed_but_one_may_look(
    box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    one = box(restart=AtOnce(counting), ping=AtOnce(Counting()))

    def full(*_: object) -> Audit:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(one.audit, "note", full)
    [reply] = one.say(made("en", "restart"))
    assert (reply.result, counting.n) == ("refused", 0)
    assert "cannot be written" in str(reply.why)
    assert one.say(made("vy", "ping"))[0].result == "done"


def test_without_a_journal_nothing_is_changed_but_one_may_look(
    box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    one = box(restart=AtOnce(counting), ping=AtOnce(Counting()))

    def full(*_: object) -> None:
        raise EventStoreError("commands.db: database or disk is full")

    for name in ("begin", "conclude", "keep_fact"):
        monkeypatch.setattr(one.journal, name, full)
    [reply] = one.say(made("en", "restart"))
    assert (reply.result, counting.n) == ("refused", 0)
    assert "disk is full" in str(reply.why)
    assert one.say(made("vy", "ping"))[0].result == "done"


def test_a_box_that_has_lost_its_memory_does_nothing_from_before(
    box: Callable[..., Box], clock: FakeClock, tmp_path: Path
) -> None:
    counting, message = Counting(), made("en", "restart", jti="q1")
    one = box(restart=AtOnce(counting))
    one.say(message)
    one.journal.close()
    (tmp_path / "commands.db").write_bytes(b"not a database at all" * 400)
    clock.sleep(10)
    two = box(restart=AtOnce(counting))
    [reply] = two.say(message)
    assert (reply.result, counting.n) == ("refused", 1)
    assert "lost its memory" in str(reply.why)
    clock.sleep(10)
    fresh = token("en", claims("restart", now_s=NOW_S + 20))
    assert two.say(fresh)[0].result == "done"
    assert (tmp_path / "commands.damaged").exists()


def test_a_command_of_a_box_without_what_it_needs_is_refused(box: Callable[..., Box]) -> None:
    [reply] = box().say(made("oanh", "snapshot", args={"camera": "north"}))
    assert (reply.result, reply.why) == ("refused", "snapshot: not on this box: it has nothing to do it with")


def test_expired_while_it_waited_is_refused_whatever_the_broker_kept(box: Callable[..., Box], clock: FakeClock) -> None:
    counting = Counting()
    one, message = box(restart=AtOnce(counting)), made("en", "restart")
    clock.sleep(3601)
    assert "expired" in str(one.say(message)[0].why)
    assert counting.n == 0


def test_ids_are_forgotten_only_when_their_tokens_are_long_over(box: Callable[..., Box], clock: FakeClock) -> None:
    one, counting = box(restart=AtOnce(Counting())), Counting()
    one.say(made("en", "restart", jti="old"))
    clock.sleep(3600 + 6 * 86_400)
    one.say(token("en", claims("restart", now_s=clock.wall_ms / 1000)))
    assert one.journal.known("old") is not None
    clock.sleep(2 * 86_400)
    one.say(token("en", claims("restart", now_s=clock.wall_ms / 1000)))
    assert one.journal.known("old") is None
    assert counting.n == 0


def test_the_thread_takes_answers_and_ends(tmp_path: Path) -> None:
    box = Box(tmp_path, {"ping": AtOnce(Counting())}, FakeClock(wall_ms=NOW_S * 1000))
    box.desk.start()
    ticket = object()
    assert box.desk.ask(Asked(made("vy", "ping"), Return(), ticket))
    deadline_s = time.monotonic() + 20
    while not (box.desk.settled and box.desk.answers()) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert list(box.desk.settled) == [ticket]
    assert [answer.reply.result for answer in box.desk.answers()] == ["done"]
    box.desk.stop()
    box.desk.close()
    box.desk.stop()
