"""A camera's web server, for the integration tests: real HTTP on a loopback port, in a process that can be killed.

    python -m tests.support.http_camera_server PORT [--auth basic|digest-md5|digest-sha256|digest-old] [--fps N]

/mjpg           an endless multipart stream of JPEGs, each saying its own number; ?style= changes how it is written
/image.jpg      one of them
/video.mp4      something else;  /busy  503;  /moved  a redirection;  /huge  a JPEG that says it is 60000x60000
The first line on stdin is "USER:PASSWORD" (empty without --auth). Later lines are what it does from then on:
"well", "garbage" (random bytes as bodies), "drip" (a byte a second), "dribble"
(headers at once, then drops), "mute" (says nothing any more).
Prints "ready" when it listens.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import socket
import sys
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from tests.support.recordings import picture

NONCE = "9f8a7b6c"
STYLES = ("usual", "no-length", "dashes", "bare-newlines", "quoted", "unannounced", "wrong-length")


class State:
    login = ""
    auth = ""
    fps = 10.0
    mode = "well"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        while State.mode == "mute":
            time.sleep(0.05)
        if State.mode == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n" * 1000:
                self.wfile.write(bytes([byte]))
                time.sleep(1.0)
            return
        if State.auth and not self._is_let_in():
            return
        path, _, query = self.path.partition("?")
        if path == "/mjpg":
            self._stream(query.removeprefix("style=") or "usual")
        elif path == "/image.jpg":
            self._whole("image/jpeg", jpeg(int(time.monotonic() * State.fps)))
        elif path == "/huge":
            self._whole("image/jpeg", b"\xff\xd8\xff\xc0\x00\x11\x08\xea\x60\xea\x60\x03" + bytes(100))
        elif path == "/endless":
            self._head("image/jpeg")
            while True:
                self.wfile.write(bytes(1 << 20))
        elif path == "/video.mp4":
            self._whole("video/mp4", b"mp4")
        elif path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
        else:
            self.send_error(503 if path == "/busy" else 404)

    def _head(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _whole(self, kind: str, body: bytes) -> None:
        self._head(kind)
        self.wfile.write(random.randbytes(len(body)) if State.mode == "garbage" else body)

    def _stream(self, style: str) -> None:
        announced = {"quoted": '; boundary="--pic"', "dashes": ";boundary=--pic", "unannounced": ""}
        self._head("multipart/x-mixed-replace" + announced.get(style, "; boundary=pic"))
        end = b"\n" if style == "bare-newlines" else b"\r\n"
        began_s, number = time.monotonic(), 0
        while True:
            body = jpeg(number)
            length = {"no-length": None, "unannounced": None, "wrong-length": len(body) + 7}.get(style, len(body))
            head = [b"--pic", b"Content-Type: image/jpeg"]
            if length is not None:
                head.append(b"Content-Length: %d" % length)
            part = end.join([*head, b"", body, b""])
            if State.mode in ("drip", "dribble"):
                for byte in part:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.2)
            while State.mode == "mute":
                time.sleep(0.05)
            self.wfile.write(random.randbytes(len(part)) if State.mode == "garbage" else part)
            number += 1
            time.sleep(max(0.0, began_s + number / State.fps - time.monotonic()))

    def _is_let_in(self) -> bool:
        given = self.headers.get("Authorization", "")
        if State.auth == "basic":
            offers = ['Basic realm="camera"']
            is_right = given == "Basic " + b64encode(State.login.encode()).decode()
        else:
            offers, is_right = self._digest(given)
        if not is_right:
            self.send_response(401)
            for offer in offers:
                self.send_header("WWW-Authenticate", offer)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return is_right

    def _digest(self, given: str) -> tuple[list[str], bool]:
        algorithm = {"digest-sha256": "SHA-256"}.get(State.auth, "MD5")
        qop = "" if State.auth == "digest-old" else ', qop="auth,auth-int"'
        offers = [f'Digest realm="camera", nonce="{NONCE}"{qop}, opaque="op", algorithm={algorithm}']
        if State.auth == "digest-sha256":
            offers.insert(0, 'Basic realm="camera"')  # the weakest first: it must not be taken
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', given.removeprefix("Digest ")))
        user, _, password = State.login.partition(":")
        make = hashlib.sha256 if algorithm == "SHA-256" else hashlib.md5

        def hashed(text: str) -> str:
            return make(text.encode()).hexdigest()

        ha1, ha2 = hashed(f"{user}:camera:{password}"), hashed(f"GET:{self.path}")
        middle = "" if State.auth == "digest-old" else f"{fields.get('nc')}:{fields.get('cnonce')}:auth:"
        wanted = hashed(f"{ha1}:{NONCE}:{middle}{ha2}")
        return offers, given.startswith("Digest ") and fields.get("response") == wanted


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", picture(number % 1024))[1].tobytes()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # cameras hang up on us all the time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--auth", default="")
    parser.add_argument("--fps", type=float, default=10.0)
    arguments = parser.parse_args()
    State.login = sys.stdin.readline().rstrip("\n")
    State.auth, State.fps = arguments.auth, arguments.fps
    server = Server(("127.0.0.1", arguments.port), Handler)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        State.mode = line.strip()
        print(State.mode, flush=True)
    os._exit(0)  # stdin ended: a killed test leaves no server behind


if __name__ == "__main__":
    main()
