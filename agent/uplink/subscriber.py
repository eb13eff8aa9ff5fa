"""A plain listener on a broker, for `watch` and for tests: topics in, messages out, one thread."""

from __future__ import annotations

import secrets
import time
from types import TracebackType

from agent.errors import UplinkDown
from agent.uplink.link import Incoming, Link, NoAnswer, Refused, WrongProtocol
from agent.uplink.settings import Broker, Login

_SESSION_EXPIRY_S = 60  # a short loss of the connection loses no message


class Subscriber:
    """`with Subscriber(...) as subscriber:` connects and subscribes, or raises UplinkDown."""

    def __init__(self, broker: Broker, topics: list[str], *, login: Login | None = None, qos: int = 1) -> None:
        self._broker = broker
        self._topics = topics
        self._login = login
        self._qos = qos
        self._client_id = f"watch-{secrets.token_hex(4)}"
        self._link: Link | None = None

    def connect(self) -> None:
        """Connect, again if need be. Raises UplinkDown."""
        self.close()
        try:
            link = self._open(v5=True)
        except (WrongProtocol, NoAnswer):
            link = self._open(v5=False)
        self._link = link
        pending = {link.subscribe(topic, qos=self._qos): topic for topic in self._topics}
        deadline_s = time.monotonic() + 10
        while any(link.granted(mid) is None for mid in pending):
            if time.monotonic() > deadline_s:
                raise UplinkDown(f"{self._broker}: no answer to SUBSCRIBE in 10 s")
            link.drive(0.1)
        for mid, topic in pending.items():
            if (link.granted(mid) or 0) >= 128:
                raise Refused(
                    f"{self._broker}: refused the subscription to {topic!r}; does this user have the right?",
                    link.granted(mid) or 0,
                )

    def next(self, timeout_s: float) -> Incoming | None:
        """The next message, or None if none came in time. Raises UplinkDown when the connection is lost."""
        if self._link is None:
            raise UplinkDown(f"{self._broker}: not connected")
        deadline_s = time.monotonic() + timeout_s
        while not self._link.messages:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None
            self._link.drive(min(left_s, 1.0))
        return self._link.messages.popleft()

    def publish(self, topic: str, payload: bytes) -> None:
        """Say something, at QoS 1, without waiting for the acknowledgement."""
        if self._link is None:
            raise UplinkDown(f"{self._broker}: not connected")
        self._link.publish(topic, payload)

    def close(self) -> None:
        if self._link is not None:
            self._link.close(polite=True)
            self._link = None

    def _open(self, *, v5: bool) -> Link:
        link = Link(
            self._broker,
            client_id=self._client_id,
            protocol="5" if v5 else "3.1.1",
            login=self._login,
            # Before MQTT 5 a session that outlives its connection outlives it for ever.
            session_expiry_s=_SESSION_EXPIRY_S if v5 else 0,
        )
        link.open()
        return link

    def __enter__(self) -> Subscriber:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
