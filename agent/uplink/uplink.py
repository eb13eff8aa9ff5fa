"""The thread that keeps a link up: connect, say who we are, deliver, hand on what is asked, start over.

Never blocks a stage and never raises into one: with the broker away for a week, the outbox fills and this waits and
tries. All of paho runs in this one thread, so there is no lock between a callback and a publish.
"""

from __future__ import annotations

import logging
import math
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tenacity import RetryError, Retrying, retry_if_exception_type, sleep_using_event, stop_when_event_set
from tenacity.wait import wait_base, wait_random_exponential

from agent.alive import Signs
from agent.clock import Clock, SystemClock
from agent.contract.box import Health, LinkHealth, State
from agent.contract.wire import PayloadError, decode, pack
from agent.errors import ConfigError, EventStoreError, UplinkDown
from agent.outbox import Outbox
from agent.uplink.attachments import Attachments, Kind, Pictures
from agent.uplink.delivery import Delivery, reason_words
from agent.uplink.link import HungUp, Incoming, Link, NoAliases, NoAnswer, Protocol, TakenOver, Will, WrongProtocol
from agent.uplink.rate import Rate
from agent.uplink.requests import Desk, Requests
from agent.uplink.settings import Broker, UplinkSettings

_log = logging.getLogger(__name__)

