"""What ONVIF cameras answer, read without a network: discovery, streams, logins, and what strangers may try."""

import tomllib
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.cameras import Credentials
from drivers.cameras.discover import FoundOnvif
from drivers.cameras.http_client import HttpFailed
from drivers.cameras.onvif import OnvifDevice, OnvifFailed, Stream, list_streams
from drivers.cameras.onvif.client import security_header
from drivers.cameras.onvif.discovery import parse_answer
from drivers.cameras.onvif.safe_xml import MAX_BYTES, BadXml, parse
from tests.support.onvif_camera import DATE, FAULT, PROFILES, capabilities, envelope, probe_match, stream_uri

URL = "http://10.0.0.21/onvif/device_service"
LOGIN = Credentials("cam", "s3cret")


def test_an_answer_to_the_probe_names_the_camera_and_where_to_ask() -> None:
    (device,) = parse_answer(probe_match(URL), "10.0.0.21")
    assert (device.host, device.service_url, device.name, device.hardware) == ("10.0.0.21", URL, "Acme Cam", "IPC-1")


@pytest.mark.parametrize(
    ("data", "host"),
    [
        pytest.param(probe_match(URL), "10.0.0.66", id="an address on another host"),
        pytest.param(probe_match("http://cam:pw@10.0.0.21/x"), "10.0.0.21", id="a login in the address"),
        pytest.param(probe_match("rtsp://10.0.0.21/x"), "10.0.0.21", id="no web address"),
        pytest.param(probe_match("http://10.0.0.21:99999/x"), "10.0.0.21", id="a port that is none"),
        pytest.param(envelope("<d:Hello/>"), "10.0.0.21", id="another message"),
        pytest.param(b"\x00\xff garbage", "10.0.0.21", id="garbage"),
        pytest.param(b"", "10.0.0.21", id="nothing"),
    ],
)
def test_an_answer_that_cannot_be_believed_is_no_camera(data: bytes, host: str) -> None:
    assert parse_answer(data, host) == []


def test_a_name_from_a_stranger_is_shown_without_what_terminals_obey() -> None:
    (device,) = parse_answer(probe_match(URL, name="%1b%5b2Jevil%0a" + "x" * 500), "10.0.0.21")
    assert device.name.isprintable()
    assert len(device.name) <= 80


BOMB = b'<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><l>&b;</l>'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(BOMB, "document type", id="entities"),
        pytest.param(b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "document type", id="a file of ours"),
        pytest.param(b"<a>" * 100 + b"</a>" * 100, "more elements", id="deep"),
        pytest.param(b"<a>" + b"<b/>" * 30_000 + b"</a>", "more elements", id="many"),
        pytest.param(b"<a>" + b" " * MAX_BYTES + b"</a>", "more than the", id="long"),
        pytest.param(b'<?xml version="1.0" encoding="klingon"?><a/>', "not XML", id="an encoding nobody knows"),
        pytest.param(b"<a><b></a>", "not XML", id="crossed"),
    ],
)
def test_xml_that_could_harm_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(BadXml, match=words):
        parse(data)


class Camera:
    """Answers from a table, and remembers what it was asked."""

    def __init__(self, **answers: str | Exception) -> None:
        self.answers: dict[str, str | Exception] = {
            "GetSystemDateAndTime": DATE,
            "GetCapabilities": capabilities("http://192.168.1.108:80/onvif/media"),
            "GetProfiles": f"<trt:GetProfilesResponse>{PROFILES}</trt:GetProfilesResponse>",
            "GetStreamUri": stream_uri("rtsp://admin:pw@192.168.1.108:554/cam?channel=1&amp;subtype=0"),
            **answers,
        }
        self.asked: list[tuple[str, str]] = []

    def __call__(self, url: str, message: str) -> bytes:
        self.asked.append((url, message))
        answer = next(a for question, a in self.answers.items() if f"<{question} " in message)
        if isinstance(answer, Exception):
            raise answer
        return envelope(answer)


def test_streams_are_listed_on_the_host_that_was_asked_and_without_a_login() -> None:
    camera = Camera()
    streams = list_streams(URL, None, ask=camera)
    url = "rtsp://10.0.0.21:554/cam?channel=1&subtype=0"
    assert streams == [
        Stream("mainStream", "H264", 1920, 1080, 25.0, url),
        Stream("subStream", "H264", 640, 360, 25.0, url),
    ]
    assert {asked for asked, _ in camera.asked} == {URL, "http://10.0.0.21/onvif/media"}


