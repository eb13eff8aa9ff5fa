"""The door for the configuration: one TOML file, checked whole before anything starts.

Stages get plain values from here; nothing else in the agent reads the file or knows pydantic's errors. A wrong file
is a ConfigError that names the file and, for each mistake, the key, what was found and what was wanted.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import json
import re
import tomllib
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from agent.config_sensors import TAGS, OutputConfig, SensorConfig, check_sensors
from agent.config_table import Id, Table
from agent.config_table import refuse_repeats as _refuse_repeats
from agent.contract.event import Direction, Fault, Severity
from agent.errors import ConfigError
from agent.vision import geometry
from agent.vision.rules.schedule import Schedule
from drivers.cameras import check_source
from drivers.inference.accelerator import check_delegate

DEFAULT_PATH = Path("/etc/gateway-agent/gateway.toml")
DEFAULT_PACK = "ssd-mobilenet-v3-large-coco-320-int8"


def _source(source: str) -> str:
    check_source(source)
    return source


def _host(host: str) -> str:
    if re.fullmatch(r"[^\s/@\[\]]+", host) and host.count(":") != 1:
        return host
    raise ValueError(f"{host.rpartition('@')[2]!r}; wanted a name or an address alone; its port is a key: port = 1883")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as exc:
        raise ValueError(f'found {text!r}; wanted an address of this box, such as "10.0.0.5" or "0.0.0.0"') from exc


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as exc:  # unknown, a folder of zones, no name at all
        raise ValueError(f'found {name!r}; wanted a time zone of this system, such as "Asia/Ho_Chi_Minh"') from exc
    return name


def _hours(text: str) -> str:
    Schedule([text])
    return text


def _delegate(delegate: str) -> str:
    check_delegate(delegate)
    return delegate


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Point = tuple[Fraction, Fraction]
Metres = tuple[float, float]
ClassName = Literal["person", "bicycle", "motorcycle", "car", "bus", "truck", "vehicle"]
"""`vehicle`: any of them but a person, recognised or not; see `agent.camera` for what an unrecognised one is."""
ReaderName = Literal["colour"]
VEHICLES: tuple[ClassName, ...] = ("bicycle", "motorcycle", "car", "bus", "truck")
ALL_CLASSES: tuple[ClassName, ...] = ("person", *VEHICLES)
Seconds = Annotated[float, Field(ge=0, le=86400)]
Classes = Annotated[tuple[ClassName, ...], Field(min_length=1)]
ALL_FAULTS: tuple[Fault, ...] = get_args(Fault)


class BoxConfig(Table):
    """Who this box is."""

    site: Id = Field(description="the gateway's place, part of every MQTT topic")
    id: Id = Field(description="the box's own name at that place, part of every MQTT topic")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        "Asia/Ho_Chi_Minh", description="in which schedules are written"
    )
    identity: Path = Field(
        Path("/var/lib/gateway-agent/identity"), description="folder of the key and certificate of `identity enrol`"
    )


class BrokerConfig(Table):
    """An MQTT broker of the IOC; write several and they are tried in order."""

    host: Annotated[str, AfterValidator(_host)] = Field(description="name or address")
    port: int | None = Field(None, ge=1, le=65535, description="8883 with tls, 1883 without, unless given")
    tls: bool = Field(True, description="TLS 1.2 or newer; the broker's certificate must name the host")
    ca_file: Path | None = Field(
        None, description="PEM of the authority to trust; none: the identity's, else the system's"
    )
    cert_file: Path | None = Field(None, description="PEM of this box's certificate; none: the identity's")
    key_file: Path | None = Field(None, description="PEM of this box's private key")

    @model_validator(mode="after")
    def _files_need_tls(self) -> Self:
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError("ca_file, cert_file and key_file have no use with tls = false; wanted tls = true")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; wanted both or none")
        return self


class UplinkConfig(Table):
    """How to speak to the broker."""

    payload: Literal["json", "cbor"] = Field("json", description="cbor is a third of the size, for metered links")
    username: str | None = Field(None, description="login, where the broker asks for one")
    password_file: Path | None = Field(None, description="file that holds the password alone")
    keepalive_s: int = Field(20, ge=5, le=600, description="a dead link is noticed after about twice this")
    max_bytes_per_s: int | None = Field(None, ge=100, le=10_000_000, description="limit for events, on metered links")
    burst_kb: int = Field(16, ge=1, le=10_240, description="with max_bytes_per_s: may leave at once after a quiet time")

    @model_validator(mode="after")
    def _password_needs_user(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file without username; wanted both")
        return self


class OutboxConfig(Table):
    """Where events wait for the broker."""

    path: Path = Field(Path("/var/lib/gateway-agent/outbox.db"), description="the database, on a disk that stays")
    max_mb: int = Field(512, ge=8, le=65536, description="the oldest of the least important give way above this")
    alert_reserve_mb: int = Field(64, ge=1, description="part of max_mb that counts and readings cannot use")

    @model_validator(mode="after")
    def _reserve_fits(self) -> Self:
        if self.alert_reserve_mb >= self.max_mb:
            raise ValueError(f"alert_reserve_mb = {self.alert_reserve_mb} leaves nothing of max_mb = {self.max_mb}")
        return self


class EvidenceConfig(Table):
    """Pictures that belong to alerts, for the rules that ask for one."""

    path: Path = Field(Path("/var/lib/gateway-agent/evidence"), description="folder, on a disk that stays")
    max_mb: int = Field(200, ge=1, le=65536, description="the oldest give way above this")
    max_days: float = Field(14.0, gt=0, le=366, description="a picture is kept no longer than this")
    send: Literal["request", "always"] = Field("request", description="which pictures leave the box by themselves")
    pixelate: Literal["others", "all", "none"] = Field("others", description="whom to make unrecognisable")


class DetectorConfig(Table):
    """The network that finds people and vehicles."""

    pack: str = Field(DEFAULT_PACK, description="a bundled model pack's name, or the path of a pack's folder")
    threads: int = Field(2, ge=1, le=16, description="processor threads for one inference")
    max_inferences_per_s: float = Field(40.0, gt=0, le=1000, description="of all cameras together, shared fairly")
    hot_c: float = Field(75.0, ge=30, le=120, description="fewer inferences when the processor is hotter than this")
    delegate: Annotated[str, AfterValidator(_delegate)] = Field(
        "cpu", description="what runs the network: cpu, edgetpu, or the path of a TFLite delegate's library"
    )
    delegate_options: dict[str, str] = Field({}, description="what that library understands")


class LineConfig(Table):
    """A line to count at. Standing at a and looking to b, "in" is from the left hand to the right hand."""

    id: Id
    a: Point = Field(description="start, fractions of width and height, x right, y down")
    b: Point = Field(description="end")
    anchor: Literal["bottom", "center"] = Field("bottom", description="the point of the box that counts")
    classes: tuple[ClassName, ...] = Field(ALL_CLASSES, min_length=1, description="which objects count")

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.a == self.b:
            raise ValueError(f"a and b are the same point {list(self.a)}; wanted two different points")
        return self


class ZoneConfig(Table):
    """An area to watch."""

    id: Id
    polygon: tuple[Point, ...] = Field(min_length=3, description="corners in order, fractions of width and height")
    classes: tuple[ClassName, ...] = Field(ALL_CLASSES, min_length=1, description="which objects count")
    dwell_s: float | None = Field(None, gt=0, le=86400, description="say so when an object stays this long")

    @model_validator(mode="after")
    def _is_an_area(self) -> Self:
        _refuse_no_area(self.polygon)
        return self


class MaskConfig(Table):
    """A part of the picture that is not looked at."""

    id: Id
    polygon: tuple[Point, ...] = Field(min_length=3, description="corners in order, fractions of width and height")
    kind: Literal["privacy", "detection"] = Field(
        description="privacy: black before anything sees the picture; detection: nothing is detected there"
    )

    @model_validator(mode="after")
    def _is_an_area(self) -> Self:
        _refuse_no_area(self.polygon)
        return self


class CalibrationConfig(Table):
    """Where four points of the picture are on the ground: what speeds in km/h need."""

    points: tuple[Point, Point, Point, Point] = Field(description="corners in order around an area of the road")
    metres: tuple[Metres, Metres, Metres, Metres] = Field(description="the same corners on the ground, in metres")
    tolerance_m: float = Field(0.2, ge=0, le=10, description="each of the metres may be off by so much")

    @model_validator(mode="after")
    def _are_corners(self) -> Self:
        for name, corners in (("points", self.points), ("metres", self.metres)):
            if not geometry.is_convex(corners):
                raise ValueError(
                    f"{name}: found {[list(corner) for corner in corners]}; "
                    "wanted four corners in order around an area, none of them on a line with two others"
                )
        return self


class RuleConfig(Table):
    """What is worth an alert. These keys are common to all kinds."""

    id: Id
    kind: str
    enabled: bool = Field(True, description="false: the rule is kept and does nothing")
    severity: Severity = "warning"
    hold_off_s: Seconds = Field(60.0, description="quiet about the same object, or the same place, for so long")
    schedule: tuple[Annotated[str, AfterValidator(_hours)], ...] = Field((), description="none: always")
    evidence: bool = Field(True, description="keep a picture of it")


class LineRule(RuleConfig):
    line: Id


class ZoneRule(RuleConfig):
    zone: Id


class WrongWayConfig(LineRule):
    """Somebody passes a line in the direction that is not allowed."""

    kind: Literal["wrong-way"]
    severity: Severity = "critical"
    allowed: Direction
    classes: Classes = VEHICLES


class RestrictedConfig(ZoneRule):
    """Somebody is where none of its class may be, or not at this time."""

    kind: Literal["restricted"]
    severity: Severity = "critical"
    classes: Classes = ALL_CLASSES


class LoiteringConfig(ZoneRule):
    """Somebody stays in a zone longer than allowed."""

    kind: Literal["loitering"]
    hold_off_s: Seconds = 300.0
    after_s: Seconds = 120.0
    classes: Classes = ("person",)


class StoppedConfig(ZoneRule):
    """A vehicle stands in a zone longer than allowed."""

    kind: Literal["stopped"]
    hold_off_s: Seconds = 600.0
    after_s: Seconds = 60.0
    classes: Classes = VEHICLES


class SpeedingConfig(RuleConfig):
    """A vehicle is faster than the limit, beyond doubt."""

    kind: Literal["speeding"]
    line: Id | None = Field(None, description="measured there: a line or a zone")
    zone: Id | None = None
    limit_kmh: float = Field(gt=0, le=300)
    classes: Classes = VEHICLES

    @model_validator(mode="after")
    def _at_one_place(self) -> Self:
        if (self.line is None) == (self.zone is None):
            raise ValueError("found both line and zone, or neither; wanted one of them: where the speed is measured")
        return self


class CongestionConfig(ZoneRule):
    """A zone is full of vehicles that hardly move."""

    kind: Literal["congestion"]
    severity: Severity = "info"
    evidence: bool = False
    vehicles: int = Field(ge=1, le=1000, description="at least so many of them")
    below_kmh: float | None = Field(None, gt=0, le=200, description="slower than this on average; needs a calibration")
    below_lengths_per_s: float = Field(0.3, gt=0, le=20, description="or than this, in own lengths, without below_kmh")
    after_s: Seconds = 30.0
    classes: Classes = VEHICLES


class CrowdConfig(ZoneRule):
    """More people are in a zone than it is meant for."""

    kind: Literal["crowd"]
    more_than: int = Field(ge=0, le=1000)
    after_s: Seconds = 10.0
    classes: Classes = ("person",)


class LeftBehindConfig(ZoneRule):
    """A thing lies there that was not there before, and nobody is with it."""

    kind: Literal["left-behind"]
    severity: Severity = "critical"
    after_s: Seconds = 60.0


class RemovedConfig(ZoneRule):
    """A thing that belonged there is gone."""

    kind: Literal["removed"]
    after_s: Seconds = 60.0


Rule = Annotated[
    WrongWayConfig
    | RestrictedConfig
    | LoiteringConfig
    | StoppedConfig
    | SpeedingConfig
    | CongestionConfig
    | CrowdConfig
    | LeftBehindConfig
    | RemovedConfig,
    Field(discriminator="kind"),
]


class CameraConfig(Table):
    """A camera and what to watch for in its picture."""

    id: Id
    source: Annotated[str, AfterValidator(_source)] = Field(
        description="rtsp://…, http://…, v4l2:/dev/…, csi:…, file:…"
    )
    credentials_file: Path | None = Field(None, description='TOML file with user = "…" and password = "…"')
    hardware_decode: bool = Field(False, description="decode an rtsp:// camera with the board's decoder, if it has one")
    fps: float = Field(10.0, gt=0, le=60, description="pictures looked at per second, at most")
    width_px: int | None = Field(None, ge=160, le=4096, description="asked of a USB or ribbon-cable camera")
    height_px: int | None = Field(None, ge=120, le=4096, description="asked of a USB or ribbon-cable camera")
    loop: bool = Field(False, description="play a file: source again and again")
    stall_timeout_s: float = Field(5.0, gt=0, le=60, description="reopen after this long without a picture")
    motion_gate: bool = Field(True, description="run the detector only while something moves")
    regions: bool = Field(False, description="look a second time, enlarged, where something small moves")
    count_interval_s: float = Field(60.0, ge=1, le=3600, description="length of the intervals of the counts")
    readers: tuple[ReaderName, ...] = Field((), description="what else to read of each object that is followed")
    faults: tuple[Fault, ...] = Field(ALL_FAULTS, description="what to report when it is wrong with the picture")
    line: tuple[LineConfig, ...] = ()
    zone: tuple[ZoneConfig, ...] = ()
    mask: tuple[MaskConfig, ...] = ()
    calibration: CalibrationConfig | None = Field(None, description="for speeds in km/h")
    rule: tuple[Rule, ...] = Field((), description="what is worth an alert")

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        _refuse_repeats("line", [line.id for line in self.line])
        _refuse_repeats("zone", [zone.id for zone in self.zone])
        _refuse_repeats("rule", [rule.id for rule in self.rule])
        _refuse_repeats("mask", [mask.id for mask in self.mask])
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError("width_px and height_px belong together; wanted both or none")
        if self.source.lower().startswith("csi:") and ((self.width_px or 0) % 8 or (self.height_px or 0) % 2):
            raise ValueError(
                f"found {self.width_px} x {self.height_px}; wanted a width of whole 8 pixels and an even height: "
                "a ribbon-cable camera gives no others here"
            )
        return self

    @model_validator(mode="after")
    def _rules_have_what_they_need(self) -> Self:
        for rule in self.rule:
            for what, known in (("line", [line.id for line in self.line]), ("zone", [zone.id for zone in self.zone])):
                wanted = getattr(rule, what, None)
                if wanted is not None and wanted not in known:
                    has = f"this camera has: {', '.join(known)}" if known else f"this camera has no {what}"
                    raise ValueError(f"rule {rule.id!r}: found {what} = {wanted!r}; {has}")
            needs_metres = isinstance(rule, SpeedingConfig) or getattr(rule, "below_kmh", None) is not None
            if needs_metres and self.calibration is None:
                raise ValueError(f"rule {rule.id!r}: speeds in km/h need a table [camera.calibration]; there is none")
        return self


class HealthConfig(Table):
    """The box's own pulse."""

    interval_s: float = Field(60.0, ge=1, le=3600, description="seconds between two health messages")


