"""Topic names: `gw/v1/<site>/<box>/…`, built and taken apart in this one place.

state                     retained birth and last will
alert/<source> count/<source> reading/<source>     the ledger's streams
health                    the box's own pulse
evidence/<id>             the picture of an alert: a JPEG, nothing around it
diagnostics/<id>          what the doctor found, as a .tar.gz, for the command of that name
command, reply            requests, and answers for clients without MQTT 5
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.contract.event import Stream

ROOT = "gw/v1"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_CHANNELS = frozenset({"state", "health", "command", "reply"})


def check_id(value: str, what: str = "id") -> str:
    """The id itself, if it can stand in a topic. Raises ValueError saying what is wrong with it.

    Letters, digits, '-', '_' and '.', at most 32: also safe as a file name and in a URL, and never '+', '#', '/'.
    """
    if not _ID.fullmatch(value):
        raise ValueError(
            f"{what} {value!r}: wanted 1 to 32 of a-z, A-Z, 0-9, '-', '_', '.', starting with a letter or a digit "
            f"(it becomes part of MQTT topics)"
        )
    return value


@dataclass(frozen=True, slots=True)
class BoxTopics:
    """The topics of one box. Raises ValueError for a site or box that cannot stand in a topic."""

    site: str
    box: str

    def __post_init__(self) -> None:
        check_id(self.site, "site")
        check_id(self.box, "box")

    @property
    def base(self) -> str:
        return f"{ROOT}/{self.site}/{self.box}"

    @property
    def state(self) -> str:
        return f"{self.base}/state"

    @property
    def health(self) -> str:
        return f"{self.base}/health"

    @property
    def command(self) -> str:
        return f"{self.base}/command"

    @property
    def reply(self) -> str:
        return f"{self.base}/reply"

    def evidence(self, evidence_id: str) -> str:
        """Where the picture of that id goes."""
        return f"{self.base}/evidence/{check_id(evidence_id, 'evidence')}"

    def diagnostics(self, bundle_id: str) -> str:
        """Where the bundle of that id goes."""
        return f"{self.base}/diagnostics/{check_id(bundle_id, 'diagnostics')}"

    def ledger(self, stream: Stream, source: str) -> str:
        """Where messages of one stream from one camera, sensor or "box" go."""
        return f"{self.base}/{stream.value}/{check_id(source, 'source')}"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic taken apart. stream and source are None outside the ledger, channel is None on it.

    item: the picture's or bundle's id, with channel "evidence" or "diagnostics".
    """

    site: str
    box: str
    stream: Stream | None = None
    source: str | None = None
    channel: str | None = None
    item: str | None = None


def parse_topic(topic: str) -> Topic | None:
    """What a topic means, or None for one that is not of this contract (a newer agent may use more)."""
    parts = topic.split("/")
    if len(parts) < 5 or "/".join(parts[:2]) != ROOT or not all(_ID.fullmatch(part) for part in parts[2:]):
        return None
    site, box, *rest = parts[2:]
    if len(rest) == 1 and rest[0] in _CHANNELS:
        return Topic(site, box, channel=rest[0])
    if len(rest) == 2 and rest[0] in set(Stream):
        return Topic(site, box, stream=Stream(rest[0]), source=rest[1])
    if len(rest) == 2 and rest[0] in ("evidence", "diagnostics"):
        return Topic(site, box, channel=rest[0], item=rest[1])
    return None
