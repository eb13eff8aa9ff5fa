#!/usr/bin/python3
"""An RTSP server with live test pictures, for the integration tests. Runs under the system's Python (GStreamer's gi).

    rtsp_server.py PORT [--login] [--size WxH] [--fps N] [--bitrate KBIT] [--codecs h264,h265]

Streams /h264 and /h265: a moving ball, made as fast as the clock goes. With --login, "USER:PASSWORD" is read from
stdin, so that a test can look for the password in every command line. Prints "ready" when it listens on 127.0.0.1:PORT.
"""

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate={kbit} key-int-max={gop} ! "
    "video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96 config-interval=1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate={kbit} key-int-max={gop} ! "
    "rtph265pay name=pay0 pt=96 config-interval=1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port")
    parser.add_argument("--login", action="store_true")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--bitrate", type=int, default=500)
    parser.add_argument("--codecs", default="h264,h265")
    args = parser.parse_args()
    width, height = args.size.split("x")

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    launches = {
        f"/{codec}": (
            f"( videotestsrc is-live=true pattern=ball ! "
            f"video/x-raw,format=I420,width={width},height={height},framerate={args.fps}/1 ! "
            + ENCODERS[codec].format(kbit=args.bitrate, gop=args.fps)
            + " )"
        )
        for codec in args.codecs.split(",")
    }
    auth = token = None
    if args.login:
        user, _, password = sys.stdin.readline().rstrip("\n").partition(":")
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtspServer.RTSPAuth.get_supported_methods(auth))
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        auth.add_digest(user, password, token)
        server.set_auth(auth)

    for path, launch in launches.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_shared(True)
        factory.set_launch(launch)
        if auth is not None:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("viewer", "media.factory.access", True)
            permissions.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)

    if not server.attach(None):
        raise SystemExit(f"cannot listen on 127.0.0.1:{args.port}")
    loop = GLib.MainLoop()
    GLib.io_add_watch(0, GLib.IO_HUP, lambda *_: loop.quit())  # a killed test leaves no server behind
    print("ready", flush=True)
    loop.run()


main()
