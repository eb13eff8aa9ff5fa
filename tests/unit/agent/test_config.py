"""The configuration's door: what it lets in, and the exact words with which it turns mistakes away."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

import pytest

from agent import config
from agent.errors import ConfigError

BOX = '[box]\nsite = "cua-bac"\nid = "gw-01"\n'
CAMERA = '[[camera]]\nid = "north"\nsource = "file:clip.mp4"\n'
GOOD = BOX + CAMERA
LINE = '[[camera.line]]\nid = "gate"\na = [0.1, 0.6]\nb = [0.9, 0.6]\n'
MASK = '[[camera.mask]]\nid = "house"\npolygon = '
ZONE = '[[camera.zone]]\nid = "yard"\npolygon = '
RULE = '[[camera.rule]]\nid = "no-entry"\nkind = "wrong-way"\nline = "gate"\nallowed = "in"\n'
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

[evidence]
path = "/data/evidence"
max_mb = 500
max_days = 3
send = "always"
pixelate = "all"

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
readers = ["colour"]

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

  [[camera.mask]]
  id = "house"
  polygon = [[0, 0], [0.3, 0], [0.3, 0.4]]
  kind = "privacy"

[[camera]]
id = "south"
source = "v4l2:/dev/video0"
faults = ["moved", "covered"]
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
    assert (camera.line, camera.zone, camera.mask) == ((), (), ())
    assert camera.faults == ("dark", "overexposed", "blurred", "covered", "moved", "frozen")


def test_every_key_arrives_where_it_belongs() -> None:
    loaded = config.parse(FULL, "gateway.toml")
    north, south = loaded.camera
    assert [broker.tls for broker in loaded.broker] == [True, False]
    assert loaded.broker[0].key_file == Path("/etc/gateway-agent/box.key")
    assert (loaded.broker[1].host, loaded.broker[1].port) == ("fe80::1", 1884)
    assert loaded.uplink.payload == "cbor"
    assert loaded.health.interval_s == 15
    assert (loaded.evidence.path, loaded.evidence.max_mb, loaded.evidence.max_days) == (Path("/data/evidence"), 500, 3)
    assert (loaded.evidence.send, loaded.evidence.pixelate) == ("always", "all")
    assert (north.readers, south.readers) == (("colour",), ())
    assert (north.line[0].a, north.line[0].b, north.line[0].anchor) == ((0, 0.6), (1, 0.6), "center")
    assert north.line[0].classes == ("car", "bus", "truck")
    assert north.zone[0].dwell_s == 30
    assert north.zone[0].classes == ("person", "bicycle", "motorcycle", "car", "bus", "truck")
    assert (north.mask[0].kind, north.mask[0].polygon[1]) == ("privacy", (0.3, 0))
    assert (south.width_px, south.height_px) == (1280, 720)
    assert south.faults == ("moved", "covered")


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
        pytest.param(
            GOOD + 'readers = "colour"',
            'camera[1].readers: found "colour"; wanted a list, such as ["colour"]',
            id="readers as text",
        ),
        pytest.param(
            GOOD + 'readers = ["color"]', "camera[1].readers[1]: found \"color\"; wanted 'colour'", id="no such reader"
        ),
        pytest.param(
            GOOD + '[evidence]\nsend = "never"',
            "evidence.send: found \"never\"; wanted 'request' or 'always'",
            id="no such policy",
        ),
        pytest.param(GOOD + "[evidence]\nmax_mb = 0", "evidence.max_mb: found 0; wanted at least 1", id="no room"),
        pytest.param(CAMERA, "box: found nothing; wanted a table that begins with [box]", id="no box"),
        pytest.param(
            BOX,
            "the file: nothing to watch; wanted a table that begins with [[camera]], or one with [[sensor]]",
            id="no camera and no sensor",
        ),
        pytest.param(
            "camera = []\nsensor = []\n" + BOX,
            "the file: nothing to watch; wanted a table that begins with [[camera]], or one with [[sensor]]",
            id="empty lists of both",
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
            GOOD + MASK + "[[0.1, 0.1], [0.5, 0.1], [0.9, 0.9]]",
            "camera[1].mask[1].kind: missing; this key is needed",
            id="a mask of no kind",
        ),
        pytest.param(
            GOOD + MASK + '[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]\nkind = "privacy"',
            "camera[1].mask[1]: the corners lie on one line; wanted an area",
            id="a flat mask",
        ),
        pytest.param(
            GOOD + 'faults = ["dusty"]',
            'camera[1].faults[1]: found "dusty"; '
            "wanted 'dark', 'overexposed', 'blurred', 'covered', 'moved' or 'frozen'",
            id="an unknown fault",
        ),
        pytest.param(
            GOOD + LINE + 'classes = ["dog"]',
            'camera[1].line[1].classes[1]: found "dog"; '
            "wanted 'person', 'bicycle', 'motorcycle', 'car', 'bus', 'truck' or 'vehicle'",
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
        # Rules.
        pytest.param(
            GOOD + LINE + '[[camera.rule]]\nid = "r"\nkind = "wrongway"\nline = "gate"',
            'camera[1].rule[1].kind: found "wrongway"; wanted one of congestion, crowd, left-behind, loitering, '
            "removed, restricted, speeding, stopped, wrong-way",
            id="a kind of rule that does not exist",
        ),
        pytest.param(
            GOOD + '[[camera.rule]]\nid = "r"',
            "camera[1].rule[1].kind: found nothing; wanted one of congestion",
            id="a rule of no kind",
        ),
        pytest.param(
            GOOD + LINE + RULE.replace("allowed", "alowed"),
            "camera[1].rule[1].allowed: missing; this key is needed\n"
            "gateway.toml: camera[1].rule[1].alowed: unknown key; did you mean 'allowed'?",
            id="typo in a rule's key",
        ),
        pytest.param(
            GOOD + LINE + RULE.replace('"gate"', '"gat"'),
            "camera[1]: rule 'no-entry': found line = 'gat'; this camera has: gate",
            id="a rule about a line that is not there",
        ),
        pytest.param(
            GOOD + '[[camera.rule]]\nid = "r"\nkind = "crowd"\nzone = "yard"\nmore_than = 3',
            "camera[1]: rule 'r': found zone = 'yard'; this camera has no zone",
            id="a rule about a zone where there are none",
        ),
        pytest.param(
            GOOD + '[[camera.rule]]\nid = "r"\nkind = "crowd"\nmore_than = 3',
            "camera[1].rule[1].zone: missing; this key is needed",
            id="a rule about no zone",
        ),
        pytest.param(
            GOOD + LINE + RULE + RULE,
            "camera[1]: the rule id 'no-entry' is used 2 times; wanted each once",
            id="two rules of one name",
        ),
        pytest.param(
            GOOD + LINE + RULE + 'schedule = ["22-5"]',
            "camera[1].rule[1].schedule[1]: found '22-5'; wanted hours such as \"22:00-05:00\"",
            id="hours that are none",
        ),
        pytest.param(
            GOOD + LINE + RULE + 'schedule = "22:00-05:00"',
            'camera[1].rule[1].schedule: found "22:00-05:00"; wanted a list, such as ["Mo-Fr 22:00-05:00"]',
            id="hours that are no list",
        ),
        pytest.param(
            GOOD + LINE + RULE + 'severity = "grave"',
            "camera[1].rule[1].severity: found \"grave\"; wanted 'info', 'warning' or 'critical'",
            id="a severity that does not exist",
        ),
        pytest.param(
            GOOD + "rule = [3]",
            "camera[1].rule[1]: found 3; wanted a table that begins with [[camera.rule]]",
            id="a number for a rule",
        ),
        pytest.param(
            GOOD + LINE + '[[camera.rule]]\nid = "r"\nkind = "speeding"\nline = "gate"\nlimit_kmh = 50',
            "camera[1]: rule 'r': speeds in km/h need a table [camera.calibration]; there is none",
            id="a speed without a calibration",
        ),
        pytest.param(
            GOOD + LINE + '[[camera.rule]]\nid = "r"\nkind = "speeding"\nlimit_kmh = 50',
            "camera[1].rule[1]: found both line and zone, or neither; wanted one of them: where the speed is measured",
            id="a speed measured nowhere",
        ),
        pytest.param(
            GOOD.replace("[[camera]]", 'timezone = "Asia/Hanoi"\n[[camera]]'),
            "box.timezone: found 'Asia/Hanoi'; wanted a time zone of this system, such as \"Asia/Ho_Chi_Minh\"",
            id="a time zone that does not exist",
        ),
        # The calibration.
        pytest.param(
            GOOD + "[camera.calibration]\npoints = [[0, 0], [1, 0], [0, 1], [1, 1]]\n"
            "metres = [[0, 0], [1, 0], [1, 1], [0, 1]]",
            "camera[1].calibration: points: found [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]; wanted four "
            "corners in order around an area, none of them on a line with two others",
            id="corners out of order",
        ),
        pytest.param(
            GOOD + "[camera.calibration]\npoints = [[0, 0], [1, 0], [1, 1], [0, 1]]\n"
            "metres = [[0, 0], [5, 0], [10, 0], [0, 10]]",
            "camera[1].calibration: metres: found [[0.0, 0.0], [5.0, 0.0], [10.0, 0.0], [0.0, 10.0]]; wanted four",
            id="three corners on a line",
        ),
        pytest.param(
            GOOD + "[camera.calibration]\npoints = [[0, 0], [1, 0], [1, 1]]\nmetres = [[0, 0], [1, 0], [1, 1], [0, 1]]",
            "camera[1].calibration.points: found nothing; wanted four points [[x, y], [x, y], [x, y], [x, y]]",
            id="three points",
        ),
        pytest.param(
            GOOD + "[camera.calibration]\npoints = [[0, 0], [1, 0], [1, 1], [0, 1.5]]\n"
            "metres = [[0, 0], [1, 0], [1, 1], [0, 1]]",
            "camera[1].calibration.points[4][2]: found 1.5; wanted at most 1",
            id="a point outside the picture",
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
    assert message.count("\n") == said.count("\n")


def test_rules_get_the_defaults_of_their_kind() -> None:
    text = GOOD + LINE + ZONE + "[[0.2, 0.5], [0.6, 0.5], [0.6, 0.9]]\n" + RULE
    for kind in ("restricted", "loitering", "stopped", "left-behind", "removed"):
        text += f'[[camera.rule]]\nid = "{kind}"\nkind = "{kind}"\nzone = "yard"\n'
    rules = {rule.kind: rule for rule in config.parse(text, "gateway.toml").camera[0].rule}
    assert {kind: (rule.severity, rule.hold_off_s) for kind, rule in rules.items()} == {
        "wrong-way": ("critical", 60.0),
        "restricted": ("critical", 60.0),
        "loitering": ("warning", 300.0),
        "stopped": ("warning", 600.0),
        "left-behind": ("critical", 60.0),
        "removed": ("warning", 60.0),
    }
    assert all(rule.enabled and rule.evidence and rule.schedule == () for rule in rules.values())


def test_a_schedule_on_a_system_without_time_zones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr(config, "ZoneInfo", none)
    assert config.parse(GOOD + LINE + RULE, "gateway.toml").box.timezone == "Asia/Ho_Chi_Minh"
    with pytest.raises(ConfigError, match="found 'Asia/Ho_Chi_Minh'; wanted a time zone of this system"):
        config.parse(GOOD + LINE + RULE + 'schedule = ["22:00-05:00"]', "gateway.toml")


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