class WebConfig(Table):
    """The technician's page, served by the box itself. Beyond the box itself it is TLS alone."""

    listen: Annotated[str, AfterValidator(_address)] = Field(
        "127.0.0.1", description="address of the box to answer at; 0.0.0.0: at every one, 127.0.0.1: by a tunnel only"
    )
    port: int = Field(8443, ge=1, le=65535)
    names: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        (), description="names by which it is reached, beside its addresses and its host name"
    )
    folder: Path = Field(
        Path("/var/lib/gateway-agent/web"), description="of the passwords that `gateway-agent web password` sets"
    )
    metrics_token_file: Path | None = Field(
        None, description="file of the bearer token for /metrics; none: it answers the box itself alone"
    )

    @property
    def own_certificate(self) -> Path:
        """Shown as long as the box has none of an authority."""
        return self.folder / "page.pem"

    @property
    def is_local(self) -> bool:
        return ipaddress.ip_address(self.listen).is_loopback


class Config(Table):
    """The whole file."""

    box: BoxConfig
    broker: tuple[BrokerConfig, ...] = Field((), description="none: everything is buffered until there is one")
    uplink: UplinkConfig = UplinkConfig()
    outbox: OutboxConfig = OutboxConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    detector: DetectorConfig = DetectorConfig()
    camera: tuple[CameraConfig, ...] = Field((), description="none: a box that has sensors only")
    sensor: tuple[SensorConfig, ...] = ()
    output: tuple[OutputConfig, ...] = ()
    health: HealthConfig = HealthConfig()
    web: WebConfig | None = Field(None, description="none: no page, and nothing listens")

    @model_validator(mode="after")
    def _watches_something(self) -> Self:
        if not self.camera and not self.sensor:
            raise ValueError("nothing to watch; wanted a table that begins with [[camera]], or one with [[sensor]]")
        return self

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        _refuse_repeats("camera", [camera.id for camera in self.camera])
        check_sensors(self.sensor, self.output)
        _refuse_repeats("camera or sensor", [part.id for part in (*self.camera, *self.sensor)])
        return self

    @model_validator(mode="after")
    def _schedules_have_a_timezone(self) -> Self:
        if any(rule.schedule for camera in self.camera for rule in camera.rule):
            try:
                _timezone(self.box.timezone)  # the default one, too: a system without tzdata has none
            except ValueError as exc:
                raise ValueError(f"box.timezone: {exc}") from exc
        return self

    def camera_named(self, camera_id: str) -> CameraConfig:
        for camera in self.camera:
            if camera.id == camera_id:
                return camera
        known = ", ".join(camera.id for camera in self.camera) or "none"
        raise ConfigError(f"no camera {camera_id!r} in the configuration; it has: {known}")


