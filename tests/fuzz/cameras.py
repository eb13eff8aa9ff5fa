"""The parsers of ours that read what cameras and strangers in the network say, fed with what none should say.

    python -m tests.fuzz.cameras [--inputs 1000000] [--seed N] [--only NAME]

Each target takes one random input: something true that is then damaged, cut or joined, or noise. It may be refused in
the parser's own words; whatever is taken must keep what the parser promises. Anything else is an exception, which ends
the target's call and is counted. A run is repeated with the seed that it prints; exit code 1 if anything was found.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import cv2
import numpy as np

from drivers.cameras import Credentials
from drivers.cameras.http_auth import Authenticator, parse_challenges
from drivers.cameras.jpeg import jpeg_size_px
from drivers.cameras.multipart import Multipart, NotMultipart, boundary_of
from drivers.cameras.onvif import OnvifFailed, list_streams
from drivers.cameras.onvif.discovery import parse_answer
from drivers.cameras.y4m import NotY4m, parse_header
from tests.support.onvif_camera import DATE, FAULT, PROFILES, capabilities, envelope, probe_match, stream_uri

Target = Callable[[random.Random], None]

HOST = "10.0.0.21"
URL = f"http://{HOST}/onvif/device_service"
_PROBE_MATCHES = [
    probe_match(URL),
    probe_match(f"https://{HOST}:8443/o", name="%D0%9A%00", hardware="a/b"),
    probe_match("http://10.0.0.66/x http://10.0.0.21:70000/"),
]
_SOAP = {
    "GetSystemDateAndTime": [DATE, DATE.replace(">2001<", ">99999<"), DATE.replace(">2<", ">31<")],
    "GetCapabilities": [capabilities("http://192.168.1.108/onvif/media"), capabilities("http://[::1]:x/"), FAULT],
    "GetProfiles": [PROFILES, PROFILES * 40, PROFILES.replace(">1920<", ">-1<")],
    "GetStreamUri": [
        stream_uri("rtsp://admin:pw@192.168.1.108:554/cam?a=1&amp;b=2"),
        stream_uri("rtsp://[::1]/x"),
        FAULT,
    ],
}
_XML_FILLINGS = (
    *(b"<", b">", b"/>", b"&", b"&#0;", b"&#x10ffff;", b"&a;", b"]]>", b"<![CDATA[", b"<!--", b"\x00", b"\xff\xfe"),
    *(b'<!DOCTYPE a [<!ENTITY a "b">]>', b"<?xml version='1.0' encoding='utf-16'?>", b"xmlns:x=''", b"</s:Body>"),
)
_HTTP_FILLINGS = (
    *(b"\r\n", b"\n", b"\r\n\r\n", b"--", b"--pic", b"--pic--", b"\x00", b"Content-Length: ", b"99999999999999999999"),
    *(b"-1", b'"', b"\\", b",", b"=", b";", b"Digest ", b"Basic realm=", b"\xff\xd8", b"\xff\xd9"),
)
_JPEG = cv2.imencode(".jpg", np.zeros((24, 32, 3), np.uint8))[1].tobytes()


def damaged(good: bytes, chance: random.Random, fillings: Sequence[bytes]) -> bytes:
    """One to four things that happen in networks, in buffers and at the hands of strangers; seldom noise."""
    how_often = chance.random()
    if how_often < 0.03:
        return chance.randbytes(chance.randrange(200))
    data = bytearray(good)
    for _ in range(0 if how_often < 0.06 else chance.choice((1, 1, 2, 4))):
        what, at, end = chance.randrange(7), chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
        if what == 0 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif what == 1:
            del data[at:]
        elif what == 2:
            del data[min(at, end) : max(at, end)]
        elif what == 3:
            data[at:at] = data[min(at, end) : max(at, end)]
        elif what == 4:
            data[at:at] = chance.randbytes(chance.randrange(1, 12))
        else:
            data[at:at] = chance.choice(fillings)
    return bytes(data)


def discovery(chance: random.Random) -> None:
    """Whatever a datagram says: an address on the machine that sent it, and words that can be shown."""
    for device in parse_answer(damaged(chance.choice(_PROBE_MATCHES), chance, _XML_FILLINGS), HOST):
        parts = urlsplit(device.service_url)
        assert parts.hostname == device.host == HOST
        assert parts.username is None
        assert (device.service_url + device.name + device.hardware).isprintable()
        assert len(device.name) <= 80
        assert len(device.hardware) <= 80


def soap(chance: random.Random) -> None:
    """A whole conversation. Nothing is asked of another host, and no stream is on another, nor has a login."""
    login = Credentials("cam", "s3cret<&>") if chance.random() < 0.5 else None

    def ask(url: str, message: str) -> bytes:
        assert urlsplit(url).hostname == HOST, url
        assert "s3cret" not in message
        question = next(name for name in _SOAP if f"<{name} " in message)
        true = envelope(chance.choice(_SOAP[question]) if chance.random() < 0.2 else _SOAP[question][0])
        return true if chance.random() < 0.5 else damaged(true, chance, _XML_FILLINGS)

    try:
        streams = list_streams(URL, login, ask=ask)
    except OnvifFailed:
        return
    assert len(streams) <= 12
    for stream in streams:
        parts = urlsplit(stream.url)
        assert (parts.scheme, parts.hostname, parts.username) == ("rtsp", HOST, None)
        assert (stream.url + stream.profile + stream.encoding).isprintable()
        assert 0 <= stream.width_px < 1_000_000


def multipart(chance: random.Random) -> None:
    """An undamaged stream gives its pictures however it is cut; a damaged one never more memory than a picture's."""
    style = chance.randrange(4)
    pictures = [chance.randbytes(chance.randrange(1, 400)).replace(b"pic", b"") or b"x" for _ in range(3)]
    end = b"\n" if style == 1 else b"\r\n"
    stream = b"".join(
        b"--pic" + end + b"Content-Type: image/jpeg" + end
        + (b"" if style == 2 else b"Content-Length: %d" % len(picture) + end)
        + end + picture + end
        for picture in pictures
    )  # fmt: skip
    data = stream if chance.random() < 0.2 else damaged(stream, chance, _HTTP_FILLINGS)
    limit = 2000
    parts = Multipart(None if style == 3 else b"pic", max_part_bytes=limit)
    found = []
    at = 0
    try:
        while at < len(data):
            size = chance.choice((1, 7, 100, 5000)) if len(data) < 3000 else 500
            parts.feed(data[at : at + size])
            at += size
            while (part := parts.next_part()) is not None:
                assert len(part) <= max(limit, len(data))
                found.append(part)
            assert len(parts._buffer) <= limit + 8192 + 5000
    except NotMultipart:
        if data is stream:
            raise
    if data is stream and style != 2:
        assert found == pictures
    assert sum(map(len, found)) <= len(data)


