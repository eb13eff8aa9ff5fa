import pytest

from drivers.base import DriverError
from drivers.cameras import (
    Credentials,
    CsiCamera,
    FileCamera,
    HttpPictures,
    NetworkCamera,
    SourceError,
    check_source,
    make_camera,
)


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
        "csi:0",
        "csi:7",
        "http://10.0.0.21/mjpg/video.mjpg?camera=1",
        "https://camera.local:8443/mjpg",
        "snapshot:http://10.0.0.21/image.jpg",
        "snapshot:HTTPS://10.0.0.21/image.jpg",
        "snapshot:http://10.0.0.21/cgi?usr={user}&pwd={password}",
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
        ("csi:", "wanted the number of a ribbon-cable camera, 0 to 7"),
        ("csi:left", "wanted the number of a ribbon-cable camera"),
        ("csi:8", "wanted the number of a ribbon-cable camera"),
        ("csi:²", "wanted the number of a ribbon-cable camera"),
        ("http://10.0.0.21:0/mjpg", "port 0"),
        ("http:///mjpg", "names no host.*http://10.0.0.21"),
        ("snapshot:10.0.0.21/image.jpg", "names no web address.*snapshot:http://"),
        ("snapshot:rtsp://10.0.0.21/x", "names no web address"),
        ("snapshot:http:///image.jpg", "names no host"),
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
    [
        "rtsp://cam:s3cret@10.0.0.21/x",
        "rtsp://cam:s3c@ret@10.0.0.21/x",
        "rtmp://cam:s3cret@h/x",
        "cam@s3cret@h",
        "http://cam:s3cret@10.0.0.21/mjpg",
        "snapshot:http://cam:s3cret@10.0.0.21/image.jpg",
        "snapshot:http://10.0.0.21/cgi?usr=cam&pwd=s3cret",
        "http://10.0.0.21/mjpg?user=cam&Password=s3cret",
        "rtsp://10.0.0.21:554/user=cam&password=s3cret&channel=1",
    ],
)
def test_a_login_in_the_source_is_refused_and_not_repeated(source: str) -> None:
    with pytest.raises(SourceError) as caught:
        make_camera("north", source)
    assert "s3c" not in str(caught.value)


def test_the_front_door_makes_the_right_camera() -> None:
    assert isinstance(make_camera("north", "file:clip.mp4"), FileCamera)
    login = Credentials("cam", "s3cret")
    assert isinstance(make_camera("north", "rtsp://10.0.0.21/x", credentials=login), NetworkCamera)
    assert isinstance(make_camera("north", "http://10.0.0.21/mjpg", credentials=login), HttpPictures)
    assert isinstance(make_camera("north", "snapshot:http://10.0.0.21/1.jpg", fps=1.0), HttpPictures)
    assert isinstance(make_camera("north", "csi:1", width_px=640, height_px=480), CsiCamera)


def test_credentials_do_not_show_the_password() -> None:
    assert "s3cret" not in repr(Credentials("cam", "s3cret"))
