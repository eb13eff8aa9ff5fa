"""The verb `doctor`: look at the box as it stands and runs, and say what is wrong and what to do.

`check` tries everything once; this asks the running service first, by the health that it leaves on the disk, and tries
only what the service says is wrong, or what nobody has in use. So it takes no camera, no sensor and no broker's name
away from a service that is at work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from agent import __version__, app, config, probes
from agent.camera import wants_evidence
from agent.clock import EARLIEST_MS, SystemClock
from agent.config import CameraConfig, Config, WebConfig
from agent.contract.box import Health, SensorHealth
from agent.errors import ConfigError, EventStoreError, UplinkDown
from agent.ops import certificates, link_trouble, machine, service
from agent.ops.bundle import GONE, Bundle, Redactor, known_secrets
from agent.ops.findings import Finding, finding, in_order
from agent.ops.health import pulse_path, read_pulse
from agent.ops.strain import what_is_wrong
from agent.ops.words import say
from agent.outbox.show import Figures, figures
from agent.secret_file import open_mode
from agent.sensing import SensorWatch
from agent.sensors import make_outputs, make_sensors, manner
from agent.tls import IdentityFolder
from agent.uplink import Broker, UplinkSettings
from agent.uplink.knock import knock
from agent.web.password import password_files
from drivers.base import (
    CameraRefused,
    CameraStalled,
    CameraUnavailable,
    DriverError,
    ModelPackError,
    Output,
    Sensor,
    SensorInvalid,
)
from drivers.board import board
from drivers.cameras import holders, network_address, video_device
from drivers.inference import find_pack, list_packs, load_pack

_AT_ONCE = 4  # cameras and brokers that do not answer are waited for side by side
_OUTBOX_FULL, _OUTBOX_OLD_H = 0.8, 6.0
_PULSES = 3  # as many may be missed before the last one counts for nothing
_LATE_S = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON, for programs")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="also write a .tar.gz with the findings, the configuration, logs and figures, without secrets, to send on",
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 if somebody has to act. A wrong configuration is a finding here, not exit 78."""
    seen = Examination(args.config)
    seen.examine()
    told = in_order(seen.findings)
    problems = sum(one.level == "problem" for one in told)
    if args.json:
        print(json.dumps(seen.as_json(), ensure_ascii=False, indent=2))
    else:
        _print(told, problems)
    if args.bundle is not None:
        _write_bundle(seen, args.bundle)
    return 1 if problems else 0


def _print(told: list[Finding], problems: int) -> None:
    for one in told:
        is_problem = one.level == "problem"
        print(say("doctor-problem" if is_problem else "doctor-note", about=one.about, found=one.found))
        print(say("doctor-wanted", wanted=one.wanted))
        print(say("doctor-todo", todo=one.todo))
    print(say("problems", n=problems) if told else say("all-fine"))