def load(path: Path) -> Config:
    """Read and check one file. Raises ConfigError with every mistake found, one a line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot read the configuration: {exc.strerror}; "
            "is the path right (--config), and may this user read it?"
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 text (byte {exc.start}); save the file as UTF-8") from exc
    return parse(text, str(path))


def version_of(content: bytes) -> str:
    """What a configuration is called from afar: the first 12 hexadecimal digits of the file's SHA-256."""
    return hashlib.sha256(content).hexdigest()[:12]


def parse(text: str, name: str) -> Config:
    """Check the text of a configuration; name: what to call it in errors."""
    try:
        data = tomllib.loads(text)
        as_json = json.dumps(data, default=str)
    except (ValueError, RecursionError) as exc:  # TOMLDecodeError above all; a number of 5000 digits; 1000 brackets
        raise ConfigError(f"{name}: not valid TOML: {exc}") from exc
    try:
        # By way of JSON, because strict validation takes lists for tuples and text for paths there: "10" is no number,
        # "yes" is not true, but [0.1, 0.5] is a point.
        return Config.model_validate_json(as_json, strict=True)
    except ValidationError as exc:
        errors = exc.errors()
        # A wrong entry is also counted as missing from the list around it; said once, at the entry, is enough.
        plain = [e for e in errors if e["type"] != "too_short" or not any(_is_inside(other, e) for other in errors)]
        raise ConfigError("\n".join(f"{name}: {_sentence(error)}" for error in plain)) from exc


