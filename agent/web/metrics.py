"""For Prometheus: what health says and the diary counted, made when somebody asks for it.

Totals count since the agent started; a restart is a reset, as Prometheus expects. No name of a metric and no label of
it is changed: dashboards and alarms of others stand on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from agent.contract.box import CameraHealth, Health
from agent.web.diary import Diary

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """logins: outcome → how often; watchers, sessions: now."""

    def __init__(
        self,
        look: Callable[[], Health],
        diary: Diary,
        *,
        logins: Callable[[], dict[str, int]],
        watchers: Callable[[], int],
        sessions: Callable[[], int],
    ) -> None:
        self._look = look
        self._diary = diary
        self._logins = logins
        self._watchers = watchers
        self._sessions = sessions
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        health = self._look()
        yield from _box(health)
        yield from _cameras(health.cameras)
        yield from _sensors(health)
        yield from _outbox(health)
        yield from _link(health)
        yield from self._told()
        yield _counter("gateway_web_logins", "Logins at the technician's page", ["outcome"], _labelled(self._logins()))
        yield _gauge("gateway_web_sessions", "Open sessions of the technician's page", value=self._sessions())
        yield _gauge("gateway_web_watchers", "Browsers that wait for a live picture", value=self._watchers())

    def _told(self) -> Iterator[Metric]:
        yield _counter(
            "gateway_crossings", "Crossings of lines", ["camera", "line", "direction", "class"], self._diary.crossed()
        )
        yield _counter("gateway_alerts", "Alerts raised or told", ["source", "kind"], self._diary.told())


Values = dict[tuple[str, ...], float]


def _gauge(name: str, words: str, *, value: float | None) -> GaugeMetricFamily:
    """Without a sample for None: what is not known is not 0."""
    family = GaugeMetricFamily(name, words)
    if value is not None:
        family.add_metric([], value)
    return family


def _gauges(name: str, words: str, labels: list[str], values: Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, words: str, labels: list[str], values: object) -> CounterMetricFamily:
    family = CounterMetricFamily(name, words, labels=labels)
    for key, value in dict(values).items():  # type: ignore[call-overload]
        family.add_metric(key, value)
    return family


def _labelled(values: dict[str, int]) -> Values:
    return {(name,): value for name, value in values.items()}


def _box(health: Health) -> Iterator[Metric]:
    info = InfoMetricFamily("gateway_agent", "Versions")
    info.add_metric([], {"version": health.agent, "model": health.model or "", "runtime": health.runtime or ""})
    yield info
    yield _gauge("gateway_uptime_seconds", "Since the agent started", value=health.uptime_s)
    yield _gauge("gateway_clock_trusted", "1: the clock has been set", value=health.clock_trusted)
    yield _gauge("gateway_cpu_temperature_celsius", "Temperature of the processor", value=health.cpu_c)
    yield _gauge("gateway_memory_resident_bytes", "Of the agent's process", value=health.rss_bytes)
    yield _gauge("gateway_disk_free_bytes", "On the outbox's disk", value=health.disk_free_bytes)
    budget = health.budget
    yield _gauge(
        "gateway_inferences_limit_per_second",
        "Inferences a second that all cameras may have now",
        value=budget.limit_per_s if budget else None,
    )
    decided = {("granted",): budget.granted, ("refused",): budget.refused} if budget else {}
    yield _counter("gateway_inferences", "Inferences asked for by cameras", ["decision"], decided)
    evidence = health.evidence
    yield _gauge(
        "gateway_evidence_pictures", "Pictures of alerts on the box", value=evidence.pictures if evidence else None
    )
    yield _gauge("gateway_evidence_bytes", "What they take on the disk", value=evidence.bytes if evidence else None)


def _cameras(cameras: dict[str, CameraHealth]) -> Iterator[Metric]:
    def each(value: Callable[[CameraHealth], float | None]) -> Values:
        values = {(name,): value(camera) for name, camera in cameras.items()}
        return {key: one for key, one in values.items() if one is not None}

    yield _gauges("gateway_camera_up", "1: pictures come", ["camera"], each(lambda one: one.state == "open"))
    yield _gauges("gateway_camera_frames_per_second", "Pictures taken, lately", ["camera"], each(lambda one: one.fps))
    for name, words, value in (
        ("dropped", "Pictures dropped for a fresher one", lambda one: one.dropped),
        ("inferred", "Pictures given to the detector", lambda one: one.inferred),
    ):
        yield _counter(f"gateway_camera_frames_{name}", words, ["camera"], each(value))
    yield _counter("gateway_camera_bugs", "Times a stage failed", ["camera"], each(lambda one: one.bugs or 0))
    faults: Values = {(name, fault): 1.0 for name, camera in cameras.items() for fault in camera.faults or ()}
    yield _gauges("gateway_camera_fault", "1: this is wrong with its picture", ["camera", "fault"], faults)


def _sensors(health: Health) -> Iterator[Metric]:
    sensors, outputs = health.sensors or {}, health.outputs or {}
    yield _gauges(
        "gateway_sensor_up", "1: it answers", ["sensor"], {(name,): one.state == "ok" for name, one in sensors.items()}
    )
    yield _gauges(
        "gateway_sensor_value",
        "Last good value, in the unit of the configuration",
        ["sensor", "quantity"],
        {(name, quantity): value for name, one in sensors.items() for quantity, value in one.values.items()},
    )
    yield _gauges(
        "gateway_sensor_age_seconds",
        "Since the last good value",
        ["sensor"],
        {(name,): one.age_s for name, one in sensors.items() if one.age_s is not None},
    )
    yield _gauges("gateway_output_on", "1: switched on", ["output"], {(name,): one.on for name, one in outputs.items()})


def _outbox(health: Health) -> Iterator[Metric]:
    outbox = health.outbox
    if outbox is None:
        return
    yield _gauge("gateway_outbox_rows", "Messages not acknowledged yet", value=outbox.rows)
    yield _gauge("gateway_outbox_bytes", "What they take", value=outbox.bytes)
    yield _gauge("gateway_outbox_max_bytes", "What they may take", value=outbox.max_bytes)
    yield _gauge("gateway_outbox_oldest_seconds", "Age of the oldest of them, 0: none", value=outbox.oldest_s or 0.0)
    yield _gauges(
        "gateway_outbox_last_number", "Last number given out on the ledger", ["stream"], _labelled(outbox.last)
    )


def _link(health: Health) -> Iterator[Metric]:
    link = health.link
    if link is None:
        return
    yield _gauge("gateway_link_up", "1: connected to a broker", value=link.state == "up")
    yield _gauge("gateway_link_in_flight", "Messages sent and not acknowledged yet", value=link.in_flight)
    yield _counter("gateway_link_acknowledged", "Messages the broker took", [], {(): link.acked})
    yield _counter("gateway_link_refused", "Refusals by the broker", [], {(): link.refused})
