"""Users of RabbitMQ for boxes: each may speak and hear as itself, and as nobody else.

    python -m provisioning.broker.rabbitmq.boxes cua-bac/gw-01 cua-bac/gw-02 > boxes.json
    rabbitmqctl import_definitions boxes.json                on one node, as often as you like; nothing is taken away

A user's name is the common name of the box's certificate; it has no password, so there is no other way in. A box that
is revoked: `rabbitmqctl delete_user SITE/BOX` (RabbitMQ does not read lists of revoked certificates by itself).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from agent.contract.topics import BoxTopics

_EXCHANGE = "amq.topic"  # where the MQTT plugin puts everything, with dots for slashes
_WRITES = "state|health|(alert|count|reading|evidence)\\.[^.]+|reply(\\..+)?"
_READS = "command|state"


def definitions(names: Sequence[str]) -> dict[str, Any]:
    """names: SITE/BOX. Raises ValueError for one that is none, or that RabbitMQ could take for another."""
    boxes = [(name, _topics(name)) for name in names]
    return {
        "users": [
            {
                "name": name,
                "password_hash": "",
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
                "limits": {"max-connections": 2},  # one, and the next one while the last is not known to be gone
            }
            for name, _ in boxes
        ],
        "permissions": [_permission(name, topics) for name, topics in boxes],
        "topic_permissions": [_topic_permission(name, topics) for name, topics in boxes],
    }


def _topics(name: str) -> BoxTopics:
    site, slash, box = name.partition("/")
    if not slash:
        raise ValueError(f"{name!r}: wanted SITE/BOX, as in the box's certificate")
    if "." in name:
        raise ValueError(f"{name!r}: RabbitMQ makes a dot of each slash in a topic, so a site or box may not have one")
    return BoxTopics(site, box)


def _permission(name: str, topics: BoxTopics) -> dict[str, str]:
    """What its commands wait in is a queue named after its client id."""
    own = f"mqtt-subscription-gw-{topics.site}-{topics.box}qos[01]"
    return {
        "user": name,
        "vhost": "/",
        "configure": f"^{own}$",
        "write": f"^({own}|amq\\.topic)$",
        "read": f"^({own}|amq\\.topic)$",
    }


def _topic_permission(name: str, topics: BoxTopics) -> dict[str, str]:
    # Without such a line RabbitMQ lets a user write to any topic.
    base = re.escape(topics.base.replace("/", ".")).replace("\\-", "-")
    return {
        "user": name,
        "vhost": "/",
        "exchange": _EXCHANGE,
        "write": f"^{base}\\.({_WRITES})$",
        "read": f"^{base}\\.({_READS})$",
    }


def main(names: Sequence[str]) -> int:
    if not names:
        print("boxes: wanted names, SITE/BOX", file=sys.stderr)
        return 64
    try:
        print(json.dumps(definitions(names), indent=1))
    except ValueError as exc:
        print(f"boxes: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