@dataclass
class Examination:
    """What one look at the box found. examine() fills it; what was not found out stays None.

    is_at_work: the service runs and has said not long ago how it is.
    """

    config_path: Path
    findings: list[Finding] = field(default_factory=list)
    settings: Config | None = None
    service: service.Service | None = None
    health: Health | None = None
    health_age_s: float = 0.0
    is_at_work: bool = False
    outbox: Figures | None = None
    kernel: list[str] | None = None
    _blind: list[str] = field(default_factory=list)

    def examine(self) -> None:
        self.service = service.ask(time.monotonic())
        self.findings += service.judge(self.service)
        try:
            self.settings = config.load(self.config_path)
        except ConfigError as exc:
            if self._is_not_for_us(exc.__cause__):
                self.findings.append(finding("config-unreadable", path=self.config_path))
            else:
                self.findings.append(finding("config-wrong", why=exc))
        self._ask_the_service()
        self._look_at_the_machine()
        if self.settings is not None:
            self._look_at_what_is_configured(self.settings)
        if self._blind:
            self.findings.append(finding("doctor-blind", what=", ".join(dict.fromkeys(self._blind))))

    def as_json(self) -> dict[str, Any]:
        told = in_order(self.findings)
        box = self.settings.box if self.settings else None
        return {
            "agent": __version__,
            "time": time.time_ns() // 1_000_000,
            "site": box.site if box else None,
            "box": box.id if box else None,
            "service": asdict(self.service) if self.service else None,
            "at_work": self.is_at_work,
            "problems": sum(one.level == "problem" for one in told),
            "findings": [one.as_json() for one in told],
        }

    def _is_running(self) -> bool:
        return self.service is not None and self.service.is_running

    def _is_not_for_us(self, exc: BaseException | None) -> bool:
        """Whether it is this user's right that is missing, and not the service's; then what was not seen is noted."""
        if not isinstance(exc, PermissionError) or exc.filename is None or probes.is_root_or_service():
            return False
        self._blind.append(str(exc.filename))
        return True

    def _ask_the_service(self) -> None:
        if self.settings is None:
            return
        interval_s = self.settings.health.interval_s
        within_s = _PULSES * interval_s + _LATE_S
        pulse = read_pulse(pulse_path(self.settings.outbox.path))
        if pulse is not None:
            self.health, self.health_age_s = pulse
        is_fresh = pulse is not None and 0 <= self.health_age_s < within_s
        # Without a service, a pulse that is fresh says that somebody runs the agent by hand.
        by_hand = self.service is None or self.service.load == "not-found"
        self.is_at_work = is_fresh and (by_hand or self._is_running())
        if self.service is not None and self.service.is_running and not is_fresh and self.service.up_s > within_s:
            seconds = self.service.up_s if pulse is None else self.health_age_s
            self.findings.append(finding("service-silent", seconds=round(seconds), interval_s=interval_s))

    # ---- the machine ----

    def _look_at_the_machine(self) -> None:
        this = board()
        state = this.state()
        hot_c = self.settings.detector.hot_c if self.settings else 75.0
        kinds = {
            "hot": finding("board-hot", celsius=round(state.cpu_c or 0), limit=round(hot_c)),
            "slowed": finding("board-slowed"),
            "undervoltage": finding("power-low"),
        }
        now = what_is_wrong(state, hot_c)
        self.findings += [kinds[cause] for cause in now if cause in kinds]
        if state.was_slowed and "slowed" not in now:
            self.findings.append(finding("board-was-slowed"))
        if state.was_undervolted and "undervoltage" not in now:
            self.findings.append(finding("power-was-low"))
        written, others = [], [Path("/"), Path("/var/log")]
        if self.settings is not None:
            written = [self.settings.outbox.path.parent, self.settings.evidence.path]
        self.findings += machine.disks(written, others)
        ours = machine.devices([*written, *others], this.sysfs)
        self.findings += machine.disk_errors(this.sysfs, ours)
        self.findings += machine.memory()
        self.kernel = machine.kernel_log()
        if self.kernel is None:
            self._blind.append("/dev/kmsg")
        else:
            told = [one for one in machine.in_kernel_log(self.kernel, ours) if one not in self.findings]
            self.findings += told
        self._clock()

    def _clock(self) -> None:
        now_ms = time.time() * 1000
        date = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        if now_ms < EARLIEST_MS:
            self.findings.append(finding("clock-absurd", date=date))
        elif not SystemClock().trusted() and not (self.is_at_work and self.health and self.health.clock_trusted):
            self.findings.append(finding("clock-unset", date=date))

    # ---- what the configuration names ----

    def _look_at_what_is_configured(self, settings: Config) -> None:
        self.findings += _model(settings)
        self._secrets(settings)
        self._store(settings)
        uplink = app.uplink_settings(settings)
        tasks: list[Callable[[], Iterator[Finding]]] = [
            *(partial(self._broker, broker, uplink) for broker in uplink.brokers),
            *(partial(self._camera, camera) for camera in settings.camera),
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for found in pool.map(lambda task: list(task()), tasks):
                self.findings += found
        if not uplink.brokers:
            self.findings.append(finding("broker-none"))
        self._sensors(settings)

    def _secrets(self, settings: Config) -> None:
        """Files of passwords and keys, and until when certificates are valid."""
        now = datetime.now(UTC)
        for path in secret_files(settings):
            try:
                mode = open_mode(path)
            except OSError as exc:
                if not self._is_not_for_us(exc):
                    why = f"{path}: {exc.strerror}"
                    self.findings.append(finding("secret-unreadable", str(path), why=why, path=path))
                continue
            if mode is not None:
                self.findings.append(finding("secret-open", str(path), path=path, mode=mode))
        identity = IdentityFolder(settings.box.identity)
        self.findings += certificates.judge_own(identity.pair, now, f"{settings.box.site}/{settings.box.id}")
        for file in {broker.cert_file for broker in settings.broker if broker.cert_file}:
            self.findings += certificates.judge_own(file, now)
        for file in {identity.ca, *(broker.ca_file for broker in settings.broker if broker.ca_file)}:
            self.findings += certificates.judge_authorities(file, now)

    def _store(self, settings: Config) -> None:
        path = settings.outbox.path
        if probes.is_root_or_service():
            folder, why = probes.why_not_writable(path.parent)
            if why is not None and not self._is_reported(folder):
                self.findings.append(finding("outbox-folder", why=why, path=folder))
            if any(wants_evidence(camera) for camera in settings.camera):
                folder, why = probes.why_not_writable(settings.evidence.path)
                if why is not None and not self._is_reported(folder):
                    self.findings.append(finding("evidence-folder", why=why, path=folder))
        if not os.access(machine.nearest(path.parent), os.R_OK | os.X_OK, effective_ids=True):
            self._blind.append(str(path.parent))
        elif os.path.exists(path):
            try:
                self.outbox = figures(path)
            except EventStoreError as exc:
                self.findings.append(finding("outbox-unreadable", path=path, why=str(exc).removeprefix(f"{path}: ")))
            else:
                self.findings += _waiting(self.outbox, settings)

    def _is_reported(self, folder: Path) -> bool:
        """A disk that can only be read explains why nobody may write in its folders."""
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)

    def _broker(self, broker: Broker, uplink: UplinkSettings) -> Iterator[Finding]:
        now = datetime.now(UTC)
        name = str(broker)
        if broker.tls is None:
            unreached = probes.reach(broker.host, broker.port)
            if unreached is not None:
                yield link_trouble.in_reaching(broker, *unreached)
                return
            yield finding("broker-plain", name)
        else:
            try:
                certificate = knock(broker, broker.tls)
            except ConfigError as exc:
                if not self._is_not_for_us(exc.__cause__):
                    yield finding("cert-unusable", name, why=exc)
                return
            except UplinkDown as exc:
                yield link_trouble.in_knocking(exc, broker, now)
                return
            yield from [] if certificate is None else link_trouble.in_certificate(certificate, broker, now)
        if self._is_connected_to(name):
            # With some brokers a second connection ends the first: the service's word has to do.
            yield from self._refused_by(broker, uplink)
            return
        try:
            probes.log_in(broker, uplink)
        except ConfigError as exc:
            if uplink.login is None or uplink.login.password_file is None:
                yield finding("cert-unusable", name, why=exc)
            # else the password's file: told among the secrets
        except UplinkDown as exc:
            yield link_trouble.in_logging_in(exc, broker, uplink.site, uplink.box)
        else:
            link = self.health.link if self.is_at_work and self.health else None
            if link is not None and link.state == "down" and link.error and name in link.error:
                yield link_trouble.in_delivering(link.error, broker, uplink.site, uplink.box)

    def _is_connected_to(self, broker: str) -> bool:
        link = self.health.link if self.is_at_work and self.health else None
        return link is not None and link.state == "up" and link.broker == broker

    def _refused_by(self, broker: Broker, uplink: UplinkSettings) -> Iterator[Finding]:
        """What the broker that the service is connected to does not take, as long as something waits for it."""
        assert self.health is not None
        error = self.health.link.error if self.health.link else None
        if error and self.health.outbox is not None and self.health.outbox.rows:
            yield link_trouble.in_delivering(error, broker, uplink.site, uplink.box)

    def _camera(self, camera: CameraConfig) -> Iterator[Finding]:
        """Tried only if the service does not say that it has pictures."""
        said = self.health.cameras.get(camera.id) if self.is_at_work and self.health else None
        if said is not None and said.state in ("open", "ended"):
            if said.faults:
                yield finding("camera-faults", camera.id, faults=", ".join(said.faults))
            return
        error = (said.error or said.state) if said is not None else ""
        address = network_address(camera.source)
        device = video_device(camera.source)
        is_taken = self.is_at_work or self._is_running()
        if device is not None:
            users = holders(device)
            if users and said is None:
                yield finding("camera-busy", camera.id, who=", ".join(users))
                return
        if address is None and not camera.source.startswith("file:") and is_taken:
            # One of them may have it, and the service is it.
            yield finding("camera-bad", camera.id, why=error) if said else finding("camera-busy", camera.id, who="?")
            return
        if address is not None and (unreached := probes.reach(*address)) is not None:
            kind, why = unreached
            yield finding(f"camera-{kind}", camera.id, host=address[0], port=address[1], why=why)
            return
        try:
            found = _looked_at(camera, address)
        except ConfigError as exc:
            if not self._is_not_for_us(exc.__cause__):
                path = camera.credentials_file
                yield finding("secret-unreadable", str(path), why=exc, path=path)
            return
        if found is not None:
            yield found
        elif said is not None:
            yield finding("camera-back", camera.id, why=error)

    def _sensors(self, settings: Config) -> None:
        if self.is_at_work and self.health is not None:
            for sensor in settings.sensor:
                self.findings += _as_said(sensor.id, (self.health.sensors or {}).get(sensor.id))
            for name, state in (self.health.outputs or {}).items():
                if state.error:
                    self.findings.append(finding("output-bad", name, why=state.error))
            return
        if self._is_running():
            self.findings += [finding("sensor-busy", sensor.id) for sensor in settings.sensor]
            return
        clock = SystemClock()
        for sensor, driver in zip(settings.sensor, make_sensors(settings.sensor), strict=True):
            self.findings += _asked(driver, SensorWatch(driver, manner(sensor), clock=clock))
        for output in make_outputs(settings):
            self.findings += _taken(output)


