"""Where commands are taken, done one after the other, and answered. A thread of its own: the link waits for nobody.

    link ─ask─▶ queue ─▶ read (whose, for us, still good) ─▶ journal ─▶ audit log ─▶ do ─▶ journal ─answers─▶ link

Written down comes before done, so that no power cut makes it happen twice; what was begun and has no answer when the
agent starts is asked after (`look`). Nothing that changes the box is done unless the audit log has taken it first.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from agent.alive import Signs
from agent.audit import AuditLog, Entry
from agent.clock import Clock
from agent.commands.journal import Answer, Journal, JournalFull, Return
from agent.commands.request import NotTaken, Request, read_request
from agent.contract.command import COMMANDS, Reply, Result
from agent.contract.event import Outcome
from agent.errors import CommandFailed, CommandRefused, ConfigError, EventStoreError
from agent.update.trust import CommanderTable, load_trust
from agent.update.verify import Now

_log = logging.getLogger(__name__)

_WAITING = 20  # as many as the broker may have on their way to us
_LOOSE = 100
_EVERY_S = 1.0
_STEP_WITHIN_S = 300.0  # one command; a diagnostics bundle on a slow board takes a minute
_FLOOR_STEP_MS = 3_600_000
_STRANGERS = 20  # refusals of what nobody signed for, an hour, that are told one by one
_HOUR_S = 3600.0
_NOT_HERE = "{name}: not on this box: it has nothing to do it with"
INTERRUPTED = "the agent ended while it was being done; how far it came is not known. Ask again under a new id"


@dataclass(frozen=True, slots=True)
class Done:
    """data: of the answer."""

    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Later:
    """It is on its way and comes to its end by itself; data: of the answer `accepted`."""

    data: dict[str, Any] = field(default_factory=dict)


class Handler(Protocol):
    """One command."""

    def do(self, request: Request) -> Done | Later:
        """Raises CommandRefused where nothing was done, CommandFailed where something was."""

    def look(self, request: Request) -> Done | Later:
        """Of what was accepted, or begun by an agent that ended: how it stands. Raises as do()."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """A command that is over when its function has returned."""

    function: Callable[[Request], dict[str, Any]]

    def do(self, request: Request) -> Done:
        return Done(self.function(request))

    def look(self, request: Request) -> Done:
        raise CommandFailed(INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Asked:
    """One message as it came. ticket: comes back in `settled`, when the broker may forget the message."""

    token: bytes
    to: Return
    ticket: object


class Desk:
    """box: "site/box". trust: the file, read anew for every request: keys that were taken away count at once."""

    def __init__(
        self,
        box: str,
        trust: Path,
        journal: Journal,
        audit: AuditLog,
        handlers: Mapping[str, Handler],
        *,
        clock: Clock,
    ) -> None:
        self.signs = Signs("desk", clock)
        self.settled: deque[object] = deque()
        self._box = box
        self._trust = trust
        self._journal = journal
        self._audit = audit
        self._handlers = dict(handlers)
        self._clock = clock
        self._asked: queue.Queue[Asked | list[int] | None] = queue.Queue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._answers: list[Answer] = []  # those in the journal
        self._sent: set[int] = set()  # of these, what the broker has and the journal does not know of yet
        self._loose: deque[Answer] = deque(maxlen=_LOOSE)  # refusals: not worth a write to the disk, lost at the end
        self._loose_n = 0
        self._wake: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._pending: list[Request] = []
        self._strangers = 0  # refused this hour
        self._untold = 0
        self._hour_until_s = 0.0
        self._thread = threading.Thread(target=self._run, name="desk", daemon=True)

    # ---- for the link ------------------------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> bool:
        """False: there is no room now; keep it and try again."""
        with self._lock:
            if self._waiting >= _WAITING:
                return False
            self._waiting += 1
        self._asked.put(asked)
        return True

    def answers(self) -> list[Answer]:
        """What is to be sent, oldest first; each until sent()."""
        with self._lock:
            return [*self._answers, *self._loose]

    def sent(self, n: int) -> None:
        """The broker has it, or will not have it."""
        with self._lock:
            for answer in self._loose:
                if answer.n == n:
                    self._loose.remove(answer)
                    return
            self._answers = [answer for answer in self._answers if answer.n != n]
            self._sent.add(n)
        self._asked.put([n])

    def on_ready(self, wake: Callable[[], None]) -> None:
        """Call wake, from the desk's thread, when there is something settled or to be sent. It must not block."""
        self._wake = wake

    # ---- for the app -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """What is being done comes to its end, if that is in time. May be called twice."""
        self._stopping.set()
        self._asked.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def close(self) -> None:
        """After stop(), and after the link has sent what it could."""
        self._journal.close()

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._guarded(self._resume)
        while not self._stopping.is_set():
            self.signs.give(_STEP_WITHIN_S)
            try:
                item = self._asked.get(timeout=_EVERY_S)
            except queue.Empty:
                self._guarded(self._look_after)
                continue
            if isinstance(item, Asked):
                self._guarded(lambda asked=item: self._take(asked))  # type: ignore[misc]
                with self._lock:
                    self._waiting -= 1
                self.settled.append(item.ticket)
                self._wake()
            elif item is not None:
                self._guarded(lambda numbers=item: self._journal.sent(numbers))  # type: ignore[misc]
        self.signs.end()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except EventStoreError as exc:
            _log.error("commands: %s", exc)
        except Exception:  # a bug of one command: the others are still there to mend the box
            _log.exception("commands: going on after an error that should not happen")
        try:
            waiting = self._journal.answers()
        except EventStoreError:
            return
        with self._lock:
            self._sent &= {answer.n for answer in waiting}
            grown = len(waiting) - len(self._sent) > len(self._answers)
            self._answers = [answer for answer in waiting if answer.n not in self._sent]
        if grown:
            self._wake()

    def _resume(self) -> None:
        """What the last agent left. Looked at once at the start, and until it is over."""
        if self._journal.forgot:
            # Ids that were done are not known any more: what was signed before now might be one of them.
            self._journal.keep_fact("forgot", 1)
        self._pending = self._journal.pending()
        self._look_after()

    def _look_after(self) -> None:
        for request in list(self._pending):
            self._go_on(request, self._handlers[request.name].look)

    def _take(self, asked: Asked) -> None:
        stamp = self._clock.stamp()
        try:
            commanders = load_trust(self._trust).table.commander
        except ConfigError as exc:
            _log.error("commands: %s", exc)
            commanders = {}
        try:
            request = read_request(asked.token, commanders, self._box, self._now())
            self._require_memory(request, stamp.wall_ms if stamp.trusted else None)
        except NotTaken as exc:
            self._refuse(asked, exc, commanders)
            return
        try:
            known = self._journal.known(request.id)
            if known is not None:
                self._repeat(asked, request, *known)
                return
            self._journal.begin(request, asked.to, stamp.wall_ms / 1000 if stamp.trusted else None)
        except (JournalFull, EventStoreError) as exc:
            self._without_journal(asked, request, exc)
            return
        if request.name not in self._handlers:
            self._conclude(request, "refused", why=_NOT_HERE.format(name=request.name))
            return
        if not COMMANDS[request.name].looks and not self._note(request, "accepted"):
            why = f"the audit log in {self._audit.folder} cannot be written, so nothing is changed; is the disk full?"
            self._conclude(request, "refused", why=why)
            return
        self._go_on(request, self._handlers[request.name].do)

    def _without_journal(self, asked: Asked, request: Request, why: Exception) -> None:
        """A disk that takes nothing is a reason to look at the box, and none to change it."""
        if not COMMANDS[request.name].looks or request.name not in self._handlers:
            self._answer(asked, request.name, request.id, f"it cannot be written down, so it is not done: {why}")
            self._note(request, "refused", str(why))
            return
        reply = self._step(request, self._handlers[request.name].do)
        self._answer_loosely(asked, reply)
        self._note(request, reply.result, reply.why)

    def _go_on(self, request: Request, step: Callable[[Request], Done | Later]) -> None:
        reply = self._step(request, step)
        if reply.result != "accepted":
            self._conclude(request, reply.result, why=reply.why, data=reply.data)
        elif all(one.id != request.id for one in self._pending):
            self._pending.append(request)
            self._journal.conclude(request, reply)

    def _step(self, request: Request, step: Callable[[Request], Done | Later]) -> Reply:
        known = Reply(result="done", command=request.name, id=request.id, doubt=request.doubt)
        try:
            outcome = step(request)
        except CommandRefused as exc:
            return known.model_copy(update={"result": "refused", "why": str(exc)})
        except CommandFailed as exc:
            return known.model_copy(update={"result": "failed", "why": str(exc)})
        except Exception as exc:
            _log.exception("command %s: bug", request.name)
            return known.model_copy(
                update={"result": "failed", "why": f"a bug of the agent: {type(exc).__name__}: {exc}"}
            )
        result = "done" if isinstance(outcome, Done) else "accepted"
        return known.model_copy(update={"result": result, "data": outcome.data or None})

    def _conclude(
        self, request: Request, result: Result, *, why: str | None = None, data: dict[str, Any] | None = None
    ) -> None:
        self._pending = [one for one in self._pending if one.id != request.id]
        reply = Reply(result=result, command=request.name, id=request.id, why=why, data=data, doubt=request.doubt)
        self._journal.conclude(request, reply)
        self._note(request, result, why)

    def _repeat(self, asked: Asked, request: Request, digest: str, reply: Reply | None) -> None:
        if digest != request.digest:
            why = f"id {request.id} was used before for another command; every command needs an id of its own"
            self._answer(asked, request.name, request.id, why)
        elif reply is not None:
            self._journal.answer(asked.to, reply.model_copy(update={"earlier": True}))
        self._note(request, "repeated", "the id had come before; nothing was done")

    def _refuse(self, asked: Asked, exc: NotTaken, commanders: Mapping[str, CommanderTable]) -> None:
        self._answer(asked, exc.command, exc.id, str(exc))
        now_s = self._clock.mono_s()
        if now_s >= self._hour_until_s:
            self._tell_of_strangers()
            self._strangers, self._hour_until_s = 0, now_s + _HOUR_S
        self._strangers += 1
        if self._strangers > _STRANGERS:
            self._untold += 1  # whoever floods the box with rubbish shall not fill its disk as well
            return
        _log.warning("command refused: %s", exc)
        self._append(Entry(exc.command or "?", "refused", "unknown", "mqtt", id=exc.id, why=str(exc)))

    def _answer(self, asked: Asked, command: str | None, request_id: str | None, why: str) -> None:
        """A refusal of what is not written down."""
        self._answer_loosely(asked, Reply(result="refused", command=command, id=request_id, why=why))

    def _answer_loosely(self, asked: Asked, reply: Reply) -> None:
        """Not written down: lost if the agent ends before it is sent."""
        with self._lock:
            self._loose_n -= 1
            self._loose.append(Answer(self._loose_n, asked.to, reply))
        self._wake()

    def _tell_of_strangers(self) -> None:
        if self._untold:
            why = f"{self._untold} more within an hour that were not to be obeyed"
            self._append(Entry("?", "refused", "unknown", "mqtt", why=why))
            self._untold = 0

    def _note(self, request: Request, outcome: Outcome, why: str | None = None) -> bool:
        what = json.dumps(request.args.fields(), ensure_ascii=False)
        return self._append(
            Entry(
                request.name,
                outcome,
                request.by,
                "mqtt",
                role=request.role,
                id=request.id,
                what=None if what == "{}" else what,
                why=why,
            )
        )

    def _append(self, entry: Entry) -> bool:
        try:
            self._audit.note(entry)
        except OSError as exc:
            _log.error("the audit log cannot be written: %s", exc)
            return False
        return True

    def _now(self) -> Now:
        stamp = self._clock.stamp()
        floor_ms = self._journal.fact("floor_ms") or 0
        if stamp.trusted and abs(stamp.wall_ms - floor_ms) > _FLOOR_STEP_MS:
            with suppress(EventStoreError):  # a disk that takes nothing: next time
                self._journal.keep_fact("floor_ms", stamp.wall_ms)
        return Now(stamp.wall_ms if stamp.trusted else None, floor_ms)

    def _require_memory(self, request: Request, now_ms: int | None) -> None:
        """Where the journal was lost, only what was signed since is done. Raises NotTaken."""
        if self._journal.fact("forgot") is None:
            return
        since_ms = self._journal.fact("since_ms")
        if since_ms is None and now_ms is not None:
            since_ms = now_ms
            self._journal.keep_fact("since_ms", now_ms)
        if since_ms is None or request.signed_s * 1000 < since_ms:
            raise NotTaken(
                "the box has lost its memory of what it has done, so it does nothing that was signed before then; "
                "sign it anew",
                {"jti": request.id, "cmd": request.name},
            )
