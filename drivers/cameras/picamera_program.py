"""A Raspberry Pi's ribbon-cable camera: picamera2's pictures as YUV4MPEG2, written into a pipe.

    python3 -I picamera_program.py CAMERA WIDTH HEIGHT FPS FD

Runs under the system's Python, where Raspberry Pi OS installs picamera2 (it is made for that system's libcamera and
cannot be had elsewhere), started by `drivers.cameras.csi`. Imports nothing of the agent. WIDTH is of whole 8 pixels.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator


def pictures(number: int, width_px: int, height_px: int, fps: float) -> Iterator[tuple[memoryview, int]]:
    """Endlessly (picture as a flat buffer of I420, bytes in a row of it). The only use of picamera2."""
    from picamera2 import Picamera2  # here, so that its absence is told in our words

    camera = Picamera2(number)
    camera.configure(
        camera.create_video_configuration(
            main={"size": (width_px, height_px), "format": "YUV420"}, controls={"FrameRate": fps}, buffer_count=4
        )
    )
    stride = camera.camera_configuration()["main"]["stride"]
    camera.start()
    while True:
        yield camera.capture_buffer("main"), stride


def without_padding(buffer: memoryview, width_px: int, height_px: int, stride: int) -> list[memoryview]:
    """I420 with every row as long as the picture is wide; libcamera likes rows of whole 64 bytes."""
    flat = memoryview(buffer).cast("B")
    if stride == width_px:
        return [flat[: width_px * height_px * 3 // 2]]
    rows = [(at * stride, width_px) for at in range(height_px)]
    chroma = height_px * stride
    rows += [(chroma + at * (stride // 2), width_px // 2) for at in range(height_px)]  # U, then V: half as many each
    return [flat[start : start + length] for start, length in rows]


def main() -> None:
    number, width_px, height_px = (int(word) for word in sys.argv[1:4])
    fps, fd = float(sys.argv[4]), int(sys.argv[5])
    try:
        with os.fdopen(fd, "wb", buffering=1 << 20) as out:
            head = b"YUV4MPEG2 W%d H%d F%d:1000 C420\n" % (width_px, height_px, round(fps * 1000))
            for buffer, stride in pictures(number, width_px, height_px, fps):
                out.write(head + b"FRAME\n")
                head = b""  # once, and not before there is a picture: the agent takes it for the camera's word
                for row in without_padding(buffer, width_px, height_px, stride):
                    out.write(row)
                out.flush()
    except ImportError as exc:
        sys.exit(f"no picamera2 ({exc}); on Raspberry Pi OS: apt-get install python3-picamera2")
    except IndexError:
        sys.exit(f"no ribbon-cable camera {number}; rpicam-hello --list-cameras shows what is connected")
    except BrokenPipeError:
        os._exit(0)  # nobody reads any more


if __name__ == "__main__":
    main()