_SETTLED_S = 60.0  # a connection that lived this long was a good one: the waits start small again
FIRST_WAIT_S = 5.0  # drawn from 0 to this, so that a city's boxes do not all come back in one second
_LONGEST_WAIT_S = 30.0
RECONNECT_WAIT = wait_random_exponential(multiplier=FIRST_WAIT_S, max=_LONGEST_WAIT_S)
_TAKEN_OVER_WAIT_S = 60.0  # two boxes with one name would throw each other out all day
_PROBE_TIMEOUT_S = 2.0
_IDLE_S = 1.0
_MAX_HEALTH_WAITING = 8
# How long a step may take before the thread is stuck. Connecting: names are looked up by the C library, which asks each
# server twice for 5 s and cannot be told otherwise. Resting: the longest wait after a loss.
_CONNECT_WITHIN_S = 180.0
_SERVE_WITHIN_S = 60.0
_REST_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot. Counters run since start."""

    broker: str | None  # None while down
    protocol: Protocol | None
    connected_since_ms: int | None
    connects: int
    in_flight: int
    sent: int
    acked: int
    no_subscribers: int
    refused: int
    set_aside: int
    pictures_sent: int
    pictures_given_up: int
    last_error: str | None  # of the link while it is down, of the last refusal otherwise

    def health(self) -> LinkHealth:
        return LinkHealth(
            state="up" if self.broker else "down",
            broker=self.broker,
            since=self.connected_since_ms,
            in_flight=self.in_flight,
            acked=self.acked,
            no_subscribers=self.no_subscribers,
            refused=self.refused,
            error=self.last_error,
        )


class Uplink:
    """start() returns at once, with the broker there or not. Raises ConfigError for what no waiting can mend."""

    def __init__(
        self,
        settings: UplinkSettings,
        outbox: Outbox,
        *,
        clock: Clock | None = None,
        pictures: Pictures | None = None,
        bundles: Pictures | None = None,
        desk: Desk | None = None,
        wait: wait_base | None = None,
        delivery: Delivery | None = None,
        make_link: Callable[..., Link] = Link,
    ) -> None:
        """pictures, bundles: to be sent off the ledger. desk: whoever does commands; none: the box takes no commands.

        wait, delivery: for tests that have less time. make_link: makes a Link; for roads that fail on purpose.
        """
        settings.check()
        self._settings = settings
        self._topics = settings.topics
        self._outbox = outbox
        self._clock = clock or SystemClock()
        self.signs = Signs("uplink", self._clock)
        self._wait = wait or RECONNECT_WAIT
        self._make_link = make_link
        rate = Rate(settings.max_bytes_per_s, settings.burst_bytes)
        self._delivery = delivery or Delivery(outbox, self._topics, settings.payload, rate=rate)
        kinds = (
            (pictures, self._topics.evidence, "image/jpeg"),
            (bundles, self._topics.diagnostics, "application/gzip"),
        )
        self._stores = [store for store in (pictures, bundles) if store is not None]
        self._attachments = Attachments(
            [Kind(store, topic, content_type) for store, topic, content_type in kinds if store is not None], rate=rate
        )
        self._desk = desk
        self._requests = None if desk is None else Requests(desk, self._topics, settings.payload)
        self._stopping = threading.Event()
        self._farewell_until_s = 0.0
        self._wake_ours, self._wake_theirs = socket.socketpair()
        self._wake_ours.setblocking(False)
        self._wake_theirs.setblocking(False)
        self._stored = threading.Event()
        self._health: deque[bytes] = deque(maxlen=_MAX_HEALTH_WAITING)
        self._speaks: dict[Broker, Protocol] = {}
        self._without_aliases: set[Broker] = set()
        self._link: Link | None = None
        self._since_ms: int | None = None
        self._connects = 0
        self._error: str | None = None
        self._birth = 0  # the message's id
        self._unborn = ""  # why the broker did not take it
        self._born_epoch: int | None = None
        self._own_epochs: set[int] = set()  # announced by this process
        self._rival_seen = 0  # connections in a row that found another box under our name
        self._greeted = False
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)

    # ---- for the app -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._outbox.on_stored(self._on_stored)
        for store in self._stores:
            store.on_waiting(self._poke)
        if self._desk is not None:
            self._desk.on_ready(self._poke)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Wait for acknowledgements under way, say goodbye, end. What was not delivered stays in the outbox.

        Returns False if the thread is stuck in a connect; it ends by itself then. May be called twice.
        """
        self._farewell_until_s = time.monotonic() + timeout_s / 2
        self._stopping.set()
        self._poke()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._outbox.on_stored(lambda: None)
        for store in self._stores:
            store.on_waiting(lambda: None)
        if self._desk is not None:
            self._desk.on_ready(lambda: None)
        if self._thread.is_alive():
            return False
        self._wake_ours.close()
        self._wake_theirs.close()
        return True

    def drain(self, timeout_s: float) -> bool:
        """Wait until the outbox is empty and no picture is to be sent. False if that was not in time."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            try:
                self._outbox.flush()
            except EventStoreError as exc:
                _log.warning("while draining: %s", exc)
            if self._outbox.depth().rows == 0 and not self._attachments.waiting:
                return True
            time.sleep(0.05)
        return False

    def publish_health(self, health: Health) -> None:
        """Send the box's pulse; dropped while the link is down, since the next one replaces it."""
        if self._link is not None:
            self._health.append(pack(health.fields(), self._settings.payload))
            self._poke()

    def status(self) -> Status:
        link, counts = self._link, self._delivery.counts
        return Status(
            broker=str(link.broker) if link else None,
            protocol=link.protocol if link else None,
            connected_since_ms=self._since_ms if link else None,
            connects=self._connects,
            in_flight=self._delivery.in_flight,
            sent=counts.sent,
            acked=counts.acked,
            no_subscribers=counts.no_subscribers,
            refused=counts.refused,
            set_aside=counts.set_aside,
            pictures_sent=self._attachments.sent,
            pictures_given_up=self._attachments.given_up,
            last_error=counts.error if link else self._error,
        )

    # ---- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        attempts = Retrying(
            retry=retry_if_exception_type(UplinkDown),
            wait=self._wait,
            sleep=sleep_using_event(self._stopping),
            stop=stop_when_event_set(self._stopping),
        )
        while not self._stopping.is_set():
            try:
                attempts.copy()(self._session)
            except RetryError:
                break  # stopped while down
            except Exception as exc:
                # A bug of ours, or of paho's. The box must not fall silent for it: say so, start over.
                _log.exception("uplink: starting over after an error that should not happen")
                self._error = f"{type(exc).__name__}: {exc}"
                self._stopping.wait(_LONGEST_WAIT_S)
                continue
            self._stopping.wait(random.uniform(0, FIRST_WAIT_S))
        self.signs.end()

    def _session(self) -> None:
        """One connection from beginning to end. Raises UplinkDown if it did not live long; returns otherwise."""
        began_s = time.monotonic()
        rival_seen = self._rival_seen
        link: Link | None = None
        try:
            link = self._connect()
            try:
                self._serve(link)
                link.close(polite=True)
            finally:
                self._link = None
                self._health.clear()
                link.close()
        except UplinkDown as exc:
            if link is not None:
                self._take_acks(link)  # mosquitto 2.0 says why it refuses a message and hangs up in one breath
            if isinstance(exc, HungUp) and self._greeted:
                self._delivery.hung_up(time.monotonic())
            if isinstance(exc, NoAliases) and link is not None:
                self._without_aliases.add(link.broker)
            words = f"{exc}; {self._unborn}" if self._unborn else str(exc)
            if words != self._error:
                _log.warning("uplink down: %s", words)
            self._error = words
            self.signs.give(_REST_WITHIN_S)
            if isinstance(exc, TakenOver):
                self._stopping.wait(random.uniform(0.5, 1.0) * _TAKEN_OVER_WAIT_S)
            elif rival_seen == self._rival_seen:
                self._rival_seen = 0
            if time.monotonic() - began_s < _SETTLED_S:
                raise

    def _connect(self) -> Link:
        """The first broker that takes us, in the order given."""
        failures = []
        for broker in self._settings.brokers:
            try:
                return self._connect_to(broker)
            except (UplinkDown, ConfigError) as exc:  # ConfigError: a certificate that went missing meanwhile
                failures.append(str(exc))
            if self._stopping.is_set():
                break
        raise UplinkDown("; ".join(failures))

    def _connect_to(self, broker: Broker) -> Link:
        """MQTT 5, and 3.1.1 with those that say, or by their silence suggest, that they know only that."""
        try:
            return self._open(broker, self._speaks.get(broker, "5"))
        except WrongProtocol:
            self._speaks[broker] = "3.1.1" if self._speaks.get(broker, "5") == "5" else "5"
            return self._open(broker, self._speaks[broker])
        except NoAnswer:
            # Not remembered: a broker that was going down says nothing either.
            return self._open(broker, "3.1.1")

    def _open(self, broker: Broker, protocol: Protocol) -> Link:
        self.signs.give(_CONNECT_WITHIN_S)
        settings = self._settings
        link = self._make_link(
            broker,
            client_id=settings.client_id or f"gw-{settings.site}-{settings.box}",
            protocol=protocol,
            login=settings.login,
            keepalive_s=settings.keepalive_s,
            timeout_s=settings.connect_timeout_s,
            session_expiry_s=settings.session_expiry_s,
            will=Will(self._topics.state, self._state(online=False, reason="lost")),
            aliases=broker not in self._without_aliases,
            manual_acks=True,
        )
        link.open()
        return link

    def _serve(self, link: Link) -> None:
        """Until the connection is lost (UplinkDown) or we are stopped (returns)."""
        self._delivery.restart(link.receive_maximum, link.max_packet_bytes)
        self._attachments.restart(link.max_packet_bytes, time.monotonic())
        self._delivery.counts.error = self._unborn or None
        self._since_ms = self._clock.stamp().wall_ms
        self._connects += 1
        self._greeted = False
        self._link = link
        # Before our own birth replaces it: the last one says whether another box goes by our name.
        link.subscribe(self._topics.state, qos=0)
        # Before the birth too: whoever reads that we are here may send a command at once.
        subscription = None
        if self._requests is not None:
            self._requests.restart()
            subscription = link.subscribe(self._topics.command)
        self._announce(link, online=True, reason="started")
        first = self._settings.brokers[0]
        probe_at_s = math.inf if link.broker == first else time.monotonic() + self._settings.return_after_s
        leaving = False
        _log.info("uplink up: %s, MQTT %s", link.broker, link.protocol)
        while True:
            self.signs.give(_SERVE_WITHIN_S)
            now_s = time.monotonic()
            if self._stored.is_set():
                self._stored.clear()
                self._delivery.stored()
            if self._stopping.is_set():
                if self._in_flight() == 0 or now_s >= self._farewell_until_s:
                    break
            elif leaving:
                if self._in_flight() == 0:
                    return
            else:
                with link.together():
                    self._delivery.fill(link, now_s)
                if self._requests is not None:
                    self._requests.fill(link, now_s)
                if self._delivery.idle:
                    self._attachments.fill(link, now_s)
                if self._outbox.epoch != self._born_epoch:
                    self._announce(link, online=True, reason="started")
                if now_s >= probe_at_s:
                    probe_at_s = now_s + self._settings.return_after_s
                    leaving = _reachable(first)
            self._send_health(link)
            link.drive(self._wait_s(now_s), self._wake_ours)
            self._take_in(link)
            self._check_alive(link)
            if subscription is not None and (granted := link.granted(subscription)) is not None and granted >= 128:
                self._delivery.counts.error = f"broker refused the subscription to {self._topics.command}"
        self._announce(link, online=False, reason="stopped")
        deadline_s = time.monotonic() + 1.0
        while link.in_flight and time.monotonic() < deadline_s:
            link.drive(0.1)
            self._take_in(link)

    def _in_flight(self) -> int:
        answers = 0 if self._requests is None else self._requests.in_flight
        return self._delivery.in_flight + self._attachments.in_flight + answers

    def _wait_s(self, now_s: float) -> float:
        next_try_s = self._delivery.next_try_s()
        return _IDLE_S if next_try_s is None else min(_IDLE_S, max(0.0, next_try_s - now_s))

    def _take_acks(self, link: Link) -> None:
        if link.acks:
            acks, link.acks = link.acks, deque()
            self._greeted = True  # the birth at least arrived: this connection worked
            link.in_flight -= len(acks)
            now_s = time.monotonic()
            self._delivery.acked(acks, now_s)
            for mid, code in acks:
                self._attachments.acked(mid, code, now_s)
                if self._requests is not None:
                    self._requests.acked(mid, code)
                if mid == self._birth:
                    self._born(code)

    def _born(self, code: int) -> None:
        """A broker that refuses our birth expects nothing that we could send: it knows this box by another name, or not
        at all. It may hang up before we hear why, so what it said last is remembered until it takes one."""
        self._unborn = f"broker refused {self._topics.state}: {reason_words(code)}" if code >= 128 else ""
        if self._unborn:
            self._delivery.counts.error = self._unborn

    def _take_in(self, link: Link) -> None:
        self._take_acks(link)
        while link.messages:
            message = link.messages.popleft()
            if message.topic == self._topics.state:
                self._look_for_rival(message)
            elif self._requests is not None:
                self._requests.take(link, message)

    def _look_for_rival(self, message: Incoming) -> None:
        """Two boxes with one configuration take the connection from each other; few brokers say so, but `state` does.

        Once may be what we were ourselves before our store was lost. Twice in a row is another box: TakenOver.
        """
        try:
            state = decode(message.payload)
        except PayloadError:
            return
        epoch = state.get("epoch")
        if state.get("online") is not True or not isinstance(epoch, int) or epoch in self._own_epochs:
            return
        self._rival_seen += 1
        words = (
            f"another box says it is {self._settings.site}/{self._settings.box} (epoch {epoch}, "
            f"boot id {state.get('boot_id')}); two boxes with one configuration?"
        )
        self._delivery.counts.error = words
        if self._rival_seen >= 2:
            raise TakenOver(words)

    def _check_alive(self, link: Link) -> None:
        """A broker that is stopped, or a link that swallows packets, keeps the connection open and says nothing."""
        if not self._in_flight():
            return
        answers_s = self._requests.oldest_sent_s() if self._requests is not None else None
        since_s = max(
            self._delivery.oldest_sent_s() or 0.0, answers_s or 0.0, self._attachments.silence_counts_from_s()
        )
        if time.monotonic() - since_s > self._settings.ack_timeout_s:
            raise UplinkDown(f"{link.broker}: no acknowledgement for {self._settings.ack_timeout_s:g} s")

    def _send_health(self, link: Link) -> None:
        while self._health:
            link.publish(self._topics.health, self._health.popleft(), qos=0)

    def _announce(self, link: Link, *, online: bool, reason: str) -> None:
        self._born_epoch = self._outbox.epoch
        self._own_epochs.add(self._born_epoch)
        self._birth = link.publish(self._topics.state, self._state(online=online, reason=reason), retain=True)

    def _state(self, *, online: bool, reason: str) -> bytes:
        will = reason == "lost"  # made before the connection: says nothing of when
        stamp = self._clock.stamp()
        state: dict[str, Any] = {
            "online": online,
            "reason": reason,
            "agent": self._settings.agent_version,
            "epoch": self._outbox.epoch,
            "boot": self._outbox.boot,
            "boot_id": self._outbox.boot_id,
            "since": None if will else self._since_ms,
            "clock": None if will or stamp.trusted else "unset",
            "last": None if will else self._outbox.depth().last,
        }
        return pack(State.model_validate(state).fields(), self._settings.payload)

    # ---- waking it -------------------------------------------------------------------------------------------------

    def _on_stored(self) -> None:
        self._stored.set()
        self._poke()

    def _poke(self) -> None:
        with suppress(OSError):  # enough pokes wait already, or the thread has ended and its sockets are closed
            self._wake_theirs.send(b"\0")


def _reachable(broker: Broker) -> bool:
    """Somebody takes connections there. More is only known by leaving the broker that works."""
    try:
        socket.create_connection((broker.host, broker.port), timeout=_PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True
