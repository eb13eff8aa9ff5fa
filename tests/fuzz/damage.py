"""How good bytes become bad ones."""

from __future__ import annotations

import random
from collections.abc import Sequence


def damaged(good: bytes, chance: random.Random, fillings: Sequence[bytes]) -> bytes:
    """One to four things that happen on cables, in buffers and at the hands of strangers; seldom noise, or nothing.

    fillings: what means something to the parser. Other good inputs among them are joined to this one.
    """
    how_often = chance.random()
    if how_often < 0.04:
        return chance.randbytes(chance.randrange(200))
    data = bytearray(good)
    for _ in range(0 if how_often < 0.07 else chance.choice((1, 1, 1, 2, 3, 4))):
        what, at, end = chance.randrange(10), chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
        if what <= 2 and data:  # a bit falls over: by far the most common
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif what == 3 and data:
            data[at % len(data)] = chance.randrange(256)
        elif what == 4:
            del data[at:]
        elif what == 5:
            del data[min(at, end) : max(at, end)]
        elif what == 6:
            data[at:at] = data[min(at, end) : max(at, end)]
        elif what == 7:
            data[at:at] = chance.randbytes(chance.randrange(1, 12))
        else:
            data[at:at] = chance.choice(fillings)
    return bytes(data)
