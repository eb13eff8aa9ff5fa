"""The devices of the profile as pytest's parameters. Without a profile, one that is skipped and says why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.hil.profile import ENVIRONMENT, from_environment

PROFILE = from_environment()
NO_PROFILE = f"no profile: python -m tests.hil --profile FILE, or {ENVIRONMENT}=FILE"


def each(found: Iterable[Any], what: str) -> list[Any]:
    """Parameters with their ids; what: of which there are none in the profile, for the reader of the skip."""
    devices = [pytest.param(device, id=str(device.id)) for device in found]
    why = NO_PROFILE if PROFILE is None else f"the profile has no {what}"
    return devices or [pytest.param(None, marks=pytest.mark.skip(why), id="none")]
