"""Wiring only: from a configuration to running stages. Knows every name and does no work of its own."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent import __version__
from agent.alive import Signs
from agent.audit import AuditLog, AuditReporter, Entry, folder_beside
from agent.camera import local_time, make_driver, make_pipeline, read_credentials, wants_evidence
from agent.clock import Clock, SystemClock
from agent.commands import Desk, Handler, Journal
from agent.commands.handlers.diagnostics import diagnostics
from agent.commands.handlers.evidence import TakePicture, snapshot
from agent.commands.handlers.evidence import evidence as evidence_command
from agent.commands.handlers.ping import ping
from agent.commands.handlers.restart import Restart
from agent.config import DEFAULT_PATH, Config, version_of
from agent.contract.box import Health
from agent.contract.event import BoxStrained, Lasting, Outcome, SensorAlert
from agent.durable import Memo
from agent.errors import ConfigError, EventStoreError
from agent.evidence import EvidenceStore, Witness, pixelated
from agent.memory import CameraMemory
from agent.ops import commissioning
from agent.ops.findings import Finding
from agent.ops.health import HealthReport, pulse_path
from agent.ops.notify import Notifier
from agent.ops.strain import Strain
from agent.ops.watchdog import Watchdog
from agent.outbox import Outbox
from agent.raised import Put, RaisedAlerts
from agent.sensing import Sensing
from agent.sensors import make_sensing
from agent.tls import IdentityFolder
from agent.update import Heart, UpdateReporter, system_places
from agent.uplink import Broker, Login, Tls, Uplink, UplinkSettings
from agent.vision.budget import InferenceBudget
from agent.vision.scene import Scene
from agent.vision.worker import CameraWorker
from agent.web.diary import Diary
from drivers.board import board
from drivers.cameras import Credentials
from drivers.inference import TfliteDetector, open_detector

if TYPE_CHECKING:
    from agent.web.server import WebServer

_log = logging.getLogger(__name__)
_MB = 1024 * 1024
_DRAIN_S = 10.0
_ROUND_WITHIN_S = 120.0  # one round of the main thread: board, health, and what is too old deleted from a slow card
_END_STEP_S = 60.0  # none of the steps at the end takes longer; a camera's is the longest, with 20 s


def run(
    config: Config,
    stop: threading.Event,
    *,
    pictures: Path | None = None,
    config_path: Path = DEFAULT_PATH,
    examine: Callable[[], Sequence[Finding]] = tuple,
) -> None:
    """Run until stop is set, or until every camera is a recording that was played to its end (a box without a camera
    has no end).

    pictures: a folder for one annotated picture per camera, written at the end. examine: what a doctor finds on this
    box, for the page.
    Raises ConfigError or ModelPackError for what a restart cannot mend, EventStoreError if another agent has the
    outbox.
    """
    clock = SystemClock()
    systemd = Notifier()
    credentials = {camera.id: read_credentials(camera) for camera in config.camera}
    detector = make_detector(config)
    looked_ms = None if detector is None else _first_look(detector)
    budget = InferenceBudget(config.detector.max_inferences_per_s)
    sensing = make_sensing(config, clock)
    settings = uplink_settings(config)
    outbox = make_outbox(config, clock)
    raised = RaisedAlerts(config.outbox.path.with_name("alerts.raised"), clock=clock)
    put = raised.noting(outbox.put)
    diary = Diary(config.box.timezone)
    if config.web is not None:
        put = diary.noting(put)
    evidence = make_evidence(config, clock)
    strain = Strain(
        board(),
        budget,
        lambda: 0.0 if detector is None else detector.busy_s,
        put,
        hot_c=config.detector.hot_c,
        clock=clock,
    )
    bundles = make_bundles(config, clock)
    audit = AuditLog(folder_beside(config.outbox.path), clock=clock)
    places = system_places(config_path)
    ending = threading.Event()
    workers = (
        []
        if detector is None
        else make_workers(config, credentials, detector, budget, put, evidence, clock, pictures=pictures)
    )
    desk = make_desk(
        config,
        places.trust,
        audit,
        {
            "ping": ping(outbox, version=__version__, config_version=version_in(config_path)),
            "evidence": evidence_command(evidence),
            "snapshot": snapshot({w.camera_id: taker(w, detector) for w in workers if detector is not None}, evidence),
            "diagnostics": diagnostics(config_path, bundles),
            "restart": Restart(ending.set, version=__version__),
        },
        clock,
    )
    uplink = (
        Uplink(settings, outbox, clock=clock, pictures=evidence, bundles=bundles, desk=desk)
        if settings.brokers
        else None
    )
    report = HealthReport(
        version=__version__,
        detector=detector,
        outbox=outbox,
        evidence=evidence,
        uplink=uplink,
        workers=workers,
        budget=budget,
        strain=strain,
        clock=clock,
        sensing=sensing,
    )
    web = make_web(config, workers, report.look, diary, evidence, examine, audit, clock)
    updates = UpdateReporter(places, config.outbox.path.with_name("updates.told"), put, clock=clock)
    audited = AuditReporter(audit, config.outbox.path.with_name("audit.told"), put, clock=clock)
    heart = Heart(places, lambda: report.look().fields(), version=__version__, looked_ms=looked_ms, clock=clock)
    pulse = Memo(pulse_path(config.outbox.path))
    main = Signs("main", clock)
    stages = [main, outbox.signs, *([uplink.signs] if uplink else []), sensing.signs]
    if desk is not None:
        stages.append(desk.signs)
    watchdog = Watchdog([*stages, *(signs for worker in workers for signs in worker.signs)], systemd)
    _resume(raised, put, workers, sensing, strain)
    commissioning.take_up(commissioning.beside(config.outbox.path), put, evidence, clock)
    if uplink is None:
        _log.warning("no [[broker]] in the configuration: events are stored and wait")
    else:
        uplink.start()
    if desk is not None:
        desk.start()
    for worker in workers:
        worker.start()
    sensing.start(put)
    if web is not None:
        web.start()
    sight = f"{detector.pack.label} on {detector.runtime}" if detector else "no detector, as there is no camera"
    _log.info("running: %d camera(s), %d sensor(s), %s", len(workers), len(config.sensor), sight)
    main.give(_ROUND_WITHIN_S)
    watchdog.start()
    systemd.ready()
    told = ""
    try:
        while not (
            stop.wait(min(1.0, config.health.interval_s))
            or ending.is_set()
            or (workers and all(w.ended() for w in workers))
        ):
            main.give(_ROUND_WITHIN_S)
            if (line := report.line()) != told:
                systemd.status(line)
                told = line
            strain.update()
            if report.is_due(config.health.interval_s):
                health = report.make()
                pulse.write(health.model_dump_json(exclude_none=True).encode())
                if uplink is not None:
                    uplink.publish_health(health)
            evidence.tidy()
            bundles.tidy()
            updates.update()
            audited.update()
            heart.update(updates.told)
    finally:
        watchdog.stop()
        systemd.stopping(_END_STEP_S)
        if web is not None:
            web.stop()
        sensing.stop()
        for worker in workers:
            systemd.stopping(_END_STEP_S)
            worker.stop()
        systemd.stopping(_END_STEP_S)
        if desk is not None:
            desk.stop()
        audited.update()
        if uplink is not None:
            if not stop.is_set() and not ending.is_set():
                uplink.drain(_DRAIN_S)
            uplink.stop()
        if desk is not None:
            desk.close()
        outbox.close()
        if detector is not None:
            detector.close()
    for worker in workers:
        if pictures is not None and worker.scene is not None:
            path = pictures / f"{worker.camera_id}.jpg"
            try:
                _log.info("picture: %s", worker.scene.write(path))
            except OSError as exc:
                _log.error("cannot write the picture %s: %s", path, exc)


def _first_look(detector: TfliteDetector) -> float:
    """Milliseconds. It also prepares the network, and one that cannot look ends the agent here and not later."""
    began_s = time.monotonic()
    detector.detect(np.full((480, 640, 3), 114, np.uint8), 0.5)
    return round((time.monotonic() - began_s) * 1000, 1)


def make_detector(config: Config) -> TfliteDetector | None:
    """None for a box without a camera: it needs neither the memory nor the pack. Raises ModelPackError, DriverError."""
    if not config.camera:
        return None
    settings = config.detector
    return open_detector(
        settings.pack, settings.threads, delegate=settings.delegate, delegate_options=settings.delegate_options
    )


def make_workers(
    config: Config,
    credentials: Mapping[str, Credentials | None],
    detector: TfliteDetector,
    budget: InferenceBudget,
    put: Put,
    evidence: EvidenceStore,
    clock: Clock,
    *,
    pictures: Path | None,
) -> list[CameraWorker]:
    """One for each camera, not started. credentials: by the camera's id."""
    memories = {camera.id: CameraMemory(config.outbox.path.parent / "cameras", camera.id) for camera in config.camera}
    return [
        CameraWorker(
            camera.id,
            make_driver(camera, credentials[camera.id]),
            make_pipeline(
                camera,
                detector,
                local_time=local_time(clock, config.box.timezone),
                view=memories[camera.id].view(),
                first_track=memories[camera.id].first_track(),
                budget=budget,
            ),
            put,
            clock=clock,
            stall_timeout_s=camera.stall_timeout_s,
            scene=Scene(camera.line, camera.zone) if pictures else None,
            witness=Witness(evidence, detector, pixelate=config.evidence.pixelate) if wants_evidence(camera) else None,
            memory=memories[camera.id],
        )
        for camera in config.camera
    ]


