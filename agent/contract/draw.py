"""The pictures of the contract's page, drawn as small SVG files: `python -m agent.contract.draw` writes pictures/*.svg.

Each paints its own ground, and follows the reader's light or dark scheme, so it can be read wherever it is embedded.
No script, no font, nothing from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

FOLDER = Path(__file__).with_name("pictures")

STYLE = """<style>
.ground{fill:#ffffff;stroke:#c8d0d8}.frame{fill:#eef2f5;stroke:#8593a0}.road{fill:#dbe2e8}
text{fill:#1c2329;font:14px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.soft{fill:#55626e}.mono{font-family:ui-monospace,Consolas,"DejaVu Sans Mono",monospace}.bold{font-weight:600}
.ink{stroke:#1c2329;fill:none;stroke-width:2}.thin{stroke:#8593a0;fill:none;stroke-width:1.2}
.dash{stroke-dasharray:5 4}
.blue{stroke:#0a58ca;fill:none;stroke-width:3}.orange{stroke:#b84300;fill:none;stroke-width:3}
.bluefill{fill:#0a58ca}.orangefill{fill:#b84300}.greenfill{fill:#1a7f37}.redfill{fill:#b3261e}.inkfill{fill:#1c2329}
.box{fill:#e3eefc;stroke:#0a58ca;stroke-width:1.5}.again{fill:#f3f4f6;stroke:#8593a0;stroke-width:1.5}
.notice{fill:#fdecdc;stroke:#b84300;stroke-width:1.5}.new{fill:#e2f4e6;stroke:#1a7f37;stroke-width:1.5}
@media (prefers-color-scheme: dark){
.ground{fill:#11161c;stroke:#3a4652}.frame{fill:#1d252e;stroke:#7d8b99}.road{fill:#2b3641}
text{fill:#e8edf2}.soft{fill:#a9b6c2}.ink{stroke:#e8edf2}.thin{stroke:#7d8b99}
.blue{stroke:#6cb0ff}.orange{stroke:#ffa35c}.bluefill{fill:#6cb0ff}.orangefill{fill:#ffa35c}.greenfill{fill:#5fd37e}
.redfill{fill:#ff8d84}.inkfill{fill:#e8edf2}.box{fill:#14304f;stroke:#6cb0ff}.again{fill:#232b33;stroke:#7d8b99}
.notice{fill:#46280f;stroke:#ffa35c}.new{fill:#12381e;stroke:#5fd37e}}
</style>"""


def _svg(width: int, height: int, title: str, *parts: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    lines = [
        f'{head} role="img">',
        f"<title>{escape(title)}</title>",
        STYLE,
        f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>'


def _rect(x: float, y: float, width: float, height: float, kind: str, rx: float = 0) -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{rx:g}"/>'


def _dot(x: float, y: float, kind: str, r: float = 5) -> str:
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{r:g}"/>'


def _arrow(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    """Along an axis. colour: blue or orange, or ink."""
    long = 12.0
    if x1 == x2:
        step = long if y2 > y1 else -long
        head = f"M{x2:g} {y2:g}L{x2 - 7:g} {y2 - step:g}L{x2 + 7:g} {y2 - step:g}Z"
        shaft = _line(x1, y1, x2, y2 - step, colour)
    else:
        step = long if x2 > x1 else -long
        head = f"M{x2:g} {y2:g}L{x2 - step:g} {y2 - 7:g}L{x2 - step:g} {y2 + 7:g}Z"
        shaft = _line(x1, y1, x2 - step, y2, colour)
    return f'{shaft}<path class="{colour}fill" d="{head}"/>'


def line() -> str:
    """Which way is in: the line of the handbook's example, from a on the left to b on the right."""
    left, top, width, height = 40, 40, 400, 225
    a, b, y = left + 0.14 * width, left + 0.86 * width, top + 0.6 * height
    return _svg(
        760,
        305,
        "Standing at a and looking to b, in is from the left hand to the right hand",
        _rect(left, top, width, height, "frame", 3),
        f'<path class="road" d="M{left + 150} {top}H{left + 250}L{left + 330} {top + height}H{left + 70}Z"/>',
        _line(a, y, b, y, "ink"),
        # Somebody at a who looks to b: nose to the right, one hand on either side.
        _dot(a, y, "inkfill", 9),
        f'<path class="inkfill" d="M{a + 20:g} {y:g}L{a + 8:g} {y - 5:g}V{y + 5:g}Z"/>',
        _line(a, y - 9, a, y - 24, "ink"),
        _line(a, y + 9, a, y + 24, "ink"),
        _text(a, y - 31, "left hand", "soft", "middle"),
        _text(a, y + 40, "right hand", "soft", "middle"),
        _dot(b, y, "inkfill", 5),
        _text(a - 24, y + 5, "a", "bold", "middle"),
        _text(b + 18, y + 5, "b", "bold", "middle"),
        _arrow(left + 165, y - 62, left + 165, y + 62, "blue"),
        _arrow(left + 240, y + 62, left + 240, y - 62, "orange"),
        _text(left + 157, y + 59, "in", "bold bluefill", "end"),
        _text(left + 250, y - 50, "out", "bold orangefill"),
        _text(left, top - 14, "what the camera sees", "soft"),
        _text(470, 70, "Stand at a, look to b.", "bold"),
        _text(470, 96, "left hand to right hand: in", "bluefill bold"),
        _text(470, 118, "right hand to left hand: out", "orangefill bold"),
        _text(470, 158, "Swap a and b, and in becomes out."),
        _text(470, 184, "What counts is the middle of the", "soft"),
        _text(470, 203, "object's bottom edge, unless the line", "soft"),
        _text(470, 222, 'says anchor = "center".', "soft"),
    )


def coordinates() -> str:
    """Fractions of the picture: x right, y down; a point, a place and the point of an object that counts."""
    left, top, width, height = 80, 50, 400, 225

    def x(fraction: float) -> float:
        return left + fraction * width

    def y(fraction: float) -> float:
        return top + fraction * height

    zone = [(0.08, 0.62), (0.4, 0.55), (0.46, 0.92), (0.1, 0.94)]
    place = (0.6, 0.3, 0.8, 0.75)
    return _svg(
        780,
        320,
        "Coordinates are fractions of the picture's width and height, x to the right, y down",
        _rect(left, top, width, height, "frame", 3),
        _text(left - 8, top - 10, "0, 0", "mono", "middle"),
        _text(left + width + 4, top - 10, "1, 0", "mono", "middle"),
        _text(left - 8, top + height + 22, "0, 1", "mono", "middle"),
        _text(left + width + 4, top + height + 22, "1, 1", "mono", "middle"),
        _arrow(left + 60, top - 15, left + 150, top - 15, "ink"),
        _text(left + 160, top - 10, "x", "bold"),
        _arrow(left - 20, top + 40, left - 20, top + 120, "ink"),
        _text(left - 20, top + 140, "y", "bold", "middle"),
        '<path class="blue" d="M' + "L".join(f"{x(px):g} {y(py):g}" for px, py in zone) + 'Z"/>',
        _text(x(0.14), y(0.8), "zone", "bluefill bold"),
        _rect(x(place[0]), y(place[1]), (place[2] - place[0]) * width, (place[3] - place[1]) * height, "orange"),
        _text(x(0.6), y(0.3) - 8, "place", "orangefill bold"),
        _dot(x(0.7), y(0.75), "orangefill", 6),
        _text(510, 80, "All coordinates are fractions of", ""),
        _text(510, 99, "the picture's width and height:", ""),
        _text(510, 118, "they hold at any resolution.", ""),
        _text(510, 156, '"place": [0.6, 0.3, 0.8, 0.75]', "mono orangefill"),
        _text(510, 177, "is left, top, right, bottom.", "soft"),
        _dot(516, 210, "orangefill", 6),
        _text(530, 215, "the point that is compared with", "soft"),
        _text(530, 234, "lines and zones", "soft"),
    )


def ledger() -> str:
    """What a consumer receives, one box a message, and what each means."""
    step, width, y = 86, 70, 62
    messages = [
        ("1", "box", "77", ["complete", "so far"]),
        ("2", "box", "77", ["complete", "so far"]),
        ("3", "box", "77", ["complete", "so far"]),
        ("3", "again", "77", ["a repeat:", "drop it"]),
        ("7", "box", "77", ["4, 5, 6 have", "not come; they", "still may"]),
        ("gap 4–6", "notice", "77", ["4 to 6 will", "not come;", "reason: why"]),
        ("8", "box", "77", ["complete", "again"]),
        ("1", "new", "91", ["the box has", "a new store:", "from 1 again"]),
        ("2", "new", "91", ["complete", "so far"]),
    ]
    parts = []
    for number, (seq, kind, epoch, words) in enumerate(messages):
        x = 24 + number * step
        parts.append(_rect(x, y, width, 44, kind, 5))
        parts.append(_text(x + width / 2, y + 27, seq, "bold", "middle"))
        parts.append(_text(x + width / 2, y - 9, epoch, "mono soft", "middle"))
        for row, word in enumerate(words):
            parts.append(_text(x + width / 2, y + 68 + row * 18, word, "soft small", "middle"))
    end = 24 + len(messages) * step
    return _svg(
        end + 4,
        232,
        "A stream as a consumer receives it: in order, a repeat, a hole that a gap notice explains, a new epoch",
        "<style>.small{font-size:12px}</style>",
        _text(24, 28, "epoch (small) and seq of what arrives, in the order of arrival", "soft"),
        *parts,
        _arrow(24, 190, end - 16, 190, "ink"),
        _text(end - 16, 214, "time", "soft", "end"),
        _text(
            24,
            214,
            "The gap notice itself travels on the stream “alert”; its numbers speak of any stream.",
            "soft small",
        ),
    )


def clock() -> str:
    """Three events of a box without a clock battery, and what each of them carries."""

    def lane(y: float, number: str, words: str) -> list[str]:
        return [
            _text(24, y - 2, number, "bold"),
            _text(24, y + 16, words, "soft small"),
            _line(boot, y, 736, y, "thin"),
        ]

    def event(y: float, words: str) -> list[str]:
        return [_dot(290, y, "bluefill", 7), _text(290, y + 25, words, "soft small", "middle")]

    def sent(x: float, y: float, words: str, kind: str) -> list[str]:
        return [
            f'<path class="{kind}" d="M{x - 7:g} {y - 7:g}h14v14h-14Z"/>',
            _text(x, y - 14, words, f"mono small {kind}", "middle"),
            _text(x, y + 25, "sent", "soft small", "middle"),
        ]

    boot, clock_set = 190, 470
    return _svg(
        760,
        352,
        "Events before the clock was set are corrected if it is set before they are sent, and say so if not",
        "<style>.small{font-size:12px}</style>",
        _line(boot, 62, boot, 196, "thin dash"),
        _text(boot, 30, "power on", "small", "middle"),
        _text(boot, 48, "up begins at 0", "soft small", "middle"),
        _line(clock_set, 62, clock_set, 196, "thin dash"),
        _text(clock_set, 30, "a time server sets the clock", "small", "middle"),
        _text(clock_set, 48, "before: only up is known; after: time too", "soft small", "middle"),
        *lane(96, "1  corrected", "clock set, then sent"),
        *event(96, "happens"),
        *sent(600, 96, "time right, late: 320", "greenfill"),
        *lane(166, "2  sent too early", "sent, then clock set"),
        *event(166, "happens"),
        *sent(380, 166, '"clock":"unset"', "redfill"),
        _line(24, 214, 736, 214, "thin"),
        _line(boot, 240, boot, 312, "thin dash"),
        _text(boot, 234, "boot 16", "small", "middle"),
        _line(clock_set, 240, clock_set, 312, "thin dash"),
        _text(clock_set, 234, "power lost, clock never set: boot 17", "small", "middle"),
        *lane(278, "3  never known", "rebooted before that"),
        *event(278, "happens"),
        *sent(600, 278, '"boot":16,"clock":"unset"', "redfill"),
        _text(
            24,
            336,
            "In 2 and 3 trust the order (seq), distances within one boot (up), and your time of arrival minus late.",
            "small",
        ),
    )


PICTURES: dict[str, Callable[[], str]] = {"line": line, "coordinates": coordinates, "ledger": ledger, "clock": clock}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
