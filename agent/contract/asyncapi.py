"""AsyncAPI 3.0 document of the contract, made from the models, the topics and the test vectors:
`python -m agent.contract.schema` writes asyncapi.json.

It describes the box: what it sends, a consumer receives, and the other way round. Payloads are described as JSON; in
CBOR they are the same objects (`x-cbor-keys`). JSON Schema draft 7, since that is what AsyncAPI's tools read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import __version__
from agent.contract import schema, vectors
from agent.contract.command import ALGORITHM, COMMANDS, MAX_TOKEN_BYTES, TOKEN_TYPE
from agent.contract.topics import ROOT
from agent.contract.wire import KEYS

PATH = Path(__file__).with_name("asyncapi.json")
BASE = f"{ROOT}/{{site}}/{{box}}"

_PARAMETERS = {
    "site": "the gateway's place: 1 to 32 of a-z A-Z 0-9 - _ . starting with a letter or digit",
    "box": "the box's own name at that place, of the same characters",
    "source": "a camera's or sensor's id, or \"box\" for what the box says about itself",
    "camera": "a camera's id",
    "sensor": "a sensor's id",
    "id": "the picture's id, as the alert names it",
}


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic of a box. address: below `gw/v1/<site>/<box>/`. action: what the box does there."""

    name: str
    address: str
    title: str
    words: str
    qos: int = 1
    retain: bool = False
    action: str = "send"

    @property
    def topic(self) -> str:
        return f"{BASE}/{self.address}"


CHANNELS = (
    Channel(
        "state",
        "state",
        "Birth and last will",
        "Who the box is and whether it is there. Retained; the broker says so when a box vanishes.",
        retain=True,
    ),
    Channel(
        "alert",
        "alert/{source}",
        'Ledger stream "alert"',
        "What a person should see. Numbered without a break within stream and epoch.",
    ),
    Channel("count", "count/{camera}", 'Ledger stream "count"', "What was counted, camera by camera, at intervals."),
    Channel("reading", "reading/{sensor}", 'Ledger stream "reading"', "Sensor values, by deadband and interval."),
    Channel(
        "health", "health", "Pulse", "How the box is, now and then. Not numbered: the next one replaces it.", qos=0
    ),
    Channel(
        "evidence",
        "evidence/{id}",
        "Picture of an alert",
        "A JPEG of at most 60,000 bytes, nothing around it.",
    ),
    Channel(
        "diagnostics",
        "diagnostics/{id}",
        "Diagnostics bundle",
        "What the doctor of the box wrote, without secrets, for the command of that name: a .tar.gz.",
    ),
    Channel(
        "command", "command", "Requests to the box", "One signed request a message. Never retained.", action="receive"
    ),
    Channel("reply", "reply", "Answers for MQTT 3.1.1", "Answers to requests that came without a response topic."),
)


