"""One connection to one broker: paho without its thread and without its queue.

paho's own loop thread dies of an exception in a callback, and its callbacks run under its locks. So this drives paho
from the caller's thread: `drive` waits on the socket, and callbacks do nothing but append to the lists below. A Link
is used once; after a loss it is thrown away, with whatever paho still held.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.errors import ConfigError, UplinkDown
from agent.tls import why_over
from agent.uplink.knock import CertificateRefused, knock, not_accepted
from agent.uplink.settings import Broker, Login

Protocol = Literal["5", "3.1.1"]

_RECEIVE_MAXIMUM = 20  # commands on their way to us at once
_MAX_INCOMING_BYTES = 256 * 1024
_DEFAULT_RECEIVE_MAXIMUM = 65535  # what a server that names none allows
_SESSION_TAKEN_OVER = 0x8E
_UNSUPPORTED_PROTOCOL = 0x84
_KEEP_ALIVE_TIMEOUT = 0x8D
_TOPIC_ALIAS_INVALID = 0x94
_MAX_ALIASES = 256  # a broker that offers more has more to offer than a box has topics
# What paho lets through when a broker sends bytes that are not MQTT.
_GARBAGE = (ValueError, IndexError, KeyError, TypeError, struct.error, MQTTException)


class NoAnswer(UplinkDown):
    """The broker took the connection and closed it without a word: perhaps it does not speak this version."""


class WrongProtocol(UplinkDown):
    """The broker said that it does not speak this version of MQTT."""


class Refused(UplinkDown):
    """The broker answered no. code: MQTT 5's reason code, also where it spoke 3.1.1."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class HungUp(UplinkDown):
    """The broker closed the connection, and did not say why."""


class TakenOver(UplinkDown):
    """Another client connected with our id."""


class NoAliases(UplinkDown):
    """The broker offered topic aliases, and then did not know one that it had acknowledged."""


@dataclass(frozen=True, slots=True)
class Incoming:
    topic: str
    payload: bytes
    retained: bool
    response_topic: str | None
    correlation: bytes | None
    qos: int = 0
    mid: int = 0  # the packet's; for acknowledge()
    subscriptions: tuple[int, ...] = ()  # identifiers of those of ours that brought it; see subscribe_together()


@dataclass(frozen=True, slots=True)
class Will:
    topic: str
    payload: bytes


