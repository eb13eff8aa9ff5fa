"""How large a JPEG picture says it is, read from its headers: asked before a decoder reserves memory for it."""

from __future__ import annotations

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # those three are tables and reserved
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD8)])
_END = frozenset([0xD9, 0xDA])  # the end, or the pixels: no size came before


def jpeg_size_px(data: bytes) -> tuple[int, int] | None:
    """(width, height), or None if this is no JPEG picture whose headers are whole."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in _END:
            return None
        elif marker in _START_OF_FRAME:
            header = data[at + 5 : at + 9]
            height_px, width_px = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:], "big")
            return (width_px, height_px) if len(header) == 4 and width_px and height_px else None
        else:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            if length < 2:
                return None
            at += 2 + length
    return None