def test_the_login_is_a_digest_by_the_cameras_own_clock() -> None:
    camera = Camera()
    list_streams(URL, LOGIN, ask=camera)
    with_login = [message for _, message in camera.asked if "UsernameToken" in message]
    assert len(with_login) == len(camera.asked) - 1, "all but the question for the time"
    assert all("<u:Created>2001-02-03T03:04" in message for message in with_login)
    assert all("s3cret" not in message for _, message in camera.asked)


def test_the_digest_is_that_of_the_standard() -> None:
    """The example of the ONVIF Application Programmer's Guide."""
    header = security_header(
        Credentials("user", "userpassword"),
        datetime(2010, 9, 16, 7, 50, 45, tzinfo=UTC),
        b64decode("LKqI6G/AikKCQrN0zqZFlg=="),
    )
    assert "<u:Created>2010-09-16T07:50:45Z</u:Created>" in header
    assert ">tuOSpGlFlIXsozq4HFNeeGeFLEI=</w:Password>" in header


@pytest.mark.parametrize(
    ("answers", "words", "refused"),
    [
        pytest.param({"GetProfiles": FAULT}, "Sender not Authorized", True, id="a fault: not to us"),
        pytest.param({"GetProfiles": HttpFailed("401", refused=True, status=401)}, "401", True, id="HTTP: not to us"),
        pytest.param({"GetCapabilities": HttpFailed("no answer")}, "no answer", False, id="no answer"),
        pytest.param({"GetStreamUri": FAULT}, "Sender not Authorized", True, id="every profile refused"),
    ],
)
def test_why_a_camera_tells_no_streams(answers: dict[str, str | Exception], words: str, refused: bool) -> None:
    with pytest.raises(OnvifFailed, match=words) as failed:
        list_streams(URL, None, ask=Camera(**answers))
    assert failed.value.refused is refused


def test_an_answer_that_is_no_xml_is_told() -> None:
    with pytest.raises(OnvifFailed, match="not XML"):
        list_streams(URL, None, ask=lambda url, message: b"<html><br></html")


@pytest.mark.parametrize("url", ["", "http://10.0.0.21/x", "rtsp:///x", "rtsp://10.0.0.21:x/", "rtsp://[/"])
def test_a_stream_address_that_is_none_is_left_out(url: str) -> None:
    assert list_streams(URL, None, ask=Camera(GetStreamUri=stream_uri(url))) == []


DEVICE = OnvifDevice("10.0.0.21", URL, "Acme Cam", "IPC-1")
STREAMS = (
    Stream("main", "H265", 3840, 2160, 25.0, 'rtsp://10.0.0.21/main"x'),
    Stream("sub", "H264", 1280, 720, 15.0, "rtsp://10.0.0.21/sub"),
    Stream("tiny", "H264", 352, 288, 15.0, "rtsp://10.0.0.21/tiny"),
)


def test_the_lines_to_paste_take_the_smallest_stream_that_is_large_enough() -> None:
    text = FoundOnvif(DEVICE, STREAMS).stanza("camera-2", Path("/etc/cam.toml"))
    assert text == (
        "# Acme Cam IPC-1 at 10.0.0.21, by ONVIF\n"
        "[[camera]]\n"
        'id = "camera-2"\n'
        'source = "rtsp://10.0.0.21/sub"  # sub: H264 1280x720, 15 fps\n'
        '# source = "rtsp://10.0.0.21/main\\"x"  # main: H265 3840x2160, 25 fps\n'
        '# source = "rtsp://10.0.0.21/tiny"  # tiny: H264 352x288, 15 fps\n'
        'credentials_file = "/etc/cam.toml"\n'
    )
    assert tomllib.loads(text)["camera"][0]["source"] == "rtsp://10.0.0.21/sub"


def test_a_camera_that_tells_no_streams_is_listed_with_the_reason() -> None:
    text = FoundOnvif(DEVICE, (), "it does not tell its streams: no answer").stanza("camera-2")
    assert tomllib.loads(text) == {}
    assert "no answer" in text
