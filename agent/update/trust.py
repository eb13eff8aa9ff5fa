"""Whom a box believes: the door for trust.toml. How many of its keys must have signed an update, and whose key may
command what.

The file is replaced by an update of kind `trust` alone, which the old keys and the new ones must have signed: keys are
changed without a visit, and a thief of fewer than the threshold changes nothing.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.contract.command import Role
from agent.errors import ConfigError, UpdateRefused
from agent.update import keys
from agent.update.manifest import KINDS, Kind

_MAX_SIGNATURES = 50


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyTable(_Table):
    """One person's key."""

    public: str = Field(pattern=r"^[0-9a-f]{64}$", description="Ed25519, hexadecimal")
    may_sign: tuple[Kind, ...] = Field(min_length=1)


class CommanderTable(_Table):
    """One key of the operations centre that signs commands."""

    public: str = Field(pattern=r"^[0-9a-f]{64}$", description="Ed25519, hexadecimal")
    role: Role


class TrustTable(_Table):
    version: int = Field(ge=1, le=999_999_999, description="grows by one with every change")
    expires: datetime = Field(
        description="from then on only a new trust file is taken; UTC, such as 2030-01-01T00:00:00Z"
    )
    threshold: dict[Kind, Annotated[int, Field(ge=1, le=20)]] = Field(description="how many keys must sign what")
    key: dict[str, KeyTable] = Field(min_length=1, max_length=50, description="by the name of whose it is")
    commander: dict[str, CommanderTable] = Field(
        default={}, max_length=50, description="who may command the box over the network, by the key's name"
    )

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.expires.tzinfo is None:
            raise ValueError("expires has no time zone; wanted UTC, such as 2030-01-01T00:00:00Z")
        if len({key.public for key in self.key.values()}) < len(self.key):
            raise ValueError("two keys are the same; one would count twice")
        if len({one.public for one in self.commander.values()}) < len(self.commander):
            raise ValueError("two commanders have the same key; nobody could tell whose a command is")
        for kind in KINDS:
            if kind not in self.threshold:
                raise ValueError(f"threshold.{kind} is missing; wanted how many keys must sign a {kind}")
            able = [name for name, key in self.key.items() if kind in key.may_sign]
            if len(able) < self.threshold[kind]:
                raise ValueError(
                    f"threshold.{kind} is {self.threshold[kind]}, but {len(able)} key(s) may sign a {kind}"
                )
        return self


@dataclass(frozen=True, slots=True)
class Trust:
    """where: for messages."""

    table: TrustTable
    where: str

    @property
    def expires_ms(self) -> int:
        return int(self.table.expires.astimezone(UTC).timestamp() * 1000)

    def require(self, kind: Kind, manifest: bytes, signatures: Mapping[str, str]) -> tuple[str, ...]:
        """The names of those who signed. Raises UpdateRefused if they are too few."""
        able = {name: key for name, key in self.table.key.items() if kind in key.may_sign}
        signers = tuple(
            name
            for name, key in able.items()
            if (signature := signatures.get(keys.key_id(key.public))) is not None
            and keys.is_signed(key.public, manifest, signature)
        )
        wanted = self.table.threshold[kind]
        if len(signers) < wanted:
            raise UpdateRefused(
                f"signed by {len(signers)} key(s) that {self.where} lets sign a {kind}"
                f"{' (' + ', '.join(signers) + ')' if signers else ''}; wanted {wanted} of {', '.join(able)}"
            )
        return signers


def load_trust(path: Path) -> Trust:
    """Raises ConfigError: without it nobody is believed."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"trust file {path}: cannot be read: {exc}; it comes with provisioning, see provisioning/updates.md"
        ) from exc
    return parse_trust(text, str(path))


def parse_trust(text: str, where: str) -> Trust:
    """Raises ConfigError."""
    try:
        return Trust(TrustTable.model_validate(tomllib.loads(text)), where)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigError(f"trust file {where}: not TOML: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"trust file {where}: {key + ': ' if key else ''}{first['msg']}") from exc


def read_signatures(data: bytes) -> dict[str, str]:
    """key id → signature, hexadecimal. Raises UpdateRefused."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise UpdateRefused(f"its signatures are not JSON: {exc}") from exc
    if (
        not isinstance(fields, dict)
        or len(fields) > _MAX_SIGNATURES
        or not all(isinstance(value, str) for value in fields.values())
    ):
        raise UpdateRefused(f"its signatures are not an object of at most {_MAX_SIGNATURES} texts")
    return fields