def _refuse_no_area(polygon: tuple[Point, ...]) -> None:
    crossed = geometry.crossing_edges(polygon)
    if crossed is not None:
        first, second = (n + 1 for n in crossed)
        raise ValueError(
            f"edge {first} of the polygon crosses edge {second} (edge n starts at corner n); "
            "wanted corners in order around the area"
        )
    if geometry.polygon_area(polygon) < 1e-5:
        raise ValueError("the corners lie on one line; wanted an area")


def _is_inside(error: ErrorDetails, around: ErrorDetails) -> bool:
    return len(error["loc"]) > len(around["loc"]) and error["loc"][: len(around["loc"])] == around["loc"]


_WANTED = {
    "bool_type": "true or false",
    "float_type": "a number",
    "finite_number": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": 'text, in "quotes"',
    "path_type": 'a path, in "quotes"',
    "string_too_short": 'text, in "quotes"',
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
    "too_short": "at least {min_length} of them",
}


def _sentence(error: ErrorDetails) -> str:
    """One mistake as: key: found …; wanted …."""
    loc, kind, context = _untagged(error["loc"]), error["type"], error.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        found = f'"{context["tag"]}"' if kind == "union_tag_invalid" else "nothing"
        return f"{_key(loc)}.kind: found {found}; wanted one of {', '.join(sorted(_RULES))}"
    if isinstance(loc[-1] if loc else None, int) and kind in ("missing", "too_long", "tuple_type"):
        kind, loc = "tuple_type", loc[:-1] if kind == "missing" else loc
    key = _key(loc)
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(loc[-1]), _keys_beside(error["loc"]), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "all keys are listed in provisioning/README.md"
        return f"{key}: unknown key; {hint}"
    if kind == "value_error":
        return f"{key}: {context.get('error', error['msg'])}"
    if kind == "missing" and not _is_table(loc):
        return f"{key}: missing; this key is needed"
    if kind in ("missing", "model_type", "dict_type", "tuple_type", "too_long"):
        wanted = _shape(loc)
    else:
        wanted = _WANTED[kind].format_map(context) if kind in _WANTED else error["msg"]
    found = "nothing" if error["type"] == "missing" else _short(error["input"])
    return f"{key}: found {found}; wanted {wanted}"


