"""Ask one ONVIF camera which streams it has. Five questions; answers are read by `safe_xml`, and only as far as needed.

The login goes to the host that was asked and to no other: addresses in answers keep their path and lose their host. It
is sent in both ways that the standard knows, as a digest in the message and as HTTP Digest where that is asked for.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from urllib.parse import urlsplit, urlunsplit
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from drivers.cameras.credentials import Credentials
from drivers.cameras.http_client import HttpCamera, HttpFailed
from drivers.cameras.onvif.safe_xml import MAX_BYTES, BadXml, parse, text

_TIMEOUT_S = 4.0
_MOST_PROFILES = 12
_LONGEST_WORD = 200
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">'
    "<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
)
_DEVICE = "http://www.onvif.org/ver10/device/wsdl"
_MEDIA = "http://www.onvif.org/ver10/media/wsdl"
_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_DIGEST = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"

Ask = Callable[[str, str], bytes]
"""The smallest call: (address, message) -> answer. Raises HttpFailed."""


class OnvifFailed(Exception):
    """The camera does not tell its streams. refused: to us, without a (right) login. The text is for people."""

    def __init__(self, words: str, *, refused: bool = False) -> None:
        super().__init__(words)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Stream:
    """One profile of a camera. url: rtsp, on the camera's own host, without a login. Sizes are 0 if it does not say."""

    profile: str
    encoding: str  # "H264", "H265", "JPEG"
    width_px: int
    height_px: int
    fps: float
    url: str


def list_streams(
    service_url: str, credentials: Credentials | None, *, timeout_s: float = _TIMEOUT_S, ask: Ask | None = None
) -> list[Stream]:
    """The streams of a camera, in its own order, at most 12. Raises OnvifFailed.

    timeout_s: for each question. ask: for tests.
    """
    return _Conversation(service_url, credentials, ask or _asker(credentials, timeout_s)).streams()


class _Conversation:
    def __init__(self, service_url: str, credentials: Credentials | None, ask: Ask) -> None:
        self._service_url = service_url
        self._credentials = credentials
        self._ask = ask
        self._clock_ahead = timedelta()

    def streams(self) -> list[Stream]:
        if self._credentials is not None:
            self._clock_ahead = self._how_far_ahead()
        capabilities = self._question(
            self._service_url, f'<GetCapabilities xmlns="{_DEVICE}"><Category>Media</Category></GetCapabilities>'
        )
        media_url = self._on_its_host(text(capabilities, ".//Media/XAddr")) or self._service_url
        profiles = self._question(media_url, f'<GetProfiles xmlns="{_MEDIA}"/>').iter("Profiles")
        found = []
        failed: OnvifFailed | None = None
        for profile in islice(profiles, _MOST_PROFILES):
            try:
                stream = self._stream(media_url, profile)
            except OnvifFailed as exc:  # some profiles are for recording only, and have no stream
                failed = exc
                continue
            if stream is not None:
                found.append(stream)
        if failed is not None and not found:
            raise failed
        return found

    def _stream(self, media_url: str, profile: Element) -> Stream | None:
        token = profile.get("token", "")
        answer = self._question(
            media_url,
            f'<GetStreamUri xmlns="{_MEDIA}"><StreamSetup><Stream xmlns="http://www.onvif.org/ver10/schema">RTP-Unicast'
            '</Stream><Transport xmlns="http://www.onvif.org/ver10/schema"><Protocol>RTSP</Protocol></Transport>'
            f"</StreamSetup><ProfileToken>{escape(token)}</ProfileToken></GetStreamUri>",
        )
        url = self._on_its_host(text(answer, ".//MediaUri/Uri"), scheme="rtsp")
        if url is None:
            return None
        encoder = profile.find("VideoEncoderConfiguration")
        return Stream(
            profile=_shown(text(profile, "Name") or token),
            encoding=_shown(text(encoder, "Encoding")),
            width_px=_whole(text(encoder, "Resolution/Width")),
            height_px=_whole(text(encoder, "Resolution/Height")),
            fps=float(_whole(text(encoder, "RateControl/FrameRateLimit"))),
            url=url,
        )

    def _how_far_ahead(self) -> timedelta:
        """Of our clock the camera's is; a login is refused if its time is not the camera's. Asked without a login."""
        try:
            answer = self._question(self._service_url, f'<GetSystemDateAndTime xmlns="{_DEVICE}"/>', login=False)
        except OnvifFailed:
            return timedelta()
        utc = answer.find(".//UTCDateTime")
        fields = [text(utc, f"Date/{name}") for name in ("Year", "Month", "Day")]
        fields += [text(utc, f"Time/{name}") for name in ("Hour", "Minute", "Second")]
        try:
            return datetime(*(int(field[:5]) for field in fields), tzinfo=UTC) - datetime.now(UTC)  # type: ignore[arg-type,misc]
        except ValueError:
            return timedelta()

    def _question(self, url: str, body: str, *, login: bool = True) -> Element:
        header = ""
        if login and self._credentials is not None:
            header = security_header(self._credentials, datetime.now(UTC) + self._clock_ahead, secrets.token_bytes(16))
        try:
            answer = parse(self._ask(url, _ENVELOPE.format(header=header, body=body)))
        except HttpFailed as exc:
            raise OnvifFailed(exc.words, refused=exc.status in (401, 403)) from exc
        except BadXml as exc:
            raise OnvifFailed(f"its answer is {exc}") from exc
        fault = answer.find(".//Fault")
        if fault is not None:
            raise _fault(fault)
        return answer

    def _on_its_host(self, url: str, scheme: str | None = None) -> str | None:
        """The address without a login, on the host that we talk to; None if it is none."""
        try:
            parts, host = urlsplit(url), urlsplit(self._service_url)
            port = parts.port if scheme else host.port
            wanted = scheme or host.scheme
            if not parts.hostname or (scheme and parts.scheme.lower() != scheme) or not url.isprintable():
                return None
        except ValueError:
            return None
        netloc = f"[{host.hostname}]" if ":" in (host.hostname or "") else host.hostname or ""
        return urlunsplit((wanted, f"{netloc}:{port}" if port else netloc, parts.path, parts.query, ""))[:500]