def _resume(raised: RaisedAlerts, put: Put, workers: Sequence[CameraWorker], sensing: Sensing, strain: Strain) -> None:
    """What was raised when the agent ended goes on where somebody watches for it, and is cleared where nobody does."""
    cameras = {worker.camera_id: worker for worker in workers}

    def goes_on(source: str, body: Lasting, since_s: float) -> bool:
        if isinstance(body, BoxStrained):
            strain.resume(body, since_s)
            return True
        if isinstance(body, SensorAlert):
            return sensing.resume(source, body, since_s)
        if source not in cameras:
            return False
        cameras[source].resume(body, since_s)
        return True

    over = raised.resume(goes_on)
    try:
        put(*over)
    except EventStoreError as exc:
        _log.error("%d alert(s) are over and cannot be cleared before the next start: %s", len(over), exc)


def make_desk(
    config: Config, trust: Path, audit: AuditLog, handlers: Mapping[str, Handler], clock: Clock
) -> Desk | None:
    """None where what was asked cannot be remembered: then nothing is done, and it waits in the broker."""
    try:
        journal = Journal(config.outbox.path.with_name("commands.db"))
    except EventStoreError as exc:
        _log.error("no command is taken before the next start: %s", exc)
        return None
    return Desk(f"{config.box.site}/{config.box.id}", trust, journal, audit, handlers, clock=clock)