def _shape(loc: tuple[int | str, ...]) -> str:
    """What a list or a table at this place looks like, as one would write it."""
    name = next((part for part in reversed(loc) if isinstance(part, str)), "")
    if _is_table(loc):
        header = ".".join(part for part in loc if isinstance(part, str))
        return f"a table that begins with [[{header}]]" if name in LISTS else f"a table that begins with [{header}]"
    if name in ("points", "metres") and not isinstance(loc[-1], int):
        return "four points [[x, y], [x, y], [x, y], [x, y]]"
    if name == "metres":
        return "a point [x, y], two numbers"
    if name == "polygon" and not isinstance(loc[-1], int):
        return "a list of points [[x, y], [x, y], …]"
    if name in ("a", "b", "polygon", "points"):
        return "a point [x, y], two numbers from 0 to 1"
    examples = {"schedule": '["Mo-Fr 22:00-05:00"]', "readers": '["colour"]', "names": '["gw-01.city.example"]'}
    return "a list, such as " + examples.get(name, '["car", "bus"]')


LISTS = ("broker", "camera", "line", "zone", "mask", "rule", "sensor", "quantity", "limit", "output")
_RULES: dict[str, type[RuleConfig]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(Rule)[0])
}
_TAGGED: dict[str, type[BaseModel]] = {**_RULES, **TAGS}


