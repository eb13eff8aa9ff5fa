"""Where messages come from: one seam, three brokers behind it.

A source hands out deliveries and is told which of them are safe; it tells its broker, which then forgets them. What was
handed out and not acknowledged comes again, to us or to another ingester of the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

from agent.uplink.settings import Broker, Login, Tls

STREAM_FILTERS = ("alert", "count", "reading")
"""What is on the ledger; `state`, `health` and, if wanted, `evidence` come beside it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """topic: as the box published it. receipt: what the source needs to acknowledge it, and nobody else's business."""

    topic: str
    payload: bytes
    received_ms: int
    receipt: Any = None


class Source(Protocol):
    """One thread uses it. All but close() raise UplinkDown when the connection is gone: connect() again."""

    def connect(self) -> None:
        """Connect, again if need be, to the next node if one does not answer. Raises UplinkDown if none does, and
        ConfigError for what waiting cannot mend."""

    def take(self, most: int, wait_s: float) -> list[Delivery]:
        """What is there, 1 to `most`; waits for the first of them. [] if none came in time."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """They are safe. In the order in which take() gave them. Those of an earlier connection are passed over."""

    def rest(self, seconds: float) -> None:
        """Wait, and keep the connection alive."""

    def close(self) -> None:
        """Let go; what was not acknowledged comes again. May be called twice."""


@runtime_checkable
class Leaving(Source, Protocol):
    """A source whose broker keeps a share of the messages for each name, also while that one is away."""

    def leave(self) -> None:
        """Take no more part in the group. What waits for us still comes; take() and acknowledge() it."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """group: the ingesters of one group share the messages between them. name: who of them we are.

    window: messages handed to us and not acknowledged, at most.
    """

    scheme: str
    nodes: tuple[Broker, ...]
    path: str
    login: Login | None
    group: str
    name: str
    window: int
    pictures: bool


_PORTS = {"mqtt": 1883, "mqtts": 8883, "amqp": 5672, "amqps": 5671, "nats": 4222, "tls": 4222}


def read_source(
    text: str,
    *,
    group: str,
    name: str,
    window: int,
    pictures: bool = False,
    tls: Tls | None = None,
    password_file: Path | None = None,
) -> SourceSettings:
    """mqtt://HOST[:PORT][,HOST[:PORT]…], amqp://USER@HOST,HOST/VHOST, nats://HOST; mqtts, amqps and tls are over TLS.

    Raises ValueError for what is no such address.
    """
    scheme, _, rest = text.partition("://")
    if scheme not in _PORTS or not rest:
        raise ValueError(f"--source {text!r}: wanted one of mqtt, mqtts, amqp, amqps, nats, tls, then ://HOST[:PORT]")
    over_tls = scheme in ("mqtts", "amqps", "tls")
    if tls is not None and not over_tls:
        raise ValueError(
            f"--source {scheme}://… is not over TLS, but files for TLS are given; wanted mqtts, amqps, tls"
        )
    where, _, path = rest.partition("/")
    user, _, hosts = where.rpartition("@")
    if ":" in user:
        raise ValueError("--source: a password in an address can be read by every user here; use --password-file")
    nodes = []
    for host in hosts.split(","):
        try:
            parts = urlsplit(f"//{host}")
            port = parts.port or _PORTS[scheme]
        except ValueError as exc:
            raise ValueError(f"--source: {host!r}: {exc}; wanted HOST or HOST:PORT") from exc
        if not parts.hostname:
            raise ValueError(f"--source: {host!r}: wanted HOST or HOST:PORT")
        nodes.append(Broker(parts.hostname, port, (tls or Tls()) if over_tls else None))
    if password_file is not None and not user:
        raise ValueError("--password-file without a user; wanted one in the address: amqp://USER@HOST")
    login = Login(unquote(user), password_file) if user else None
    plain = {"mqtts": "mqtt", "amqps": "amqp", "tls": "nats"}.get(scheme, scheme)
    return SourceSettings(plain, tuple(nodes), unquote(path), login, group, name, window, pictures)


def open_source(settings: SourceSettings) -> Source:
    """Not connected yet. Imports the library of that broker and no other."""
    if settings.scheme == "mqtt":
        from agent.consumer.mqtt import MqttSource

        return MqttSource(settings)
    if settings.scheme == "amqp":
        from agent.consumer.amqp import AmqpSource

        return AmqpSource(settings)
    from agent.consumer.jetstream import JetStreamSource

    return JetStreamSource(settings)