def taker(worker: CameraWorker, detector: TfliteDetector) -> TakePicture:
    def take(timeout_s: float) -> np.ndarray | None:
        frame = worker.next_frame(timeout_s)
        return None if frame is None else pixelated(frame, detector)

    return take


def version_in(config_path: Path) -> str:
    """Of the configuration that is on the disk."""
    try:
        return version_of(config_path.read_bytes())
    except OSError:
        return "unknown"


def make_bundles(config: Config, clock: Clock) -> EvidenceStore:
    """What the doctor wrote for the command `diagnostics`: few, and not for long."""
    folder = config.outbox.path.with_name("diagnostics")
    return EvidenceStore(folder, max_bytes=8 * _MB, max_days=2.0, clock=clock, suffix=".tar.gz")


def make_outbox(config: Config, clock: Clock) -> Outbox:
    path = config.outbox.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"outbox.path: cannot make the folder {path.parent}: {exc.strerror}; wanted a folder the agent may write"
        ) from exc
    return Outbox(
        path,
        max_bytes=config.outbox.max_mb * _MB,
        alert_reserve_bytes=config.outbox.alert_reserve_mb * _MB,
        clock=clock,
    )


def make_evidence(config: Config, clock: Clock) -> EvidenceStore:
    """Also where no rule asks for pictures: those from before are still asked for, and grow old."""
    settings = config.evidence
    return EvidenceStore(
        settings.path,
        max_bytes=settings.max_mb * _MB,
        max_days=settings.max_days,
        send=settings.send == "always",
        clock=clock,
    )


def make_web(
    config: Config,
    workers: Sequence[CameraWorker],
    look: Callable[[], Health],
    diary: Diary,
    evidence: EvidenceStore,
    examine: Callable[[], Sequence[Finding]],
    audit: AuditLog,
    clock: Clock,
) -> WebServer | None:
    """The technician's page, not started; None where none is configured. Raises ConfigError if what it is made of is
    not installed."""
    settings = config.web
    if settings is None:
        return None
    try:
        from agent.web.server import Certificate, WebServer
        from agent.web.site import Box, Site
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"[web]: the library {exc.name!r} is missing; install what the page is made of, "
            "pip install 'gateway-agent[web]', or take the table [web] out of the configuration"
        ) from exc
    site = Site(
        Box(
            site=config.box.site,
            id=config.box.id,
            settings=settings,
            cameras=config.camera,
            taps={worker.camera_id: worker.tap for worker in workers},
            look=look,
            diary=diary,
            evidence=evidence,
            examine=examine,
            clock=clock,
            audit=noted_for(audit),
        )
    )
    identity = IdentityFolder(config.box.identity)
    return WebServer(site, settings, Certificate(identity, settings.own_certificate, config.box.id))


def noted_for(audit: AuditLog) -> Callable[..., None]:
    """What is done on the page, into the audit log."""

    def note(did: str, by: str, **facts: object) -> None:
        outcome: Outcome = "refused" if did.endswith(" refused") else "done"
        try:
            audit.note(Entry(did, outcome, by, "web", what=json.dumps(facts, ensure_ascii=False) if facts else None))
        except OSError as exc:
            _log.error("the audit log cannot be written: %s; %s by %s", exc, did, by)

    return note


def uplink_settings(config: Config) -> UplinkSettings:
    uplink = config.uplink
    identity = IdentityFolder(config.box.identity)
    return UplinkSettings(
        site=config.box.site,
        box=config.box.id,
        brokers=tuple(
            Broker(
                broker.host,
                broker.port or (8883 if broker.tls else 1883),
                Tls(broker.ca_file, broker.cert_file, broker.key_file, identity) if broker.tls else None,
            )
            for broker in config.broker
        ),
        login=Login(uplink.username, uplink.password_file) if uplink.username else None,
        payload=uplink.payload,
        keepalive_s=uplink.keepalive_s,
        max_bytes_per_s=uplink.max_bytes_per_s,
        burst_bytes=uplink.burst_kb * 1024,
        agent_version=__version__,
    )
