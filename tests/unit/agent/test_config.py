"""The configuration's door: what it lets in, and the exact words with which it turns mistakes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import config
from agent.errors import ConfigError

BOX = '[box]\nsite = "cua-bac"\nid = "gw-01"\n'
CAMERA = '[[camera]]\nid = "north"\nsource = "file:clip.mp4"\n'
GOOD = BOX + CAMERA
LINE = '[[camera.line]]\nid = "gate"\na = [0.1, 0.6]\nb = [0.9, 0.6]\n'
ZONE = '[[camera.zone]]\nid = "yard"\npolygon = '
BROKER = '[[broker]]\nhost = "ioc.example"\n'

FULL = """
[box]
site = "cua-bac"
id = "gw-01"

[[broker]]
host = "ioc.example"
ca_file = "/etc/gateway-agent/ca.pem"
cert_file = "/etc/gateway-agent/box.pem"
key_file = "/etc/gateway-agent/box.key"

[[broker]]
host = "fe80::1"
port = 1884
tls = false

[uplink]
payload = "cbor"
username = "gw-01"
password_file = "/etc/gateway-agent/mqtt-password"
keepalive_s = 30

[outbox]
path = "/data/outbox.db"
max_mb = 100
alert_reserve_mb = 10

[detector]
pack = "./my-pack"
threads = 4

[health]
interval_s = 15

[[camera]]
id = "north"
source = "rtsp://10.0.0.21/stream1"
credentials_file = "/etc/gateway-agent/north.toml"
fps = 8
stall_timeout_s = 4
motion_gate = false
count_interval_s = 300

  [[camera.line]]
  id = "gate"
  a = [0, 0.6]
  b = [1, 0.6]
  anchor = "center"
  classes = ["car", "bus", "truck"]

  [[camera.zone]]
  id = "no-stopping"
  polygon = [[0.2, 0.5], [0.6, 0.5], [0.6, 0.9], [0.2, 0.9]]
  dwell_s = 30