def secret_files(settings: Config) -> list[Path]:
    """Every file with a password or a key that the configuration names, each once."""
    named = [camera.credentials_file for camera in settings.camera]
    named += [settings.uplink.password_file, *(broker.key_file for broker in settings.broker)]
    named += [settings.web.metrics_token_file, *_page_files(settings.web)] if settings.web is not None else []
    pair = IdentityFolder(settings.box.identity).pair
    named += [pair] if os.path.exists(pair) else []
    return list(dict.fromkeys(path for path in named if path is not None))


def _page_files(web: WebConfig) -> list[Path]:
    """Those of the page's passwords that were set: who has none cannot log in, and that is no fault of the box."""
    files = (*password_files(web.folder).values(), web.own_certificate)
    return [path for path in files if os.path.exists(path)]


def _model(settings: Config) -> Iterator[Finding]:
    if not settings.camera:
        return
    try:
        load_pack(find_pack(settings.detector.pack))
    except ModelPackError as exc:
        yield finding("model-wrong", why=exc)


def _waiting(outbox: Figures, settings: Config) -> Iterator[Finding]:
    max_bytes = settings.outbox.max_mb << 20
    if outbox.bytes > max_bytes * _OUTBOX_FULL:
        percent = round(100 * outbox.bytes / max_bytes)
        yield finding("outbox-full", rows=outbox.rows, percent=percent, wanted=round(100 * _OUTBOX_FULL))
    oldest_h = 0.0 if outbox.oldest_ms is None else (time.time() - outbox.oldest_ms / 1000) / 3600
    if oldest_h > _OUTBOX_OLD_H and settings.broker:
        yield finding("outbox-old", rows=outbox.rows, hours=round(oldest_h), wanted=round(_OUTBOX_OLD_H))
    if outbox.aside:
        yield finding("outbox-refused", rows=outbox.aside, why=outbox.aside_why)
    if outbox.damaged:
        yield finding("outbox-damaged", files=outbox.damaged)


