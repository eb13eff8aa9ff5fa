"""The camera's side of the decoder process, against decoders that misbehave: small scripts in the child's place."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.base import CameraRefused, CameraStalled, CameraUnavailable
from drivers.cameras import Credentials, NetworkCamera, decoded

Make = Callable[..., NetworkCamera]
URL = "rtsp://127.0.0.1:1/x"
OPENED = """echo '{"opened": {"width_px": 4, "height_px": 2, "fps": 10, "codec": "h264"}}'"""


@pytest.fixture
def camera_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    cameras: list[NetworkCamera] = []

    def make(script: str, credentials: Credentials | None = None, start_timeout_s: float = 5.0) -> NetworkCamera:
        program = tmp_path / "decoder.sh"
        program.write_text(f"#!/bin/sh\nread -r request\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        monkeypatch.setattr(decoded, "_START_TIMEOUT_S", start_timeout_s)
        cameras.append(NetworkCamera("north", URL, credentials=credentials, open_timeout_s=0.0))
        return cameras[-1]

    yield make
    for camera in cameras:
        camera.close()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("echo hello", "speaks nonsense", id="no json"),
        pytest.param("echo '[1, 2]'", "speaks nonsense", id="json but no message"),
        pytest.param("""echo '{"opened": {"width_px": "wide"}}'""", "speaks nonsense", id="wrong fields"),
        pytest.param(OPENED.replace("4,", "1e999,"), "speaks nonsense", id="wide without end"),
        pytest.param(OPENED.replace("4,", "0,"), "speaks nonsense", id="no width"),
        pytest.param(OPENED.replace("4,", "99999999,"), "speaks nonsense", id="more than the memory holds"),
        pytest.param("printf '%09999d\\n' 0 | tr 0 '['", "speaks nonsense", id="lists in lists without end"),
        pytest.param("head -c 100000 /dev/zero; sleep 5", "speaks nonsense", id="a line without end"),
        pytest.param("exit 3", "ended with 3", id="exits"),
        pytest.param("echo >&2 out of memory; exit 3", r"ended with 3 \(out of memory\)", id="exits with a word"),
        pytest.param("kill -SEGV $$", "ended by SIGSEGV", id="crashes"),
    ],
)
def test_a_decoder_that_misbehaves_at_the_start_makes_the_camera_unavailable(
    camera_with: Make, script: str, words: str
) -> None:
    camera = camera_with(script)
    with pytest.raises(CameraUnavailable, match=words):
        camera.open()
    assert camera.decoder_pid is None


def test_a_decoder_that_says_nothing_is_given_up(camera_with: Make) -> None:
    camera = camera_with("sleep 60", start_timeout_s=0.1)
    with pytest.raises(CameraUnavailable, match="gave no sign"):
        camera.open()
    assert camera.decoder_pid is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("""echo '{"frame": {}}'""", "speaks nonsense", id="no fields"),
        pytest.param(
            """echo '{"frame": {"index": 0, "width_px": 99999, "height_px": 99999, "mono_s": 1.0}}'""",
            "speaks nonsense",
            id="more than the memory holds",
        ),
        pytest.param(
            """echo '{"frame": {"index": 0, "width_px": -4, "height_px": -2, "mono_s": 1.0}}'""",
            "speaks nonsense",
            id="negative",
        ),
        pytest.param(
            """echo '{"frame": {"index": 0, "width_px": 1e999, "height_px": 2, "mono_s": 1.0}}'""",
            "speaks nonsense",
            id="wide without end",
        ),
        pytest.param(
            """echo '{"frame": {"index": 0, "width_px": 4, "height_px": 2, "mono_s": NaN}}'""",
            "speaks nonsense",
            id="a time that is none",
        ),
        pytest.param("""echo '{"failed": {"reason": "ended"}}'""", "broke off", id="the stream ended"),
        pytest.param(
            """echo 'bad data' >&2; echo '{"failed": {"reason": "ended"}}'""",
            r"broke off .*\(FFmpeg: bad data\)",
            id="the stream ended with a word",
        ),
        pytest.param(
            """echo '{"failed": {"reason": "too-big 8000x6000"}}'""", "8000x6000.*smaller", id="grew too large"
        ),
        pytest.param(
            """echo >&2 '[swscaler @ 0x5] Slice parameters 0, 480 are invalid'; echo '{"frame": {}}'""",
            "changed their size",
            id="the pictures changed size under an OpenCV that cannot follow",
        ),
        pytest.param("exit 0", "ended with 0", id="exits"),
        pytest.param("sleep 60", "no picture from .* for 0.3 s", id="says nothing"),
    ],
)
def test_a_decoder_that_misbehaves_later_is_a_stall(camera_with: Make, script: str, words: str) -> None:
    camera = camera_with(f"{OPENED}\nhead -c 1 >/dev/null\n{script}")
    granted = camera.open()
    assert (granted.width_px, granted.height_px) == (4, 2)
    with pytest.raises(CameraStalled, match=words):
        camera.read(0.3 if script == "sleep 60" else 10.0)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("method DESCRIBE failed: 401 (Unauthorized)", CameraRefused, "wants a login"),
        ("[rtsp @ 0x55] method DESCRIBE failed: 404 Not Found", CameraRefused, "no such stream"),
        ("method SETUP failed: 403 Forbidden", CameraRefused, "may not see"),
        ("method SETUP failed: 461 Unsupported transport", CameraRefused, r"refuses the request \(461\)"),
        ("method DESCRIBE failed: 503 Service Unavailable", CameraUnavailable, "status 503"),
        ("Connection to tcp://127.0.0.1:1?timeout=0 failed: No route to host", CameraUnavailable, "no way to that"),
    ],
)
def test_what_ffmpeg_says_becomes_a_sentence(
    camera_with: Make, said: str, error: type[CameraUnavailable], words: str
) -> None:
    camera = camera_with(f"""echo '{said}' >&2; echo '{{"failed": {{"reason": "not-opened"}}}}'; sleep 60""")
    with pytest.raises(CameraUnavailable, match=words) as caught:
        camera.open()
    assert type(caught.value) is error


def test_an_unexplained_failure_says_what_the_network_says_and_ffmpegs_last_words(camera_with: Make) -> None:
    camera = camera_with("""echo 'it is odd' >&2; echo '{"failed": {"reason": "not-opened"}}'; sleep 60""")
    with pytest.raises(CameraUnavailable, match=r"Connection refused.*\(FFmpeg: it is odd\)"):
        camera.open()


def test_a_stream_that_does_not_announce_its_size_is_looked_at_longer_the_next_time(camera_with: Make) -> None:
    no_size = """echo '{"failed": {"reason": "no-size"}}'; sleep 60"""
    camera = camera_with(f"""case "$request" in *'"thorough": true'*) {OPENED};; *) {no_size};; esac""")
    with pytest.raises(CameraUnavailable, match="looking longer next"):
        camera.open()
    assert camera.open().width_px == 4


def test_a_chatty_decoder_cannot_bring_out_the_password_or_block_itself(camera_with: Make) -> None:
    login = Credentials("cam", "s3cret@/")
    flood = 'i=0; while [ $i -lt 2000 ]; do echo >&2 "cannot open $request"; i=$((i+1)); done'
    camera = camera_with(f"""{flood}; echo '{{"failed": {{"reason": "not-opened"}}}}'; sleep 60""", login)
    with pytest.raises(CameraUnavailable) as caught:
        camera.open()
    assert "cannot open" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_reading_before_open_and_closing_twice(camera_with: Make) -> None:
    camera = camera_with(OPENED)
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.read(1.0)
    camera.close()
    camera.close()


def test_a_decoder_that_cannot_be_started_is_unavailable(camera_with: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = camera_with(OPENED)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(CameraUnavailable, match="cannot start its decoder"):
        camera.open()
