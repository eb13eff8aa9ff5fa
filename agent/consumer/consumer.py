"""What a program of the centre listens with: a broker's messages, typed, with the ledger kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from agent.consumer.message import Arrival
from agent.consumer.reader import Reader
from agent.contract.ledger import Ledger
from agent.errors import UplinkDown
from agent.uplink.settings import Broker, Login, Tls
from agent.uplink.subscriber import Subscriber

_log = logging.getLogger(__name__)

_PAUSE_S = 1.0


class Consumer:
    """`with Consumer("broker.example.vn") as boxes: for message in boxes: …`. One thread uses it.

    For programs that show and decide; one that must not miss what comes while it is away reads the ingester's database.
    """

    def __init__(
        self,
        broker: str,
        *,
        topics: Sequence[str] = ("gw/v1/#",),
        from_start: bool = False,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        username: str | None = None,
        password_file: Path | None = None,
    ) -> None:
        """broker: HOST or HOST:PORT; 1883, or 8883 with any of ca, certificate, key. Raises ValueError for others.

        from_start: expect every stream from number 1; else from its first message that comes.
        """
        self._reader = Reader(from_start=from_start)
        self._subscriber = Subscriber(
            read_broker(broker, ca, certificate, key),
            list(topics),
            login=Login(username, password_file) if username else None,
        )

    @property
    def ledger(self) -> Ledger:
        return self._reader.ledger

    def connect(self) -> None:
        """Connect, again if need be. Raises UplinkDown, and ConfigError for files that cannot be used."""
        self._subscriber.connect()

    def next(self, timeout_s: float) -> Arrival | None:
        """The next message, or None if none came in time. Raises UplinkDown when the connection is lost."""
        incoming = self._subscriber.next(timeout_s)
        return self._reader.take(incoming.topic, incoming.payload) if incoming is not None else None

    def __iter__(self) -> Iterator[Arrival]:
        """For ever; a connection that is lost is made again, with a line in the log."""
        while True:
            try:
                message = self.next(_PAUSE_S)
            except UplinkDown as exc:
                _log.warning("%s; connecting again", exc)
                self._return()
                continue
            if message is not None:
                yield message

    def close(self) -> None:
        self._subscriber.close()

    def _return(self) -> None:
        while True:
            try:
                self.connect()
                return
            except UplinkDown:
                time.sleep(_PAUSE_S)

    def __enter__(self) -> Consumer:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_broker(text: str, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> Broker:
    """HOST or HOST:PORT. Raises ValueError for anything else."""
    tls = Tls(ca, certificate, key) if ca or certificate or key else None
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, "8883" if tls else "1883"
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"broker {text!r}: wanted HOST or HOST:PORT")
    return Broker(host.strip("[]"), int(port), tls)
