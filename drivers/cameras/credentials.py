"""The login of a network camera, kept apart from its address."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """Its repr does not show the password."""

    user: str
    password: str = field(repr=False)
