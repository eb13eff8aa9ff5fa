"""WS-Discovery: ask everybody in the local network at once which cameras there are, and listen for a while.

One question by multicast on each interface, answers by unicast. An answer is a stranger's word: only addresses on the
machine that it came from are believed, so that nobody can send us, and later a login, elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from drivers.cameras.onvif.safe_xml import BadXml, parse, text

MULTICAST = ("239.255.255.250", 3702)
_MOST_DEVICES = 256
_ASKED_AT_S = (0.0, 0.5)  # twice: a datagram may get lost
_LONGEST_WORD = 80
_SIOCGIFADDR = 0x8915
_PROBE = (
    '<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
    'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" '
    'xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><e:Header><w:MessageID>uuid:{message_id}</w:MessageID>'
    "<w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>"
    "<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>"
    "<e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>"
)


@dataclass(frozen=True, slots=True)
class OnvifDevice:
    """A camera that answered. service_url: where it takes questions, on the host that answered."""

    host: str
    service_url: str
    name: str
    hardware: str


def discover(
    *,
    interfaces: Sequence[str] | None = None,
    listen_s: float = 3.0,
    multicast: tuple[str, int] = MULTICAST,
    mono_s: Callable[[], float] = time.monotonic,
) -> list[OnvifDevice]:
    """The cameras that answer within listen_s, in the order of their addresses.

    interfaces: names such as "eth0"; by default all but the loopback. One that is down is passed over.
    """
    names = [name for _, name in socket.if_nameindex() if name != "lo"] if interfaces is None else list(interfaces)
    probe = _PROBE.format(message_id=uuid.uuid4()).encode()
    found: dict[str, OnvifDevice] = {}
    with contextlib.ExitStack() as stack:
        sockets = [sock for name in names if (sock := _socket_on(name)) is not None]
        for sock in sockets:
            stack.enter_context(sock)
        began_s = mono_s()
        questions = list(_ASKED_AT_S)
        while sockets and (left_s := began_s + listen_s - mono_s()) > 0 and len(found) < _MOST_DEVICES:
            if questions and mono_s() - began_s >= questions[0]:
                questions.pop(0)
                for sock in sockets:
                    with contextlib.suppress(OSError):  # no way out on this interface
                        sock.sendto(probe, multicast)
            wait_s = min(left_s, max(0.0, began_s + questions[0] - mono_s())) if questions else left_s
            for sock in select.select(sockets, [], [], wait_s)[0]:
                with contextlib.suppress(OSError):
                    data, (host, _) = sock.recvfrom(65535)
                    for device in parse_answer(data, host):
                        found.setdefault(device.service_url, device)
    return sorted(found.values(), key=lambda device: socket.inet_aton(device.host))


def parse_answer(data: bytes, host: str) -> list[OnvifDevice]:
    """The devices in one datagram from an IPv4 address; none, if it is anything else than an answer to us."""
    try:
        matches = parse(data).iter("ProbeMatch")
    except BadXml:
        return []
    return [device for match in matches if (device := _device(match, host)) is not None]


def _device(match: Element, host: str) -> OnvifDevice | None:
    url = next((url for url in text(match, "XAddrs").split() if _is_on(url, host)), None)
    if url is None:
        return None
    scopes = text(match, "Scopes").split()
    return OnvifDevice(host, url, _scope(scopes, "name"), _scope(scopes, "hardware"))


def _is_on(url: str, host: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and parts.hostname == host
            and parts.username is None
            and parts.port != 0
            and url.isprintable()
            and len(url) < 500
        )
    except ValueError:
        return False


def _scope(scopes: list[str], kind: str) -> str:
    """The word behind onvif://www.onvif.org/KIND/, as far as it can be shown."""
    start = f"onvif://www.onvif.org/{kind}/"
    word = next((unquote(scope[len(start) :]) for scope in scopes if scope.lower().startswith(start)), "")
    return "".join(c if c.isprintable() else " " for c in word)[:_LONGEST_WORD].strip()


def _socket_on(interface: str) -> socket.socket | None:
    """A socket that asks on one interface; None if that has no IPv4 address now."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        name = interface.encode()[:15]
        address = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("16s240x", name))[20:24]
        index = socket.if_nametoindex(interface)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), address, index))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        sock.setblocking(False)
    except OSError:
        sock.close()
        return None
    return sock