def _looked_at(camera: CameraConfig, address: tuple[str, int] | None) -> Finding | None:
    """None if it gave a picture. Raises ConfigError for its credentials file."""
    try:
        probes.look(camera)
    except CameraRefused as exc:
        kind = "camera-login" if exc.status in (401, 403) else "camera-refused"
        return finding(kind, camera.id, why=_why(exc, camera.id))
    except CameraStalled as exc:
        return finding("camera-no-picture", camera.id, why=_why(exc, camera.id))
    except CameraUnavailable as exc:
        if address is None:
            return finding("camera-bad", camera.id, why=_why(exc, camera.id))
        return finding("camera-undecodable", camera.id, host=address[0], port=address[1], why=_why(exc, camera.id))
    except DriverError as exc:
        return finding("camera-bad", camera.id, why=_why(exc, camera.id))
    return None


def _why(exc: Exception, camera_id: str) -> str:
    return str(exc).removeprefix(f"camera {camera_id}: ")


def _as_said(sensor_id: str, said: SensorHealth | None) -> Iterator[Finding]:
    if said is None:
        yield finding("sensor-busy", sensor_id)
    elif said.state not in ("ok", "opening"):
        yield finding(f"sensor-{said.state}", sensor_id, why=said.error or "?")


def _asked(driver: Sensor, watch: SensorWatch) -> Iterator[Finding]:
    answer = probes.ask(driver, watch)
    if answer.hangs:
        yield finding("sensor-hangs", driver.sensor_id, seconds=round(answer.seconds))
    elif answer.failed is not None:
        kind = "sensor-invalid" if isinstance(answer.failed, SensorInvalid) else "sensor-silent"
        yield finding(kind, driver.sensor_id, why=str(answer.failed).removeprefix(f"sensor {driver.sensor_id}: "))
    elif answer.absurd:
        yield finding("sensor-invalid", driver.sensor_id, why="; ".join(answer.absurd))