def _is_table(loc: tuple[int | str, ...]) -> bool:
    name = next((part for part in reversed(loc) if isinstance(part, str)), "")
    if name in ("line", "zone") and "rule" in loc:
        return False  # there they are keys, that name one
    return name in (*LISTS, "calibration") or (
        len(loc) == 1 and _model_in(Config.model_fields[name].annotation) is not None
    )


def _untagged(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Of a rule's or a sensor's place pydantic says the kind as well: ('rule', 0, 'crowd', 'zone')."""
    return tuple(part for n, part in enumerate(loc) if not (part in _TAGGED and n and isinstance(loc[n - 1], int)))


def _key(loc: tuple[int | str, ...]) -> str:
    """('camera', 0, 'line', 1, 'b') → camera[1].line[2].b; people count from one."""
    text = ""
    for part in loc:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def _short(value: Any) -> str:
    """The value as it was written, but for logins: what is inside a table stays unsaid."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, dict) for part in value)):
        return "a table" if isinstance(value, dict) else "a list of tables"
    text = re.sub(r"//[^/\s]*@", "//…@", json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 60 else text[:57] + "…"


def _keys_beside(loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in loc[:-1]:
        if part in _TAGGED:
            model = _TAGGED[str(part)]
        elif isinstance(part, str):
            inner = _model_in(model.model_fields[part].annotation)
            if inner is None:
                return []
            model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Annotated, Union, types.UnionType):
        for part in get_args(annotation):
            found = _model_in(part)
            if found is not None:
                return found
    return None
