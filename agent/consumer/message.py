"""One arrival from a broker, taken apart: topic and payload in, one of a few types out.

Pure: no ledger, no broker, no clock. What a newer agent may send and this version does not know is passed on untouched.

Arrival
├── LedgerMessage    alert, count, reading: numbered
├── StateMessage     a box's birth or last will (retained)
├── HealthMessage    its pulse
├── PictureMessage   the JPEG that an alert names
├── ReplyMessage     an answer to a command, for clients without MQTT 5
├── CommandMessage   a request on its way to a box: not for us, but whoever listens to gw/v1/# hears it
├── OtherMessage     an object on a topic that this version does not know, or without ledger fields where they belong
└── UnreadableMessage  bytes that are no object at all
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from agent.contract.box import Health, State
from agent.contract.command import Reply
from agent.contract.event import Body, Stream
from agent.contract.ledger import Taken
from agent.contract.topics import Topic, parse_topic
from agent.contract.wire import Envelope, PayloadError, decode, parse, read_envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """topic: as it was published. where: the topic taken apart, None if it is none of this contract's."""

    topic: str
    payload: bytes
    where: Topic | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfBox(Arrival):
    site: str
    box: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said(_OfBox):
    """fields: the payload's object under the names of the contract, JSON or CBOR alike."""

    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerMessage(_Said):
    """taken: what it meant to the ledger of whoever took it in; None where nobody keeps one."""

    stream: Stream
    source: str
    epoch: int
    seq: int
    taken: Taken | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """(site, box, stream): what a ledger calls the series."""
        return self.site, self.box, self.stream.value

    @property
    def kind(self) -> str:
        """ "" for a message that does not say."""
        kind = self.fields.get("kind")
        return kind if isinstance(kind, str) else ""

    @property
    def is_new(self) -> bool:
        """False for a repeat: drop it."""
        return self.taken is None or not self.taken.repeat

    def envelope(self) -> Envelope:
        """All ledger fields. Raises PayloadError naming one that is missing or out of range."""
        return read_envelope(self.fields)

    def body(self) -> Body | None:
        """What happened, as the contract's model; None for a kind that this version does not know; `fields` has all.

        Raises PayloadError for a message that breaks the model of its kind.
        """
        return parse(self.payload).body


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMessage(_Said):
    def state(self) -> State:
        """Raises PayloadError for what is no state."""
        return State.read(self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthMessage(_Said):
    def health(self) -> Health:
        """Raises PayloadError for what is no health."""
        return Health.read(self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyMessage(_Said):
    def reply(self) -> Reply:
        """Raises PayloadError for what is no answer."""
        return Reply.read(self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandMessage(_OfBox):
    """The request's own bytes: only the box judges it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureMessage(_OfBox):
    """payload: the JPEG."""

    id: str

    @property
    def sha256(self) -> str:
        """To compare with the alert that names it."""
        return hashlib.sha256(self.payload).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleMessage(PictureMessage):
    """What the doctor of a box wrote, for the command `diagnostics`. payload: a .tar.gz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMessage(Arrival):
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableMessage(Arrival):
    why: str


def read(topic: str, payload: bytes) -> Arrival:
    """Never raises: what cannot be read is an UnreadableMessage that says why."""
    where = parse_topic(topic)
    if where is not None and where.item is not None:
        kind_of_file = PictureMessage if where.channel == "evidence" else BundleMessage
        return kind_of_file(topic=topic, payload=payload, where=where, site=where.site, box=where.box, id=where.item)
    if where is not None and where.channel == "command":
        return CommandMessage(topic=topic, payload=payload, where=where, site=where.site, box=where.box)
    try:
        fields = decode(payload)
    except PayloadError as exc:
        return UnreadableMessage(topic=topic, payload=payload, where=where, why=str(exc))
    if where is None:
        return OtherMessage(topic=topic, payload=payload, where=None, fields=fields)
    if where.stream is None or where.source is None:
        kinds = {"state": StateMessage, "health": HealthMessage, "reply": ReplyMessage}
        kind = kinds[where.channel or ""]
        return kind(topic=topic, payload=payload, where=where, fields=fields, site=where.site, box=where.box)
    epoch, seq = fields.get("epoch"), fields.get("seq")
    if not isinstance(epoch, int) or not isinstance(seq, int):
        return OtherMessage(topic=topic, payload=payload, where=where, fields=fields)
    return LedgerMessage(
        topic=topic,
        payload=payload,
        where=where,
        fields=fields,
        site=where.site,
        box=where.box,
        stream=where.stream,
        source=where.source,
        epoch=epoch,
        seq=seq,
    )
