"""What an update file says of itself: the door for its manifest, and the one form in which its bytes are signed.

Whoever signs, signs these bytes; so there is one way of writing them (`canonical`), and what is written in any other is
refused. An unknown key is refused too: it may be a condition that this agent would not keep.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.contract.topics import check_id
from agent.errors import UpdateRefused

Kind = Literal["release", "pack", "config", "trust"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MAX_FILES = 300
MAX_FILE_BYTES = 1 << 30
MAX_TOTAL_BYTES = 2 << 30

# No folders: what has no slash and does not begin with a dot cannot lead out of the folder it is unpacked in.
_FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$"
_VERSION = r"^[0-9]{1,9}(\.[0-9]{1,9}){0,3}$"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def _time(text: str) -> str:
    try:
        datetime.strptime(text, _TIME)
    except ValueError:
        raise ValueError(f"found {text!r}; wanted UTC, such as 2027-01-31T00:00:00Z") from None
    return text


def _box(text: str) -> str:
    site, slash, box = text.partition("/")
    if not slash:
        raise ValueError(f"found {text!r}; wanted site/box, such as cua-bac/gw-01")
    check_id(site, "site")
    check_id(box, "box")
    return text


Time = Annotated[str, AfterValidator(_time)]
Version = Annotated[str, Field(pattern=_VERSION)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Payload(_Part):
    """One file that is carried."""

    name: str = Field(pattern=_FILE_NAME)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0, le=MAX_FILE_BYTES)


class Manifest(_Part):
    format: Literal[1] = 1
    kind: Kind
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$", description="of a pack: the pack's; else a fixed word")
    version: Version
    created: Time
    expires: Time = Field(description="not to be installed any more from then on")
    minimum_agent: Version | None = Field(None, description="the agent that must run, at least")
    allow_downgrade: bool = Field(False, description="may replace a newer version, if a person asks for it on the box")
    sites: tuple[Annotated[str, AfterValidator(check_id)], ...] = Field((), description="for these alone; none: all")
    boxes: tuple[Annotated[str, AfterValidator(_box)], ...] = Field((), description="site/box; none: all")
    machine: str | None = Field(None, description="of a release: uname -m of the boards it runs on")
    python: str | None = Field(None, pattern=r"^3\.[0-9]{1,3}$", description="of a release: the Python of its wheels")
    needs_bytes: int = Field(0, ge=0, le=MAX_TOTAL_BYTES * 4, description="on the disk, once installed")
    files: tuple[Payload, ...] = Field(min_length=1, max_length=MAX_FILES)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "release" and (self.machine is None or self.python is None):
            raise ValueError("machine and python are missing; a release is made for one kind of board and one Python")
        if self.kind != "release" and (self.machine is not None or self.python is not None):
            raise ValueError(f"machine and python belong to a release; this is a {self.kind}")
        if self.kind != "pack" and self.name != NAMES[self.kind]:
            raise ValueError(f"name is {self.name!r}; a {self.kind} is called {NAMES[self.kind]!r}")
        if self.kind in ("config", "trust") and [file.name for file in self.files] != [FILES[self.kind]]:
            raise ValueError(f"a {self.kind} carries one file, {FILES[self.kind]}")
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError("two files have the same name")
        if self.total_bytes > MAX_TOTAL_BYTES:
            raise ValueError(f"its files are {self.total_bytes} bytes; at most {MAX_TOTAL_BYTES} are taken")
        if self.expires_ms <= self.created_ms:
            raise ValueError(f"expires {self.expires} is not after created {self.created}")
        return self

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def created_ms(self) -> int:
        return time_ms(self.created)

    @property
    def expires_ms(self) -> int:
        return time_ms(self.expires)

    @property
    def key(self) -> str:
        """What it replaces: versions are compared with those of the same key."""
        return f"{self.kind}:{self.name}"

    def canonical(self) -> bytes:
        return canonical(self.model_dump(mode="json", exclude_none=True))


NAMES: dict[str, str] = {"release": "gateway-agent", "config": "gateway", "trust": "trust"}
FILES: dict[str, str] = {"config": "gateway.toml", "trust": "trust.toml"}


def canonical(fields: Any) -> bytes:
    """JSON in one form: keys sorted, no spaces, UTF-8."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read_manifest(data: bytes) -> Manifest:
    """Raises UpdateRefused."""
    try:
        fields = json.loads(data)
        if canonical(fields) != data:
            raise UpdateRefused(
                "its manifest is not written in the form that is signed; make it with agent.update.make"
            )
        return Manifest.model_validate(fields)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise UpdateRefused(f"its manifest says what this agent does not know: {where}: {first['msg']}") from exc
    except (ValueError, RecursionError) as exc:
        raise UpdateRefused(f"its manifest is not JSON: {exc}") from exc


def time_ms(text: str) -> int:
    """UTC, Unix milliseconds, of a time in a manifest."""
    return int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp() * 1000)


def time_text(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime(_TIME)


def is_version(text: str) -> bool:
    return re.match(_VERSION, text) is not None


def newer(version: str, than: str) -> bool:
    """1.10 is newer than 1.9, and 1.0 is not newer than 1."""
    return _numbers(version) > _numbers(than)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return (*numbers, *[0] * (4 - len(numbers)))


def this_machine() -> str:
    return platform.machine()


def this_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
