"""ONVIF by real sockets on loopback: a scripted camera that answers the multicast, and SOAP with every login."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent import config
from drivers.cameras import Credentials
from drivers.cameras.onvif import OnvifFailed, discover, list_streams
from drivers.cameras.onvif.discovery import MULTICAST
from tests.support.command import BOX, gateway_agent
from tests.support.onvif_camera import GROUP, OnvifCamera

LOGIN = Credentials("cam", "s3cret & <more>")


def test_cameras_that_answer_the_multicast_are_found_once_each() -> None:
    with OnvifCamera() as camera:
        found = discover(interfaces=["lo", "no-such-interface"], listen_s=1.0, multicast=(GROUP, camera.udp_port))
        assert [(device.service_url, device.name) for device in found] == [(camera.service_url, "Acme Cam")]
        assert len(camera.probes) == 2, "asked twice, in case one gets lost"


def test_nobody_there_is_an_empty_list() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("", 0))
        assert discover(interfaces=["lo"], listen_s=0.2, multicast=(GROUP, silent.getsockname()[1])) == []


@pytest.mark.parametrize("auth", [None, "wsse", "digest"])
def test_streams_are_told_to_the_right_login(auth: str | None) -> None:
    with OnvifCamera(auth=auth, user=LOGIN.user, password=LOGIN.password) as camera:
        streams = list_streams(camera.service_url, LOGIN)
    assert [(stream.profile, stream.url) for stream in streams] == [
        ("mainStream", "rtsp://127.0.0.1:554/main"),
        ("subStream", "rtsp://127.0.0.1:554/sub"),
    ]


@pytest.mark.parametrize("auth", ["wsse", "digest"])
@pytest.mark.parametrize("login", [None, Credentials("cam", "wr0ng")], ids=["none", "wrong"])
def test_without_the_right_login_it_is_refused(auth: str, login: Credentials | None) -> None:
    locked = OnvifCamera(auth=auth, user=LOGIN.user, password=LOGIN.password)
    with locked as camera, pytest.raises(OnvifFailed) as failed:
        list_streams(camera.service_url, login)
    assert failed.value.refused
    assert "wr0ng" not in str(failed.value)


def test_a_camera_that_takes_for_ever_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(OnvifFailed, match="no answer") as failed:
        list_streams(f"http://127.0.0.1:{mute.getsockname()[1]}/onvif", None, timeout_s=0.3)
    assert not failed.value.refused


def test_devices_finds_it_and_prints_lines_that_can_be_pasted(tmp_path: Path) -> None:
    login = tmp_path / "cam.toml"
    login.write_text('user = "cam"\npassword = "s3cret & <more>"\n')
    with OnvifCamera(auth="wsse", user=LOGIN.user, password=LOGIN.password, udp_port=MULTICAST[1]):
        without = gateway_agent("devices", "--interface", "lo")
        found = gateway_agent("devices", "--interface", "lo", "--credentials", str(login))
    assert without.returncode == found.returncode == 0
    assert "a camera tells its streams to a user only" in without.stdout
    assert 'source = "rtsp://127.0.0.1:554/sub"  # subStream: H264 640x360, 25 fps' in found.stdout
    assert f'credentials_file = "{login}"' in found.stdout
    assert "s3cret" not in found.stdout + found.stderr
    lines = found.stdout[found.stdout.index("[[camera]]") :].split("\n\n")[0]
    assert config.parse(f"{BOX}{lines}", "pasted").camera[0].source == "rtsp://127.0.0.1:554/sub"
