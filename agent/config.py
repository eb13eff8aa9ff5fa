"""The door for the configuration: one TOML file, checked whole before anything starts.

Stages get plain values from here; nothing else in the agent reads the file or knows pydantic's errors. A wrong file
is a ConfigError that names the file and, for each mistake, the key, what was found and what was wanted.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from agent.contract.topics import check_id
from agent.errors import ConfigError
from agent.vision import geometry
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


def _delegate(delegate: str) -> str:
    check_delegate(delegate)
    return delegate


Id = Annotated[str, AfterValidator(check_id)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Point = tuple[Fraction, Fraction]
ClassName = Literal["person", "bicycle", "motorcycle", "car", "bus", "truck"]
ALL_CLASSES: tuple[ClassName, ...] = get_args(ClassName)


class Table(BaseModel):
    # A mistyped key is an error, not a silent default.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BoxConfig(Table):
    """Who this box is."""

    site: Id = Field(description="the gateway's place, part of every MQTT topic")
    id: Id = Field(description="the box's own name at that place, part of every MQTT topic")


class BrokerConfig(Table):
    """An MQTT broker of the IOC; write several and they are tried in order."""

    host: Annotated[str, AfterValidator(_host)] = Field(description="name or address")
    port: int | None = Field(None, ge=1, le=65535, description="8883 with tls, 1883 without, unless given")
    tls: bool = Field(True, description="TLS 1.2 or newer; the broker's certificate must name the host")
    ca_file: Path | None = Field(None, description="PEM of the authority to trust; none: the system's authorities")
    cert_file: Path | None = Field(None, description="PEM of this box's certificate")
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


class DetectorConfig(Table):
    """The network that finds people and vehicles."""

    pack: str = Field(DEFAULT_PACK, description="a bundled model pack's name, or the path of a pack's folder")
    threads: int = Field(2, ge=1, le=16, description="processor threads for one inference")
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
        crossed = geometry.crossing_edges(self.polygon)
        if crossed is not None:
            first, second = (n + 1 for n in crossed)
            raise ValueError(
                f"edge {first} of the polygon crosses edge {second} (edge n starts at corner n); "
                "wanted corners in order around the area"
            )
        if geometry.polygon_area(self.polygon) < 1e-5:
            raise ValueError("the corners lie on one line; wanted an area")
        return self


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
    count_interval_s: float = Field(60.0, ge=1, le=3600, description="length of the intervals of the counts")
    line: tuple[LineConfig, ...] = ()
    zone: tuple[ZoneConfig, ...] = ()

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        _refuse_repeats("line", [line.id for line in self.line])
        _refuse_repeats("zone", [zone.id for zone in self.zone])
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError("width_px and height_px belong together; wanted both or none")
        if self.source.lower().startswith("csi:") and ((self.width_px or 0) % 8 or (self.height_px or 0) % 2):
            raise ValueError(
                f"found {self.width_px} x {self.height_px}; wanted a width of whole 8 pixels and an even height: "
                "a ribbon-cable camera gives no others here"
            )
        return self


class HealthConfig(Table):
    """The box's own pulse."""

    interval_s: float = Field(60.0, ge=1, le=3600, description="seconds between two health messages")


class Config(Table):
    """The whole file."""

    box: BoxConfig
    broker: tuple[BrokerConfig, ...] = Field((), description="none: everything is buffered until there is one")
    uplink: UplinkConfig = UplinkConfig()
    outbox: OutboxConfig = OutboxConfig()
    detector: DetectorConfig = DetectorConfig()
    camera: tuple[CameraConfig, ...] = Field(min_length=1)
    health: HealthConfig = HealthConfig()

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        _refuse_repeats("camera", [camera.id for camera in self.camera])
        return self

    def camera_named(self, camera_id: str) -> CameraConfig:
        for camera in self.camera:
            if camera.id == camera_id:
                return camera
        known = ", ".join(camera.id for camera in self.camera)
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


def parse(text: str, name: str) -> Config:
    """Check the text of a configuration; name: what to call it in errors."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{name}: not valid TOML: {exc}") from exc
    try:
        # By way of JSON, because strict validation takes lists for tuples and text for paths there: "10" is no number,
        # "yes" is not true, but [0.1, 0.5] is a point.
        return Config.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as exc:
        errors = exc.errors()
        # A wrong entry is also counted as missing from the list around it; said once, at the entry, is enough.
        plain = [e for e in errors if e["type"] != "too_short" or not any(_is_inside(other, e) for other in errors)]
        raise ConfigError("\n".join(f"{name}: {_sentence(error)}" for error in plain)) from exc


def _refuse_repeats(what: str, ids: list[str]) -> None:
    for repeated in sorted({i for i in ids if ids.count(i) > 1}):
        raise ValueError(f"the {what} id {repeated!r} is used {ids.count(repeated)} times; wanted each once")


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
    loc, kind, context = error["loc"], error["type"], error.get("ctx", {})
    if isinstance(loc[-1] if loc else None, int) and kind in ("missing", "too_long", "tuple_type"):
        kind, loc = "tuple_type", loc[:-1] if kind == "missing" else loc
    key = _key(loc)
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(loc[-1]), _keys_beside(loc), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "all keys are listed in provisioning/README.md"
        return f"{key}: unknown key; {hint}"
    if kind == "value_error":
        return f"{key}: {context.get('error', error['msg'])}"
    if kind == "missing" and not _is_table(loc):
        return f"{key}: missing; this key is needed"
    if kind in ("missing", "model_type", "tuple_type", "too_long"):
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
        return f"a table that begins with [[{header}]]" if name in _LISTS else f"a table that begins with [{header}]"
    if name == "polygon" and not isinstance(loc[-1], int):
        return "a list of points [[x, y], [x, y], …]"
    if name in ("a", "b", "polygon"):
        return "a point [x, y], two numbers from 0 to 1"
    return 'a list, such as ["car", "bus"]'


_LISTS = ("broker", "camera", "line", "zone")


def _is_table(loc: tuple[int | str, ...]) -> bool:
    name = next((part for part in reversed(loc) if isinstance(part, str)), "")
    return name in _LISTS or (len(loc) == 1 and _model_in(Config.model_fields[name].annotation) is not None)


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
        if isinstance(part, str):
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
