"""The parsers of ours that read what cameras, strangers in the network and decoder processes say."""

from __future__ import annotations

import mmap
import random
import time
from functools import cache
from urllib.parse import urlsplit

import cv2
import numpy as np

from drivers.cameras import Credentials
from drivers.cameras.decoded import granted_by
from drivers.cameras.decoder_process import DecoderGone, DecoderProcess
from drivers.cameras.decoder_protocol import FRAME_BYTES, MAX_PIXELS, message_line
from drivers.cameras.http_auth import Authenticator, parse_challenges
from drivers.cameras.jpeg import jpeg_size_px
from drivers.cameras.multipart import Multipart, NotMultipart, boundary_of
from drivers.cameras.onvif import OnvifFailed, list_streams
from drivers.cameras.onvif.discovery import parse_answer
from drivers.cameras.y4m import NotY4m, parse_header
from tests.fuzz.damage import damaged
from tests.fuzz.run import Outcome, Target
from tests.support.onvif_camera import DATE, FAULT, PROFILES, capabilities, envelope, probe_match, stream_uri

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
_JSON_FILLINGS = (
    *(
        b"{",
        b"}",
        b"[",
        b"[" * 2000,
        b'"',
        b":",
        b",",
        b"-",
        b"e999",
        b"0",
        b"9999999999",
        b"null",
        b"NaN",
        b"Infinity",
    ),
    *(b'"frame"', b'"opened"', b"\x00", b"\\ud800"),
)
_DECODER_SAYS = (
    message_line("opened", width_px=640, height_px=360, fps=25.0, codec="h264").strip(),
    message_line("frame", width_px=64, height_px=36, index=17, mono_s=123456.5).strip(),
    message_line("failed", reason="refused", words="401").strip(),
)
_JPEG = cv2.imencode(".jpg", np.zeros((24, 32, 3), np.uint8))[1].tobytes()


def discovery(chance: random.Random) -> Outcome:
    """Whatever a datagram says: an address on the machine that sent it, and words that can be shown."""
    devices = parse_answer(damaged(chance.choice(_PROBE_MATCHES), chance, _XML_FILLINGS), HOST)
    for device in devices:
        parts = urlsplit(device.service_url)
        assert parts.hostname == device.host == HOST
        assert parts.username is None
        assert (device.service_url + device.name + device.hardware).isprintable()
        assert len(device.name) <= 80
        assert len(device.hardware) <= 80
    return Outcome.TAKEN if devices else Outcome.NOTHING


def soap(chance: random.Random) -> Outcome:
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
        return Outcome.REFUSED
    assert len(streams) <= 12
    for stream in streams:
        parts = urlsplit(stream.url)
        assert (parts.scheme, parts.hostname, parts.username) == ("rtsp", HOST, None)
        assert (stream.url + stream.profile + stream.encoding).isprintable()
        assert 0 <= stream.width_px < 1_000_000
    return Outcome.TAKEN if streams else Outcome.NOTHING


def multipart(chance: random.Random) -> Outcome:
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
    refused = False
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
        assert data is not stream
        refused = True
    if data is stream and style != 2:
        assert found == pictures
    assert sum(map(len, found)) <= len(data)
    return Outcome.REFUSED if refused else Outcome.TAKEN if found else Outcome.NOTHING


def multipart_header(chance: random.Random) -> Outcome:
    """A Content-Type names a boundary, or none; never an empty one, and never a long one."""
    kind = b'multipart/x-mixed-replace; charset=x;boundary="--pic"'
    boundary = boundary_of(damaged(kind, chance, _HTTP_FILLINGS).decode("latin-1"))
    assert boundary is None or 0 < len(boundary) <= 200
    return Outcome.REFUSED if boundary is None else Outcome.TAKEN


def jpeg(chance: random.Random) -> Outcome:
    """A size is one that the header could hold."""
    size = jpeg_size_px(damaged(_JPEG, chance, (b"\xff", b"\xff\xc0\x00\x11\x08", b"\xff\xe0\x00\x00", b"\xff\xff")))
    assert size is None or all(0 < side < 65536 for side in size)
    return Outcome.REFUSED if size is None else Outcome.TAKEN


def http_login(chance: random.Random) -> Outcome:
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
    return Outcome.TAKEN if can_answer else Outcome.REFUSED


def y4m(chance: random.Random) -> Outcome:
    """A header that is taken describes pictures that fit into memory."""
    try:
        header = parse_header(
            damaged(b"YUV4MPEG2 W1280 H720 F30:1 Ip A1:1 C420jpeg", chance, (b" ", b"W", b"H0", b"9999"))
        )
    except NotY4m:
        return Outcome.REFUSED
    assert header.width_px % 8 == header.height_px % 2 == 0
    assert 0 < header.frame_bytes <= 4096 * 4096 * 3 // 2
    assert header.fps >= 0.0
    return Outcome.TAKEN


def decoder(chance: random.Random) -> Outcome:
    """Whatever a decoder process says (it may be in a stranger's hands): what can be, or nonsense."""
    process = _silent_decoder()
    said = damaged(chance.choice(_DECODER_SAYS), chance, _JSON_FILLINGS)
    process._out[:] = said.replace(b"123456.5", b"%.3f" % time.monotonic()) + b"\n"
    try:
        kind, fields = process.next_message(0.0)
    except DecoderGone:
        return Outcome.REFUSED
    if kind == "frame":
        frame = process.frame(fields)
        assert frame is None or (frame.image_bgr.size <= FRAME_BYTES and frame.index >= 0)
        return Outcome.REFUSED if frame is None else Outcome.TAKEN
    if kind == "opened":
        granted = granted_by(fields)
        if granted is None:
            return Outcome.REFUSED
        assert 0 < granted.width_px * granted.height_px <= MAX_PIXELS
        assert granted.fps == 0.0 or 0.1 <= granted.fps <= 240.0
        return Outcome.TAKEN
    return Outcome.NOTHING


class _SilentDecoder(DecoderProcess):
    """Without a process and without pictures: what it says is put into its mouth."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._memory = mmap.mmap(-1, FRAME_BYTES)


_silent_decoder = cache(_SilentDecoder)


def targets() -> list[Target]:
    return [
        Target("ws-discovery", discovery),
        Target("onvif-soap", soap),
        Target("multipart", multipart),
        Target("multipart-header", multipart_header),
        Target("jpeg-size", jpeg),
        Target("http-login", http_login),
        Target("y4m-header", y4m),
        Target("decoder", decoder),
    ]