def security_header(credentials: Credentials, at: datetime, nonce: bytes) -> str:
    """WS-Security's UsernameToken with a digest: the password itself is not in it."""
    created = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = b64encode(hashlib.sha1(nonce + created.encode() + credentials.password.encode()).digest()).decode()
    return (
        f'<w:Security xmlns:w="{_WSSE}" xmlns:u="{_WSU}" s:mustUnderstand="1"><w:UsernameToken>'
        f"<w:Username>{escape(credentials.user)}</w:Username>"
        f'<w:Password Type="{_DIGEST}">{digest}</w:Password>'
        f"<w:Nonce>{b64encode(nonce).decode()}</w:Nonce><u:Created>{created}</u:Created>"
        "</w:UsernameToken></w:Security>"
    )


def _fault(fault: Element) -> OnvifFailed:
    words = _shown(text(fault, "Reason/Text") or text(fault, "faultstring") or "it says no more")
    codes = " ".join((value.text or "") for value in fault.iter("Value")) + words
    refused = any(word in codes.lower() for word in ("notauthorized", "not authorized", "unauthorized"))
    return OnvifFailed(f"it refuses: {words}", refused=refused)


def _asker(credentials: Credentials | None, timeout_s: float) -> Ask:
    def ask(url: str, message: str) -> bytes:
        camera = HttpCamera(url, credentials, timeout_s=timeout_s)
        headers = {"Content-Type": "application/soap+xml; charset=utf-8"}
        # Faults come as 400 or 500; what they say is in the body.
        with camera.answer("POST", message.encode(), headers, accepted=(200, 400, 500)) as response:
            return camera.whole_body(response, max_bytes=MAX_BYTES)

    return ask


def _shown(words: str) -> str:
    return "".join(c if c.isprintable() else " " for c in words)[:_LONGEST_WORD].strip()


def _whole(digits: str) -> int:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 6 else 0