def _taken(output: Output) -> Iterator[Finding]:
    try:
        probes.take(output)
    except DriverError as exc:
        yield finding("output-bad", output.output_id, why=str(exc).removeprefix(f"output {output.output_id}: "))


# ---- the bundle ------------------------------------------------------------------------------------------------------


def _write_bundle(seen: Examination, path: Path) -> None:
    """Raises GatewayError if it cannot be written."""
    settings = seen.settings
    bundle = Bundle(Redactor(known_secrets(seen.config_path)))
    bundle.add("doctor.json", _json(seen.as_json()))
    bundle.add("versions.json", _json(_versions()))
    if settings is not None:
        bundle.add("config.json", _json(without_options(settings.model_dump(mode="json", exclude_unset=True))))
    if seen.health is not None:
        bundle.add("health.json", _json({"age_s": round(seen.health_age_s, 1), **seen.health.fields()}))
    if seen.outbox is not None:
        bundle.add("outbox.json", _json(asdict(seen.outbox)))
    if seen.kernel is not None:
        bundle.add("kernel.txt", "\n".join(seen.kernel))
    journal = service.journal()
    if journal is not None:
        bundle.add("journal.txt", journal)
    bundle.write(path)


def without_options(data: Any) -> Any:
    """The configuration without the values that only somebody else's driver understands: they may be anything."""
    if isinstance(data, dict):
        return {
            name: dict.fromkeys(value, GONE)
            if name in ("options", "delegate_options") and isinstance(value, dict)
            else without_options(value)
            for name, value in data.items()
        }
    return [without_options(one) for one in data] if isinstance(data, list) else data


def _versions() -> dict[str, Any]:
    release = Path("/opt/gateway-agent/current")
    return {
        "agent": __version__,
        "release": str(release.readlink()) if release.is_symlink() else None,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME") if Path("/etc/os-release").exists() else None,
        "board": machine.model(),
        "packs": list_packs(),
        "libraries": {one.name: one.version for one in sorted(distributions(), key=lambda one: one.name.lower())},
    }


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2)