def build() -> dict[str, Any]:
    schemas = {name: _draft_07(part) for name, part in schema.build()["$defs"].items()}
    messages, on_channel = _messages(schema.build()["discriminator"]["mapping"])
    return {
        "asyncapi": "3.0.0",
        "id": "urn:gateway-agent:contract:v1",
        "info": {
            "title": "gateway-agent contract v1",
            "version": __version__,
            "description": (
                "What the boxes at the gateways say to the operations centre, and what it may ask of them, over "
                "MQTT.\n\nThe document describes a box: what it *sends*, you receive. Ledger, time, coordinates and "
                "versions are explained in agent/README.md of the project.\n\n"
                "Payloads are JSON, or on metered links CBOR (RFC 8949): the same objects with the integers of "
                "`x-cbor-keys` for the names. The first byte tells which: 0x7b is JSON, 0xa0 to 0xbf is CBOR. Ignore "
                "fields you do not know, store kinds you do not know."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": "ledger", "description": "numbered, at least once, gaps are named"}],
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": _channels(on_channel),
        "operations": _operations(on_channel),
        "components": {
            "schemas": schemas,
            "messages": messages,
            "parameters": {name: {"description": words} for name, words in _PARAMETERS.items()},
            "securitySchemes": {
                "certificate": {
                    "type": "X509",
                    "description": "Mutual TLS. A box is who its certificate says: common name SITE/BOX, and it may "
                    "write below its own topics only. A program of the centre has the common name client:NAME.",
                },
                "login": {
                    "type": "userPassword",
                    "description": "For brokers that ask for user and password instead; over TLS.",
                },
            },
        },
        "x-cbor-keys": KEYS,
    }


def _servers() -> dict[str, Any]:
    common = {
        "host": "{host}:{port}",
        "variables": {
            "host": {"default": "broker.example.vn", "description": "the centre's broker"},
            "port": {"default": "8883"},
        },
        "security": [
            {"$ref": "#/components/securitySchemes/certificate"},
            {"$ref": "#/components/securitySchemes/login"},
        ],
    }
    binding = {
        "clientId": "gw-SITE-BOX",
        "cleanSession": False,
        "keepAlive": 20,
        "lastWill": {"topic": f"{ROOT}/SITE/BOX/state", "qos": 1, "retain": True, "message": '{"online":false,…}'},
    }
    return {
        "mqtt5": {
            **common,
            "protocol": "secure-mqtt",
            "protocolVersion": "5.0",
            "title": "MQTT 5, tried first",
            "description": "Reason codes, response topics, topic aliases; commands wait 7 days for a box that is away.",
            "bindings": {"mqtt": {**binding, "sessionExpiryInterval": 604800, "bindingVersion": "0.2.0"}},
        },
        "mqtt311": {
            **common,
            "protocol": "secure-mqtt",
            "protocolVersion": "3.1.1",
            "title": "MQTT 3.1.1, for brokers that know only that",
            "description": "Answers to commands come on `…/reply`; nothing else differs.",
            "bindings": {"mqtt": {**binding, "bindingVersion": "0.2.0"}},
        },
    }


def _messages(kinds: dict[str, str]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Messages by name, and the names on each channel. A kind is on the streams that its vectors show."""
    document = vectors.build()
    definitions = schema.build()["$defs"]
    messages: dict[str, Any] = {}
    on_channel: dict[str, list[str]] = {channel.name: [] for channel in CHANNELS}
    for kind, reference in sorted(kinds.items()):
        of_kind = [vector for vector in document["messages"] if vector["fields"]["kind"] == kind]
        name = reference.rsplit("/", 1)[1]
        messages[kind] = {**_message(kind, name, definitions[name], of_kind), "tags": [{"name": "ledger"}]}
        for channel in sorted({vector["topic"].split("/")[4] for vector in of_kind}):
            on_channel[channel].append(kind)
    for channel_name, name in (("state", "State"), ("health", "Health"), ("reply", "Reply")):
        of_name = [vector for vector in document["others"] if vector["topic"].endswith(f"/{channel_name}")]
        messages[channel_name] = _message(channel_name, name, definitions[name], of_name)
        on_channel[channel_name] = [channel_name]
    messages["reply"]["correlationId"] = {
        "description": "The request's id. With MQTT 5 the request's Correlation Data comes back as well.",
        "location": "$message.payload#/id",
    }
    messages["evidence"] = {
        "name": "evidence",
        "title": "picture of an alert",
        "summary": "A JPEG; its sha256 is in the alert that names it.",
        "contentType": "image/jpeg",
        "payload": {"type": "string", "format": "binary", "maxLength": 60_000},
        "bindings": {"mqtt": {"contentType": "image/jpeg", "bindingVersion": "0.2.0"}},
    }
    on_channel["evidence"] = ["evidence"]
    messages["diagnostics"] = {
        "name": "diagnostics",
        "title": "diagnostics bundle",
        "summary": "A .tar.gz of texts; its sha256 is in the answer to the command.",
        "contentType": "application/gzip",
        "payload": {"type": "string", "format": "binary"},
        "bindings": {"mqtt": {"contentType": "application/gzip", "bindingVersion": "0.2.0"}},
    }
    on_channel["diagnostics"] = ["diagnostics"]
    messages["command"] = _command()
    on_channel["command"] = ["command"]
    return messages, on_channel


def _message(title: str, name: str, definition: dict[str, Any], of_it: list[dict[str, Any]]) -> dict[str, Any]:
    first, *_ = definition["description"].split("\n\n")
    return {
        "name": title,
        "title": title,
        "summary": " ".join(first.split()),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "examples": [{"name": vector["name"], "payload": vector["fields"]} for vector in of_it],
        "x-cbor-examples": [{"name": vector["name"], "hex": vector["cbor"]} for vector in of_it],
    }


def _command() -> dict[str, Any]:
    return {
        "name": "command",
        "title": "request",
        "summary": "Something the box is asked to do or to tell: a JSON Web Token, signed with Ed25519.",
        "contentType": "application/jwt",
        "payload": {
            "type": "string",
            "maxLength": MAX_TOKEN_BYTES,
            "description": f"JWS compact form (RFC 7515); header: typ {TOKEN_TYPE}, alg {ALGORITHM}, kid; its claims "
            "are x-claims, and args by the command's name in x-commands",
        },
        "x-claims": {"$ref": "#/components/schemas/Command"},
        "x-commands": {
            name: {
                "role": known.role,
                "description": known.words,
                "args": {"$ref": f"#/components/schemas/{known.args.__name__}"},
            }
            for name, known in COMMANDS.items()
        },
        "bindings": {
            "mqtt": {
                "correlationData": {"type": "string", "description": "comes back with the answer, as it is"},
                "responseTopic": {"type": "string", "description": f"outside {ROOT}/, or below {BASE}/reply/"},
                "bindingVersion": "0.2.0",
            }
        },
    }


def _channels(on_channel: dict[str, list[str]]) -> dict[str, Any]:
    channels: dict[str, Any] = {}
    for channel in CHANNELS:
        names = [part[1:-1] for part in channel.topic.split("/") if part.startswith("{")]
        channels[channel.name] = {
            "address": channel.topic,
            "title": channel.title,
            "description": channel.words,
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in on_channel[channel.name]},
            "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
        }
    channels["response"] = {
        "address": None,
        "title": "Answers, MQTT 5",
        "description": "The response topic of the request.",
        "messages": {"reply": {"$ref": "#/components/messages/reply"}},
    }
    return channels


def _operations(on_channel: dict[str, list[str]]) -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for channel in CHANNELS:
        operations[channel.name] = {
            "action": channel.action,
            "channel": {"$ref": f"#/channels/{channel.name}"},
            "summary": channel.words,
            "messages": [{"$ref": f"#/channels/{channel.name}/messages/{name}"} for name in on_channel[channel.name]],
            "bindings": {"mqtt": {"qos": channel.qos, "retain": channel.retain, "bindingVersion": "0.2.0"}},
        }
    operations["command"]["reply"] = {
        "address": {
            "location": "$message.header#/responseTopic",
            "description": "MQTT 5's response topic; without one the answer comes on …/reply.",
        },
        "channel": {"$ref": "#/channels/response"},
        "messages": [{"$ref": "#/channels/response/messages/reply"}],
    }
    return operations


def _draft_07(part: Any) -> Any:
    """The same for readers of draft 7: no siblings of $ref, tuples as lists of items, references into components."""
    if isinstance(part, list):
        return [_draft_07(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    part = {name: _draft_07(inner) for name, inner in part.items()}
    if "prefixItems" in part:
        part["items"] = part.pop("prefixItems")
    if isinstance(part.get("$ref"), str):
        reference = {"$ref": part.pop("$ref").replace("#/$defs/", "#/components/schemas/")}
        return {"allOf": [reference], **part} if part else reference
    return part


def text() -> str:
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"
