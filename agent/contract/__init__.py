"""What the IOC sees, and nothing else: events, payloads, topics, the ledger. The pages for its developers are in
`agent/README.md`, the JSON Schema in `schema.json`."""

from agent.contract.box import CameraHealth, EvidenceHealth, Health, LinkHealth, OutboxHealth, State
from agent.contract.command import Command, Reply
from agent.contract.event import Event, Stream
from agent.contract.ledger import Ledger, Taken
from agent.contract.topics import BoxTopics, Topic, check_id, parse_topic
from agent.contract.wire import Envelope, Form, Message, PayloadError, body_json, decode, encode, pack, parse

__all__ = [
    "BoxTopics",
    "CameraHealth",
    "Command",
    "Envelope",
    "Event",
    "EvidenceHealth",
    "Form",
    "Health",
    "Ledger",
    "LinkHealth",
    "Message",
    "OutboxHealth",
    "PayloadError",
    "Reply",
    "State",
    "Stream",
    "Taken",
    "Topic",
    "body_json",
    "check_id",
    "decode",
    "encode",
    "pack",
    "parse",
    "parse_topic",
]