[[camera]]
id = "south"
source = "v4l2:/dev/video0"
width_px = 1280
height_px = 720
"""


def test_the_shortest_configuration_gets_the_defaults() -> None:
    loaded = config.parse(GOOD, "gateway.toml")
    camera = loaded.camera[0]
    assert loaded.broker == ()
    assert (loaded.outbox.path, loaded.outbox.max_mb) == (Path("/var/lib/gateway-agent/outbox.db"), 512)
    assert (loaded.detector.pack, loaded.detector.threads) == (config.DEFAULT_PACK, 2)
    assert (camera.fps, camera.motion_gate, camera.stall_timeout_s, camera.loop) == (10.0, True, 5.0, False)
    assert (camera.line, camera.zone) == ((), ())


def test_every_key_arrives_where_it_belongs() -> None:
    loaded = config.parse(FULL, "gateway.toml")
    north, south = loaded.camera
    assert [broker.tls for broker in loaded.broker] == [True, False]
    assert loaded.broker[0].key_file == Path("/etc/gateway-agent/box.key")
    assert (loaded.broker[1].host, loaded.broker[1].port) == ("fe80::1", 1884)
    assert loaded.uplink.payload == "cbor"
    assert loaded.health.interval_s == 15
    assert (north.line[0].a, north.line[0].b, north.line[0].anchor) == ((0, 0.6), (1, 0.6), "center")
    assert north.line[0].classes == ("car", "bus", "truck")
    assert north.zone[0].dwell_s == 30
    assert north.zone[0].classes == ("person", "bicycle", "motorcycle", "car", "bus", "truck")
    assert (south.width_px, south.height_px) == (1280, 720)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # Keys.
        pytest.param(
            GOOD + "sorce = 1", "camera[1].sorce: unknown key; did you mean 'source'?", id="typo in a camera's key"
        ),
        pytest.param(
            GOOD + LINE + 'ancor = "center"',
            "camera[1].line[1].ancor: unknown key; did you mean 'anchor'?",
            id="typo in a line's key",
        ),
        pytest.param(GOOD + "[uplnk]", "uplnk: unknown key; did you mean 'uplink'?", id="typo in a table's name"),
        pytest.param(
            GOOD + "qqq = 1",
            "camera[1].qqq: unknown key; all keys are listed in provisioning/README.md",
            id="nothing like a key",
        ),
        pytest.param(BOX + '[[camera]]\nid = "north"', "camera[1].source: missing; this key is needed", id="no source"),
        pytest.param(CAMERA, "box: found nothing; wanted a table that begins with [box]", id="no box"),
        pytest.param(BOX, "camera: found nothing; wanted a table that begins with [[camera]]", id="no camera"),
        pytest.param(
            "camera = []\n" + BOX, "camera: found []; wanted at least 1 of them", id="an empty list of cameras"
        ),
        pytest.param(
            GOOD + '[detector]\ndelegate = "npu"',
            'detector.delegate: found "npu"; wanted "cpu", "edgetpu" or the path of a delegate\'s library, '
            '"/usr/lib/lib….so"',
            id="an accelerator nobody knows",
        ),
        pytest.param(
            GOOD.replace("file:clip.mp4", "csi:0") + "width_px = 1366\nheight_px = 768",
            "camera[1]: found 1366 x 768; wanted a width of whole 8 pixels and an even height: "
            "a ribbon-cable camera gives no others here",
            id="a width that ribbon-cable cameras do not give",
        ),
        # Types.
        pytest.param(GOOD + 'fps = "10"', 'camera[1].fps: found "10"; wanted a number', id="a number in quotes"),
        pytest.param(GOOD + "fps = true", "camera[1].fps: found true; wanted a number", id="true for a number"),
        pytest.param(GOOD + "fps = nan", "camera[1].fps: found NaN; wanted a number", id="nan"),
        pytest.param(GOOD + "fps = 0", "camera[1].fps: found 0; wanted more than 0", id="no frames at all"),
        pytest.param(GOOD + 'loop = "yes"', 'camera[1].loop: found "yes"; wanted true or false', id="yes for true"),
        pytest.param(
            GOOD + "[detector]\nthreads = 1.5", "detector.threads: found 1.5; wanted a whole number", id="half a thread"
        ),
        pytest.param(
            GOOD + "[outbox]\npath = 3", 'outbox.path: found 3; wanted text, in "quotes"', id="a number for a path"
        ),
        pytest.param(
            BOX + '[camera]\nid = "n"\nsource = "file:x"',
            "camera: found a table; wanted a table that begins with [[camera]]",
            id="single brackets",
        ),
        pytest.param(
            'box = "x"\n' + CAMERA, 'box: found "x"; wanted a table that begins with [box]', id="text for a table"
        ),
        # Names.
        pytest.param(
            GOOD.replace("cua-bac", "cửa bắc"),
            "box.site: id 'cửa bắc': wanted 1 to 32 of a-z, A-Z, 0-9, '-', '_', '.', starting with a letter or a digit",
            id="a name that fits no topic",
        ),
        pytest.param(
            GOOD + CAMERA, "the file: the camera id 'north' is used 2 times; wanted each once", id="two cameras, one id"
        ),
        pytest.param(
            GOOD + LINE + LINE,
            "camera[1]: the line id 'gate' is used 2 times; wanted each once",
            id="two lines, one id",
        ),
        # Lines and zones.
        pytest.param(
            GOOD + LINE.replace("0.9", "0.1"),
            "camera[1].line[1]: a and b are the same point [0.1, 0.6]; wanted two different points",
            id="a = b",
        ),
        pytest.param(
            GOOD + LINE + LINE.replace("gate", "two").replace("0.9", "640"),
            "camera[1].line[2].b[1]: found 640; wanted at most 1",
            id="pixels for fractions",
        ),
        pytest.param(
            GOOD + LINE.replace("[0.9, 0.6]", "[0.9]"),
            "camera[1].line[1].b: found nothing; wanted a point [x, y], two numbers from 0 to 1",
            id="half a point",
        ),
        pytest.param(
            GOOD + LINE.replace("[0.9, 0.6]", "[0.9, 0.6, 0.1]"),
            "camera[1].line[1].b: found [0.9, 0.6, 0.1]; wanted a point [x, y], two numbers from 0 to 1",
            id="a point in space",
        ),
        pytest.param(
            GOOD + ZONE + "[[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]",
            "camera[1].zone[1]: edge 1 of the polygon crosses edge 3 (edge n starts at corner n); "
            "wanted corners in order around the area",
            id="a polygon that crosses itself",
        ),
        pytest.param(
            GOOD + ZONE + "[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]",
            "camera[1].zone[1]: the corners lie on one line; wanted an area",
            id="a flat polygon",
        ),
        pytest.param(
            GOOD + ZONE + "[[0.1, 0.1], [0.5, 0.5]]",
            "camera[1].zone[1].polygon: found [[0.1, 0.1], [0.5, 0.5]]; wanted at least 3 of them",
            id="two corners",
        ),
        pytest.param(
            GOOD + LINE + 'classes = ["dog"]',
            'camera[1].line[1].classes[1]: found "dog"; '
            "wanted 'person', 'bicycle', 'motorcycle', 'car', 'bus' or 'truck'",
            id="a class that is not counted",
        ),
        # Sources.
        pytest.param(
            GOOD.replace("file:clip.mp4", "clip.mp4"),
            "camera[1].source: source 'clip.mp4' does not say its kind; supported: file:clip.mp4, rtsp://",
            id="a bare path",
        ),
        pytest.param(
            GOOD.replace("file:clip.mp4", "rtsp://cam:p4ssw0rd@10.0.0.21/s"),
            "camera[1].source: source 'rtsp://…@10.0.0.21/s' holds a login; write the address alone and put user and "
            "password into the camera's credentials file",
            id="a login in the address",
        ),
        # Pairs and sums.
        pytest.param(
            GOOD + "width_px = 640",
            "camera[1]: width_px and height_px belong together; wanted both or none",
            id="no height",
        ),
        pytest.param(
            GOOD + "[outbox]\nmax_mb = 64",
            "outbox: alert_reserve_mb = 64 leaves nothing of max_mb = 64",
            id="a reserve that leaves nothing",
        ),
        pytest.param(
            GOOD + '[uplink]\npassword_file = "/x"', "uplink: password_file without username; wanted both", id="no user"
        ),
        # Brokers.
        pytest.param(
            GOOD + BROKER + "port = 70000", "broker[1].port: found 70000; wanted at most 65535", id="port too high"
        ),
        pytest.param(GOOD + BROKER + "port = 0", "broker[1].port: found 0; wanted at least 1", id="port 0"),
        pytest.param(
            GOOD + BROKER.replace("ioc.example", "mqtt://ioc.example"),
            "broker[1].host: 'mqtt://ioc.example'; wanted a name or an address alone",
            id="a URL for a host",
        ),
        pytest.param(
            GOOD + BROKER.replace("ioc.example", "ioc.example:1883"),
            "broker[1].host: 'ioc.example:1883'; wanted a name or an address alone; its port is a key: port = 1883",
            id="a port in the host",
        ),
        pytest.param(
            GOOD + BROKER + 'tls = false\nca_file = "/x"',
            "broker[1]: ca_file, cert_file and key_file have no use with tls = false; wanted tls = true",
            id="certificates without TLS",
        ),
        pytest.param(
            GOOD + BROKER + 'cert_file = "/x"',
            "broker[1]: cert_file and key_file belong together; wanted both or none",
            id="a certificate without its key",
        ),
        # Not a configuration.
        pytest.param(GOOD + "x = = 1", "not valid TOML: Invalid value (at line 7, column 5)", id="not TOML"),
    ],
)
def test_a_mistake_is_named_once_with_key_found_and_wanted(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "gateway.toml")
    message = str(caught.value)
    assert message.startswith(f"gateway.toml: {said}")
    assert "\n" not in message


def test_all_mistakes_are_told_at_once_one_a_line() -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(GOOD.replace("gw-01", "") + "fps = 0\n" + LINE.replace("0.9", "0.1"), "gateway.toml")
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["box.id", "camera[1].fps", "camera[1].line[1]"]


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("file:clip.mp4", "rtsp://cam:p4ssw0rd@10.0.0.21/s") + "fps = 0",
        BOX + '[[camera]]\nid = "north"\nsource = ["rtsp://cam:p4ssw0rd@10.0.0.21/s"]',
        BOX + '[camera]\nid = "north"\nsource = "rtsp://cam:p4ssw0rd@10.0.0.21/s"',
        GOOD + '[[broker]]\nhost = "mqtt://cam:p4ssw0rd@10.0.0.21"',
    ],
)
def test_a_password_in_the_wrong_place_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "gateway.toml")
    assert "p4ssw0rd" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.toml: cannot read the configuration: No such file or directory"):
        config.load(tmp_path / "gateway.toml")


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b'[box]\nsite = "c\xe1"\n')
    with pytest.raises(ConfigError, match=r"gateway\.toml: not UTF-8 text \(byte 15\); save the file as UTF-8"):
        config.load(path)


def test_a_camera_that_is_not_configured_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="no camera 'west' in the configuration; it has: north, south"):
        config.parse(FULL, "gateway.toml").camera_named("west")