class _Alias:
    """The properties of a PUBLISH that names its topic by number. Made once, since paho's own are slow to make and
    slower to write: twice the time of all the rest of a publish."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._bytes = b"\x03\x23" + number.to_bytes(2, "big")  # 3 bytes follow, property 0x23 is the topic alias

    def pack(self) -> bytes:
        return self._bytes


class Link:
    """acks: (message id, reason code) as they came; messages: what we subscribed to. The caller empties both."""

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        protocol: Protocol = "5",
        login: Login | None = None,
        keepalive_s: int = 20,
        timeout_s: float = 10.0,
        session_expiry_s: int = 0,
        will: Will | None = None,
        aliases: bool = True,
        receive_maximum: int = _RECEIVE_MAXIMUM,
        manual_acks: bool = False,
    ) -> None:
        """session_expiry_s: 0 = the broker forgets us at once. aliases: use them where the broker offers any.
        receive_maximum: messages on their way to us at once (MQTT 5). manual_acks: the caller does acknowledge() each.

        Raises ConfigError for unusable files.
        """
        self.broker = broker
        self.protocol: Protocol = protocol
        self.acks: deque[tuple[int, int]] = deque()
        self.messages: deque[Incoming] = deque()
        self.receive_maximum = _DEFAULT_RECEIVE_MAXIMUM
        self.max_packet_bytes: int | None = None
        self.has_shared_subscriptions = protocol == "5"
        self.has_subscription_identifiers = protocol == "5"
        self.in_flight = 0
        self.sent_bytes = 0  # of PUBLISH packets
        self._aliases_wanted = aliases
        self._free_aliases: list[int] = []
        self._aliases: dict[str, _Alias] = {}  # known to the broker
        self._introduced: dict[int, tuple[str, _Alias]] = {}  # by message id: told, not acknowledged yet
        self._timeout_s = timeout_s
        self._keepalive_s = keepalive_s
        self._session_expiry_s = session_expiry_s
        self._own_receive_maximum = receive_maximum
        self._connack: int | None = None
        self._refused_why: str | None = None
        self._lost_code: int | None = None
        self._lost_why: str | None = None
        self._subacks: dict[int, int] = {}
        v5 = protocol == "5"
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if v5 else session_expiry_s == 0,
            protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.manual_ack_set(manual_acks)
        client.max_inflight_messages_set(0)  # the window is ours; paho's would queue what does not fit
        client.connect_timeout = timeout_s
        if broker.tls is not None:
            client.tls_set_context(broker.tls.context())
        if login is not None:
            client.username_pw_set(login.username, login.password())
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        self._client = client

    def open(self) -> None:
        """Connect and wait until the broker has accepted us. Raises UplinkDown, WrongProtocol or NoAnswer."""
        try:
            self._client.connect_async(self.broker.host, self.broker.port, self._keepalive_s, **self._session())
            self._client.reconnect()
        except (OSError, ValueError) as exc:
            self.close()
            if isinstance(exc, (ConnectionResetError, BrokenPipeError)):
                self._ask_why()
            raise UplinkDown(f"{self.broker}: {_words(exc)}") from exc
        sock = cast("socket.socket | None", self._client.socket())
        if self.broker.tls is not None and isinstance(sock, ssl.SSLSocket):
            over = why_over(sock, self.broker.tls.own())
            if over is not None:
                self.close()
                raise UplinkDown(f"{self.broker}: {not_accepted(over)}")
        deadline_s = time.monotonic() + self._timeout_s
        try:
            while self._connack is None:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise UplinkDown(f"{self.broker}: connected, but no answer to CONNECT in {self._timeout_s:g} s")
                try:
                    self.drive(min(left_s, 1.0))
                except UplinkDown as exc:
                    if self._connack is None:
                        self._ask_why()
                        raise NoAnswer(f"{self.broker}: closed the connection without an answer to CONNECT") from exc
            if self._connack != 0:
                words = f"{self.broker}: refused us: {self._refused_why}"
                if self._connack == _UNSUPPORTED_PROTOCOL:
                    raise WrongProtocol(words)
                raise Refused(words, self._connack)
        except UplinkDown:
            self.close()
            raise

    def _ask_why(self) -> None:
        """Raises CertificateRefused if that is why nobody answers. With TLS 1.3 the broker looks at our certificate
        when we have begun to speak; hanging up on us it takes its own last words back."""
        if self.broker.tls is not None:
            try:
                knock(self.broker, self.broker.tls, timeout_s=self._timeout_s)
            except CertificateRefused:
                raise
            except (UplinkDown, ConfigError):
                pass  # what we met ourselves is told

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        correlation: bytes | None = None,
        content_type: str | None = None,
    ) -> int:
        """Hand one message to the socket. Returns its id, which comes back in acks: at QoS 0 once it is written.

        correlation, content_type: said where the protocol can say them.
        Raises UplinkDown when the connection turns out to be gone; the message may or may not have left then.
        """
        properties = None
        if (correlation is not None or content_type is not None) and self.protocol == "5":
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if correlation is not None:
                properties.CorrelationData = correlation
            if content_type is not None:
                properties.ContentType = content_type
        return self._publish(topic, payload, properties, qos=qos, retain=retain)

    def publish_often(self, topic: str, payload: bytes) -> int:
        """As publish, at QoS 1, for a topic that comes again and again: by number where the broker takes that.

        A number is used once the broker has acknowledged a message that introduced it. Numbers go to the first topics
        that ask, until there are no more.
        """
        alias = self._aliases.get(topic)
        if alias is not None:
            return self._publish("", payload, alias)
        if self._free_aliases and all(topic != waiting for waiting, _ in self._introduced.values()):
            alias = _Alias(self._free_aliases.pop())
            mid = self._publish(topic, payload, alias)
            self._introduced[mid] = (topic, alias)
            return mid
        return self._publish(topic, payload, None)

    def _publish(
        self, topic: str, payload: bytes, properties: Properties | _Alias | None, *, qos: int = 1, retain: bool = False
    ) -> int:
        self.sent_bytes += _packet_bytes(topic, payload, properties, qos, self.protocol)
        try:
            # All that paho does with properties is pack() them.
            info = self._client.publish(topic, payload, qos, retain, cast("Properties | None", properties))
        except OSError as exc:
            raise UplinkDown(f"{self.broker}: {_words(exc)}") from exc
        self.in_flight += 1  # at QoS 0 too: paho calls back for those as well, when they are written
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            raise self._gone()
        return info.mid

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is published inside leaves in as few packets as it fits in: half the processor time, and fewer bytes."""
        sock = cast("socket.socket | None", self._client.socket())
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        try:
            yield
        finally:
            # Lost meanwhile: paho has closed it.
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def subscribe(self, topic: str, *, qos: int = 1) -> int:
        """Ask for a topic filter. Returns the request's id; see granted()."""
        rc, mid = self._client.subscribe(topic, qos=qos)
        if rc != mqtt.MQTT_ERR_SUCCESS or mid is None:
            raise self._gone()
        return mid

    def subscribe_together(self, topics: Sequence[str], *, identifier: int, qos: int = 1) -> int:
        """Ask for several filters in one request, which comes into force at one moment (MQTT 5). Returns its id.

        identifier: 1 to 268,435,455; what comes by these filters carries it.
        """
        properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
        properties.SubscriptionIdentifier = identifier
        rc, mid = self._client.subscribe(
            [(topic, SubscribeOptions(qos=qos)) for topic in topics],
            properties=properties,
        )
        if rc != mqtt.MQTT_ERR_SUCCESS or mid is None:
            raise self._gone()
        return mid

    def unsubscribe(self, topic: str) -> None:
        """Ask for nothing more by a topic filter."""
        rc, _ = self._client.unsubscribe(topic)
        if rc != mqtt.MQTT_ERR_SUCCESS:
            raise self._gone()

    def acknowledge(self, message: Incoming) -> None:
        """Tell the broker that it may forget a message of QoS 1, where acks are manual. In order of arrival."""
        rc = self._client.ack(message.mid, 1)
        if rc != mqtt.MQTT_ERR_SUCCESS:
            raise self._gone()

    def granted(self, mid: int) -> int | None:
        """The broker's answer: None = none yet, 0 to 2 = the QoS granted, from 128 = it refused, if only one filter."""
        return self._subacks.get(mid)

    def drive(self, timeout_s: float, wake: socket.socket | None = None) -> None:
        """Move bytes for at most timeout_s, back early when something came or wake became readable (it is drained).

        Raises UplinkDown when the connection is gone.
        """
        sock = cast("socket.socket | None", self._client.socket())
        if sock is None:
            raise self._gone()
        poll = select.poll()  # not select(): its file descriptors end at 1024
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        if wake is not None:
            poll.register(wake, select.POLLIN)
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            timeout_s = 0.0  # bytes that TLS has already taken off the socket
        ready = dict(poll.poll(timeout_s * 1000))
        if wake is not None and wake.fileno() in ready:
            wake.recv(4096)
        try:
            self._client.loop_read()
            if self._client.want_write():
                self._client.loop_write()
            self._client.loop_misc()
        except OSError as exc:
            raise UplinkDown(f"{self.broker}: {_words(exc)}") from exc
        except _GARBAGE as exc:
            raise UplinkDown(f"{self.broker}: sent what is not MQTT ({type(exc).__name__}: {exc})") from exc
        if self._client.socket() is None:
            raise self._gone()

    def close(self, *, polite: bool = False) -> None:
        """Let go. polite: say DISCONNECT, so that the broker does not publish our last will."""
        sock = cast("socket.socket | None", self._client.socket())
        try:
            if polite and sock is not None:
                self._client.disconnect()
                deadline_s = time.monotonic() + 1.0
                while self._client.socket() is not None and time.monotonic() < deadline_s:
                    self.drive(0.1)
        except (UplinkDown, OSError):
            pass  # gone before the goodbye: nothing left to close politely
        finally:
            if sock is not None:
                sock.close()

    def __enter__(self) -> Link:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(polite=True)

    def _session(self) -> dict[str, Any]:
        if self.protocol != "5":
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._session_expiry_s
        properties.ReceiveMaximum = self._own_receive_maximum
        properties.MaximumPacketSize = _MAX_INCOMING_BYTES
        return {"clean_start": self._session_expiry_s == 0, "properties": properties}

    def _gone(self) -> UplinkDown:
        words = f"{self.broker}: {self._lost_why or 'connection closed by the broker or on the way'}"
        if self._lost_code == _SESSION_TAKEN_OVER:
            return TakenOver(f"{words}: another client uses our id; two boxes with one configuration?")
        if self._lost_code == _TOPIC_ALIAS_INVALID:
            return NoAliases(words)
        return UplinkDown(words) if self._lost_code == _KEEP_ALIVE_TIMEOUT else HungUp(words)

    # Callbacks. They run inside drive() and publish(), under paho's locks: append, count, nothing else.

    def _on_connect(
        self, client: mqtt.Client, userdata: object, flags: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._connack = reason.value
        self._refused_why = str(reason)
        self.receive_maximum = getattr(properties, "ReceiveMaximum", _DEFAULT_RECEIVE_MAXIMUM)
        self.max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        # Absent: it has them (MQTT 5, 3.2.2.3.12 and 13).
        v5 = self.protocol == "5"
        self.has_shared_subscriptions = bool(getattr(properties, "SharedSubscriptionAvailable", v5))
        self.has_subscription_identifiers = bool(getattr(properties, "SubscriptionIdentifierAvailable", v5))
        if self._aliases_wanted:
            most = min(getattr(properties, "TopicAliasMaximum", 0), _MAX_ALIASES)
            self._free_aliases = list(range(most, 0, -1))

    def _on_disconnect(
        self,
        client: mqtt.Client,
        userdata: object,
        flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if self._lost_why is not None:
            return
        self._lost_code = reason.value
        if flags.is_disconnect_packet_from_server:
            self._lost_why = f"the broker disconnected us: {reason}"
        elif reason.value == _KEEP_ALIVE_TIMEOUT:
            self._lost_why = "no sign of life from the broker (keep alive)"

    def _on_publish(
        self, client: mqtt.Client, userdata: object, mid: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.acks.append((mid, reason.value))
        if mid in self._introduced:
            topic, alias = self._introduced.pop(mid)
            if reason.value < 128:
                self._aliases[topic] = alias
            else:
                self._free_aliases.append(alias.number)

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        properties = message.properties
        self.messages.append(
            Incoming(
                message.topic,
                bytes(message.payload),
                message.retain,
                getattr(properties, "ResponseTopic", None),
                getattr(properties, "CorrelationData", None),
                message.qos,
                message.mid,
                tuple(getattr(properties, "SubscriptionIdentifier", ())),
            )
        )

    def _on_subscribe(
        self, client: mqtt.Client, userdata: object, mid: int, reasons: list[ReasonCode], properties: object
    ) -> None:
        self._subacks[mid] = max(reason.value for reason in reasons)


def _packet_bytes(
    topic: str, payload: bytes, properties: Properties | _Alias | None, qos: int, protocol: Protocol
) -> int:
    """Size of the PUBLISH packet."""
    rest = 2 + len(topic.encode()) + (2 if qos else 0) + len(payload)
    if protocol == "5":
        rest += len(properties.pack()) if properties else 1
    return 1 + (1 if rest < 128 else 2 if rest < 16_384 else 3 if rest < 2_097_152 else 4) + rest


def _words(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return not_accepted(exc.verify_message)
    if isinstance(exc, TimeoutError):
        return "no answer (timed out)"
    return str(exc) or type(exc).__name__
