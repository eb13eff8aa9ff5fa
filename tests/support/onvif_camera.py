"""A scripted ONVIF camera on loopback: answers WS-Discovery by UDP, and SOAP by HTTP. What it says can be set."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import struct
import threading
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GROUP = "239.255.255.250"
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" '
    'xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:ter="http://www.onvif.org/ver10/error" '
    'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><SOAP-ENV:Body>{}</SOAP-ENV:Body></SOAP-ENV:Envelope>'
)
FAULT = (
    "<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value><SOAP-ENV:Subcode>"
    "<SOAP-ENV:Value>ter:NotAuthorized</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code><SOAP-ENV:Reason>"
    '<SOAP-ENV:Text xml:lang="en">Sender not Authorized</SOAP-ENV:Text></SOAP-ENV:Reason></SOAP-ENV:Fault>'
)
DATE = (
    "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:UTCDateTime><tt:Time><tt:Hour>3</tt:Hour>"
    "<tt:Minute>4</tt:Minute><tt:Second>5</tt:Second></tt:Time><tt:Date><tt:Year>2001</tt:Year><tt:Month>2</tt:Month>"
    "<tt:Day>3</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
)
PROFILES = "".join(
    f'<trt:Profiles token="{token}" fixed="true"><tt:Name>{name}</tt:Name><tt:VideoEncoderConfiguration token="v">'
    f"<tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height>"
    "</tt:Resolution><tt:RateControl><tt:FrameRateLimit>25</tt:FrameRateLimit></tt:RateControl>"
    "</tt:VideoEncoderConfiguration></trt:Profiles>"
    for token, name, width, height in (("t1", "mainStream", 1920, 1080), ("t2", "subStream", 640, 360))
)


def envelope(body: str) -> bytes:
    return _ENVELOPE.format(body).encode()


def capabilities(media_url: str) -> str:
    return (
        "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media>"
        f"<tt:XAddr>{media_url}</tt:XAddr></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>"
    )


def stream_uri(url: str) -> str:
    return f"<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>{url}</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>"


def probe_match(service_url: str, name: str = "Acme%20Cam", hardware: str = "IPC-1") -> bytes:
    return envelope(
        "<d:ProbeMatches><d:ProbeMatch><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>"
        f"onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/name/{name} "
        f"onvif://www.onvif.org/hardware/{hardware}</d:Scopes><d:XAddrs>http://[fe80::1]/onvif {service_url}</d:XAddrs>"
        "</d:ProbeMatch></d:ProbeMatches>"
    )


class OnvifCamera:
    """auth: None, "wsse" (a token in the message) or "digest" (HTTP). Its clock stands in 2001."""

    def __init__(self, *, auth: str | None = None, user: str = "", password: str = "", udp_port: int = 0) -> None:
        self.auth, self.user, self.password = auth, user, password
        self.questions: list[str] = []
        self.probes: list[bytes] = []
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def do_POST(self) -> None:
                camera._answer(self)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.service_url = f"http://127.0.0.1:{self._http.server_port}/onvif/device_service"
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("", udp_port))
        self.udp_port = int(self._udp.getsockname()[1])
        self._udp.setsockopt(
            socket.IPPROTO_IP,
            socket.IP_ADD_MEMBERSHIP,
            struct.pack("=4s4si", socket.inet_aton(GROUP), bytes(4), socket.if_nametoindex("lo")),
        )
        self._threads = [threading.Thread(target=self._http.serve_forever), threading.Thread(target=self._discovery)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> OnvifCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        with contextlib.suppress(OSError):
            self._udp.shutdown(socket.SHUT_RDWR)
        self._udp.close()
        for thread in self._threads:
            thread.join()

    def _discovery(self) -> None:
        while True:
            try:
                data, asker = self._udp.recvfrom(65535)
            except OSError:
                return
            if not data:
                return
            self.probes.append(data)
            self._udp.sendto(b"\x00garbage", asker)
            self._udp.sendto(probe_match(self.service_url), asker)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        message = request.rfile.read(int(request.headers["Content-Length"])).decode()
        question = re.findall(r"<s:Body><(\w+)", message)[0]
        self.questions.append(question)
        is_open = self.auth is None or question == "GetSystemDateAndTime"
        if not is_open and self.auth == "digest" and not self._digest_is_right(request):
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Digest realm="onvif", nonce="n1", qop="auth"')
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if not is_open and self.auth == "wsse" and not self._token_is_right(message):
            self._send(request, 400, FAULT)
            return
        body = {
            "GetSystemDateAndTime": DATE,
            # As behind a router: it names an address that only it knows.
            "GetCapabilities": capabilities("http://192.168.1.108/onvif/media"),
            "GetProfiles": f"<trt:GetProfilesResponse>{PROFILES}</trt:GetProfilesResponse>",
            "GetStreamUri": stream_uri("rtsp://admin:pw@192.168.1.108:554/" + ("sub" if ">t2<" in message else "main")),
        }[question]
        self._send(request, 200, body)

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: str) -> None:
        data = envelope(body)
        request.send_response(status)
        request.send_header("Content-Type", "application/soap+xml")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _digest_is_right(self, request: BaseHTTPRequestHandler) -> bool:
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("Authorization", "")))
        ha1 = hashlib.md5(f"{self.user}:onvif:{self.password}".encode()).hexdigest()
        ha2 = hashlib.md5(f"POST:{request.path}".encode()).hexdigest()
        wanted = hashlib.md5(f"{ha1}:n1:{given.get('nc')}:{given.get('cnonce')}:auth:{ha2}".encode()).hexdigest()
        return given.get("response") == wanted

    def _token_is_right(self, message: str) -> bool:
        found = dict(re.findall(r"<[wu]:(\w+)[^>]*>([^<]+)<", message))
        if not found.get("Created", "").startswith("2001-02-03T03:04"):  # by its own clock
            return False
        raw = b64decode(found["Nonce"]) + found["Created"].encode() + self.password.encode()
        return found["Password"] == b64encode(hashlib.sha1(raw).digest()).decode() and found["Username"] == self.user
