"""What the page shows and who may see it: everything it needs of the box, put together by the wiring.

The page reads what the stages say of themselves; no stage knows of it. What changes something goes through a door
of its own, with who did it for the audit log.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agent.clock import Clock
from agent.config import CameraConfig, WebConfig
from agent.contract.box import Health
from agent.evidence import EvidenceStore
from agent.vision.live import Tap
from agent.web.advice import Advisor, Examine
from agent.web.diary import Diary
from agent.web.history import History
from agent.web.live import Live
from agent.web.lockout import Lockout
from agent.web.metrics import Metrics
from agent.web.password import Passwords, password_files
from agent.web.session import Sessions

_log = logging.getLogger(__name__)

Audit = Callable[..., None]
"""audit(what, by, **facts): who did what; facts are values of JSON."""


def log_audit(what: str, by: str, **facts: object) -> None:
    """Where nothing keeps an audit log: to the journal."""
    told = ", ".join(f"{name}={value!r}" for name, value in facts.items())
    _log.info("audit: %s by %r%s", what, by, f": {told}" if told else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What the wiring gives. look: the box's health now. examine: what the doctor finds; may take long."""

    site: str
    id: str
    settings: WebConfig
    cameras: Sequence[CameraConfig]
    taps: Mapping[str, Tap]
    look: Callable[[], Health]
    diary: Diary
    evidence: EvidenceStore
    examine: Examine
    clock: Clock
    audit: Audit = log_audit


class Site:
    """The box, and what the page itself keeps: all of it in memory, and bounded."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.cameras = {camera.id: camera for camera in box.cameras}
        self.passwords = Passwords(password_files(box.settings.folder))
        self.sessions = Sessions(self.passwords, box.clock)
        self.lockout = Lockout(box.clock)
        self.logins: Counter[str] = Counter()
        self.history = History()
        self.advisor = Advisor(box.examine, box.clock)
        # One thread each: a login must not wait for pictures, and what they take of memory is bounded.
        self.encoder = ThreadPoolExecutor(1, "web-picture")
        self.verifier = ThreadPoolExecutor(1, "web-login")
        self.live = Live(box.taps, box.diary.counts, self.encoder)
        self.metrics = Metrics(
            box.look,
            box.diary,
            logins=lambda: dict(self.logins),
            watchers=lambda: self.live.watchers,
            sessions=lambda: len(self.sessions),
        )

    def close(self) -> None:
        self.encoder.shutdown(wait=True, cancel_futures=True)
        self.verifier.shutdown(wait=True, cancel_futures=True)
        self.advisor.wait(2.0)
