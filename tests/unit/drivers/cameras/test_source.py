import pytest

from drivers.base import DriverError
from drivers.cameras import Credentials, FileCamera, NetworkCamera, SourceError, check_source, make_camera


@pytest.mark.parametrize(
    "source",
    [
        "file:clip.mp4",
        "file:/media/usb/pictures/",
        "rtsp://10.0.0.21/stream1",
        "rtsp://10.0.0.21:8554/h264/ch1/main?profile=1",
        "rtsp://[fd00::21]/stream1",
        "RTSP://camera.local/x",
        "v4l2:/dev/v4l/by-id/usb-046d_C920-video-index0",
        "v4l2:/dev/video0",
    ],
)
def test_good_sources_pass(source: str) -> None:
    check_source(source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("clip.mp4", "does not say its kind.*file:clip.mp4.*rtsp://.*v4l2:"),
        ("", "does not say its kind"),
        ("file:", "names no file"),
        ("rtmp://10.0.0.21/x", "unknown kind 'rtmp'; supported: file:.*rtsp:.*v4l2:"),
        ("csi:0", "not supported by this version"),
        ("v4l2:video0", "names no video device.*gateway-agent devices"),
        ("v4l2:", "names no video device"),
        ("rtsp:///stream1", "names no host"),
        ("rtsp:10.0.0.21", "names no host"),
        ("rtsp://10.0.0.21:99999/x", "not a URL"),
        ("rtsp://10.0.0.21:0/x", "port 0"),
        ("rtsp://10.0.0.21/a b", "blanks"),
        ("rtsp://10.0.0.21/a\nb", "blanks"),
        ("rtsp://[fd00::21/x", "not a URL"),
    ],
)
def test_bad_sources_are_told_in_a_sentence(source: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        check_source(source)
    assert isinstance(caught.value, SourceError)
    assert isinstance(caught.value, DriverError)


@pytest.mark.parametrize(
    "source",
    ["rtsp://cam:s3cret@10.0.0.21/x", "rtsp://cam:s3c@ret@10.0.0.21/x", "rtmp://cam:s3cret@h/x", "cam@s3cret@h"],
)
def test_a_login_in_the_source_is_refused_and_not_repeated(source: str) -> None:
    with pytest.raises(SourceError) as caught:
        make_camera("north", source)
    assert "s3c" not in str(caught.value)


def test_the_front_door_makes_the_right_camera() -> None:
    assert isinstance(make_camera("north", "file:clip.mp4"), FileCamera)
    login = Credentials("cam", "s3cret")
    assert isinstance(make_camera("north", "rtsp://10.0.0.21/x", credentials=login), NetworkCamera)


def test_credentials_do_not_show_the_password() -> None:
    assert "s3cret" not in repr(Credentials("cam", "s3cret"))
