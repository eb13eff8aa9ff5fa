"""Stores of pictures and pictures for them, for tests of whoever keeps or sends them."""

from __future__ import annotations

import random


def jpeg(number: int, size_bytes: int = 20_000) -> bytes:
    """Bytes that stand for a picture: each number's are its own, and always the same."""
    return random.Random(number).randbytes(size_bytes)