def multipart_header(chance: random.Random) -> None:
    """A Content-Type names a boundary, or none; never an empty one, and never a long one."""
    kind = b'multipart/x-mixed-replace; charset=x;boundary="--pic"'
    boundary = boundary_of(damaged(kind, chance, _HTTP_FILLINGS).decode("latin-1"))
    assert boundary is None or 0 < len(boundary) <= 200


def jpeg(chance: random.Random) -> None:
    """A size is one that the header could hold."""
    size = jpeg_size_px(damaged(_JPEG, chance, (b"\xff", b"\xff\xc0\x00\x11\x08", b"\xff\xe0\x00\x00", b"\xff\xff")))
    assert size is None or all(0 < side < 65536 for side in size)


def http_login(chance: random.Random) -> None:
    """Whatever a server asks for: one line of an answer that does not hold the password, unless it insists on Basic."""
    true = b'Digest realm="camera", nonce="abc", qop="auth,auth-int", opaque="o", algorithm=SHA-256, Basic realm="x"'
    header = damaged(true, chance, _HTTP_FILLINGS).decode("latin-1")
    offers = parse_challenges(header)
    assert len(offers) <= 4096
    authenticator = Authenticator(Credentials("cäm\r\n", 's3cret"\\'))
    can_answer = authenticator.learn([header])
    answer = authenticator.header("GET", "/image.jpg?a=b")
    assert (answer is not None) == can_answer
    if answer is not None and answer.startswith("Digest"):
        assert "s3cret" not in answer
        assert answer.isprintable()


def y4m(chance: random.Random) -> None:
    """A header that is taken describes pictures that fit into memory."""
    try:
        header = parse_header(
            damaged(b"YUV4MPEG2 W1280 H720 F30:1 Ip A1:1 C420jpeg", chance, (b" ", b"W", b"H0", b"9999"))
        )
    except NotY4m:
        return
    assert header.width_px % 8 == header.height_px % 2 == 0
    assert 0 < header.frame_bytes <= 4096 * 4096 * 3 // 2
    assert header.fps >= 0.0


TARGETS: dict[str, Target] = {
    "ws-discovery": discovery,
    "onvif-soap": soap,
    "multipart": multipart,
    "multipart-header": multipart_header,
    "jpeg-size": jpeg,
    "http-login": http_login,
    "y4m-header": y4m,
}


def run(name: str, inputs: int, chance: random.Random) -> list[str]:
    """What went wrong, at most five; each can be seen again with its own seed."""
    wrong: list[str] = []
    for _ in range(inputs):
        seed = chance.randrange(1 << 48)
        try:
            TARGETS[name](random.Random(seed))
        except Exception as exc:  # what this whole command is for
            wrong.append(f"{name}: random.Random({seed}): {exc!r}")
            if len(wrong) == 5:
                break
    return wrong


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.cameras", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="all targets together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", choices=TARGETS, help="this target alone")
    options = parser.parse_args()
    names = [options.only] if options.only else list(TARGETS)
    each = -(-options.inputs // len(names))
    print(f"seed {options.seed}", flush=True)
    failures = 0
    for name in names:
        began_s = time.monotonic()
        wrong = run(name, each, random.Random(f"{options.seed} {name}"))
        failures += len(wrong)
        print(f"{name:18}{each:10,} inputs  {len(wrong)} wrong  {time.monotonic() - began_s:6.0f} s", flush=True)
        for line in wrong:
            print(f"    {line}")
    print(f"{each * len(names):,} inputs")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
