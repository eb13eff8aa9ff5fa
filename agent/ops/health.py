"""The box's pulse: what the stages say of themselves, and what the kernel says of the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from agent.clock import Clock
from agent.contract.box import (
    BudgetHealth,
    CameraHealth,
    EvidenceHealth,
    Health,
    OutboxHealth,
    OutputHealth,
    SensorHealth,
)
from agent.evidence import EvidenceStore
from agent.ops.strain import Strain
from agent.outbox import Depth, Outbox
from agent.sensing import Sensing, SensorState
from agent.uplink import Uplink
from agent.vision.budget import InferenceBudget
from agent.vision.worker import CameraWorker
from drivers.inference import TfliteDetector


class HealthReport:
    def __init__(
        self,
        *,
        version: str,
        detector: TfliteDetector | None,
        outbox: Outbox,
        evidence: EvidenceStore,
        uplink: Uplink | None,
        workers: Sequence[CameraWorker],
        budget: InferenceBudget,
        strain: Strain,
        clock: Clock,
        sensing: Sensing | None = None,
    ) -> None:
        self._version = version
        self._detector = detector
        self._outbox = outbox
        self._evidence = evidence
        self._uplink = uplink
        self._workers = workers
        self._budget = budget
        self._strain = strain
        self._clock = clock
        self._sensing = sensing
        self._started_s = clock.mono_s()
        self._made_s = float("-inf")

    def is_due(self, interval_s: float) -> bool:
        return self._clock.mono_s() - self._made_s >= interval_s

    def make(self) -> Health:
        """To be published: the next is due an interval later."""
        self._made_s = self._clock.mono_s()
        return self.look()

    def look(self) -> Health:
        now = self._clock.stamp()
        status = self._uplink.status() if self._uplink else None
        return Health(
            time=now.wall_ms,
            uptime_s=round(self._clock.mono_s() - self._started_s, 1),
            agent=self._version,
            clock_trusted=now.trusted,
            runtime=self._detector.runtime if self._detector else None,
            model=self._detector.pack.label if self._detector else None,
            cameras={worker.camera_id: _camera(worker) for worker in self._workers},
            sensors=self._sensors(),
            outputs=self._outputs(),
            outbox=_outbox(self._outbox.depth(), now.wall_ms),
            link=status.health() if status else None,
            evidence=_pictures(self._evidence, status.pictures_given_up if status else 0),
            budget=_budget(self._budget, self._strain),
            cpu_c=self._strain.board.cpu_c,
            rss_bytes=rss_bytes(),
            disk_free_bytes=disk_free_bytes(self._outbox.path.parent),
        )

    def line(self) -> str:
        """In a few words, for `systemctl status`: what of the box works. Changes when that does."""
        cameras = [worker.state().phase in ("connected", "ended") for worker in self._workers]
        states = self._sensing.states() if self._sensing else {}
        sensors = [state.state == "ok" for state in states.values()]
        parts = [f"{sum(of)} of {len(of)} {what}" for what, of in (("cameras", cameras), ("sensors", sensors)) if of]
        link = "not configured" if self._uplink is None else "up" if self._uplink.status().broker else "away"
        return ", ".join([*parts, f"broker {link}"])

    def _sensors(self) -> dict[str, SensorHealth] | None:
        """None on a box without: the pulse of one that has only cameras stays as small as it was."""
        states = self._sensing.states() if self._sensing else {}
        now_s = self._clock.mono_s()
        return {sensor_id: _sensor(state, now_s) for sensor_id, state in states.items()} or None

    def _outputs(self) -> dict[str, OutputHealth] | None:
        states = self._sensing.output_states() if self._sensing else {}
        return {name: OutputHealth(on=state.on, error=state.error) for name, state in states.items()} or None


def _sensor(state: SensorState, now_s: float) -> SensorHealth:
    return SensorHealth(
        state=state.state,
        name=state.name,
        age_s=None if state.good_mono_s is None else round(max(now_s - state.good_mono_s, 0.0), 1),
        values=state.values,
        error=state.error,
    )


def _camera(worker: CameraWorker) -> CameraHealth:
    state = worker.state()
    phase = state.phase
    health = worker.pipeline.health
    return CameraHealth(
        state="open" if phase == "connected" else phase if phase in ("opening", "ended") else "silent",
        fps=round(state.fps, 1),
        dropped=state.frames_dropped,
        inferred=worker.pipeline.inferred,
        error=state.error,
        faults=(health.faults() or None) if health is not None else None,
        bugs=worker.bugs or None,
    )


def _budget(budget: InferenceBudget, strain: Strain) -> BudgetHealth:
    state = budget.state()
    return BudgetHealth(
        limit_per_s=round(state.limit_per_s, 1),
        max_per_s=state.max_per_s,
        causes=strain.causes() or None,
        granted=state.granted,
        refused=state.refused,
    )


def _pictures(store: EvidenceStore, given_up: int) -> EvidenceHealth | None:
    """None for a box that has none to speak of."""
    holding = store.holding()
    if not holding.pictures and not holding.not_stored:
        return None
    return EvidenceHealth(
        pictures=holding.pictures,
        bytes=holding.bytes,
        max_bytes=holding.max_bytes,
        waiting=holding.waiting,
        not_stored=holding.not_stored,
        given_up=given_up,
        error=holding.error,
    )


def _outbox(depth: Depth, now_ms: int) -> OutboxHealth:
    oldest_ms = depth.oldest_ms
    return OutboxHealth(
        rows=depth.rows,
        bytes=depth.bytes,
        max_bytes=depth.max_bytes,
        oldest_s=max(now_ms - oldest_ms, 0) / 1000 if oldest_ms is not None else None,
        last=depth.last,
    )


def pulse_path(outbox_path: Path) -> Path:
    """Where the running agent leaves its health for whoever looks at the box: in the outbox's folder."""
    return outbox_path.with_name("health.json")


def read_pulse(path: Path) -> tuple[Health, float] | None:
    """What the agent said of itself last, and how many seconds ago by the file's time; None if there is none."""
    try:
        age_s = time.time() - path.stat().st_mtime
        return Health.model_validate_json(path.read_bytes()), age_s
    except (OSError, ValueError):
        return None


def rss_bytes() -> int:
    """Resident memory of this process; the decoders' processes are not in it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def disk_free_bytes(folder: Path) -> int | None:
    try:
        return os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    except OSError:
        return None
