"""How good bytes become bad ones, by a seed."""

from __future__ import annotations

import random

_FILLINGS = (b"\x00", b"\xff", b"\n", b"\r\n", b"$", b"*", b",", b" ", b'"', b"\\", b"YES", b"t=85000", b"ERR ")


def damaged(good: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """One to four things that happen on cables, in buffers and at the hands of strangers."""
    data = bytearray(good)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        what = chance.randrange(9)
        at = chance.randrange(len(data) + 1)
        if what <= 2 and data:  # a bit falls over: by far the most common
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif what == 3 and data:
            data[at % len(data)] = chance.randrange(256)
        elif what == 4:
            del data[at:]
        elif what == 5 and data:
            del data[at % len(data)]
        elif what == 6:
            data[at:at] = chance.choice(_FILLINGS)
        elif what == 7:
            other = chance.choice(others)
            data[at:] = other[chance.randrange(len(other) + 1) :]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 12))
    return bytes(data)
