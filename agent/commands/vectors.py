"""Test vectors for those who sign commands: `python -m agent.commands.vectors` writes agent/contract/commands.json.

One command of each name, its claims and its token, signed with a key that is published there and believed nowhere.
Ed25519 is deterministic (RFC 8032), so whoever signs the same bytes has the same token. A test fails when the file is
older than the code.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from agent.commands.request import sign_request
from agent.contract import command
from agent.contract.command import COMMANDS, Command
from agent.update import keys

PATH = Path(command.__file__).with_name("commands.json")
_SIGNED_S = 1763966823
_ARGS: dict[str, dict[str, Any]] = {
    "snapshot": {"camera": "north"},
    "evidence": {"evidence": "42-9f86d081884c"},
    "resend": {"stream": "alert", "epoch": 2671403458, "first": 1201, "last": 1234},
    "ack": {"alert": "5f2c81a0", "hold_s": 1800, "note": "patrol 2 is on its way"},
    "resolve": {"epoch": 2671403458, "seq": 1234, "note": "false alarm"},
    "config.set": {"patch": {"camera.north.fps": 8}, "base": "3f1d0c9a77be"},
    "rule.enable": {"camera": "north", "rule": "crowd", "enabled": False},
    "model.install": {"url": "https://updates.example.vn/pack-2.gwu", "sha256": "5e" * 32, "bytes": 4193280},
    "agent.update": {"url": "https://updates.example.vn/release-0.2.0.gwu", "sha256": "a7" * 32, "bytes": 61865984},
}


def build() -> dict[str, Any]:
    seed = hashlib.sha256(b"gateway-agent test vectors").digest()
    key = keys.from_seed(seed)
    made = []
    for number, name in enumerate(COMMANDS, 1):
        claims = Command(
            jti=f"vector-{number:02}",
            aud="cua-bac/gw-01",
            iat=_SIGNED_S,
            exp=_SIGNED_S + 3600,
            cmd=name,
            args=_ARGS.get(name, {}),
            by="Lan",
        )
        token = sign_request(claims, keys.to_pem(key, None), None)
        made.append({"name": name, "role": COMMANDS[name].role, "claims": claims.fields(), "token": token})
    return {
        "about": "Commands of the gateway-agent contract v1, signed with a key for tests; see agent/README.md.",
        "seed": seed.hex(),
        "public": keys.public_hex(key),
        "kid": keys.key_id(keys.public_hex(key)),
        "commands": made,
    }


def text() -> str:
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
