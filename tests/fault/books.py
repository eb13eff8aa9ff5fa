"""What a box has said before its power was cut, held against what it still has afterwards. See `powercut_box` for the
lines. Nothing is ever removed from that box, so whatever it acknowledged or showed has to be there for good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

Key = tuple[str, int, int]
"""(stream, epoch, seq): what the receiver knows a message by."""


@dataclass
class Findings:
    """Of one look into the outbox. All but the first three are faults."""

    accepted: int = 0  # events whose `put` had returned since the look before
    rows: int = 0
    unacknowledged: int = 0  # rows of which it is not known whether `put` had returned; new in this look
    lost: list[str] = field(default_factory=list)  # `put` had returned
    vanished: list[str] = field(default_factory=list)  # a link would have sent it under a number that is gone now
    renumbered: list[str] = field(default_factory=list)  # one number, two events
    out_of_order: int = 0  # or twice
    holes: int = 0  # numbers within a stream that nobody has
    other: list[str] = field(default_factory=list)  # damage, and messages that say something went wrong

    @property
    def faults(self) -> list[str]:
        lines = [f"{name}: {', '.join(map(str, found[:5]))}" for name, found in self._lists().items() if found]
        return lines + [f"{name}: {count}" for name, count in self._counts().items() if count]

    def _lists(self) -> dict[str, list[str]]:
        return {
            f"{len(self.lost)} lost": self.lost,
            f"{len(self.vanished)} vanished": self.vanished,
            f"{len(self.renumbered)} renumbered": self.renumbered,
            f"{len(self.other)} other": self.other,
        }

    def _counts(self) -> dict[str, int]:
        return {"out of order": self.out_of_order, "holes": self.holes}


class Books:
    def __init__(self) -> None:
        self._accepted: dict[str, set[str]] = defaultdict(set)  # by stream: tracks
        self._new = 0
        self._shown: dict[Key, str] = {}  # number → track, of whatever was ever to be seen
        self._known: set[tuple[str, str]] = set()  # rows of earlier looks: (stream, track)
        self._rows: list[tuple[Key, str]] = []  # of a look that has begun
        self._findings = Findings()

    def read(self, report: str) -> list[Findings]:
        """All that one life of the box has said. Returns what each complete look found: one, or none."""
        self._rows = []  # a look that was cut short is no look
        looks = []
        for line in report[: report.rfind("\n") + 1].splitlines():
            word, _, rest = line.partition(" ")
            if word == "put":
                stream, track = rest.split()
                self._accepted[stream].add(track)
                self._new += 1
            elif word in ("row", "sent"):
                stream, epoch, seq, track = rest.split(maxsplit=3)
                self._show((stream, int(epoch), int(seq)), track)
                if word == "row":
                    self._rows.append(((stream, int(epoch), int(seq)), track))
            elif word == "damaged":
                self._findings.other.append(f"damaged: {rest}")
            elif word == "looked":
                looks.append(self._look(rest))
            elif word != "opening":
                self._findings.other.append(line)
        return looks

    def _show(self, key: Key, track: str) -> None:
        before = self._shown.setdefault(key, track)
        if before != track:
            self._findings.renumbered.append(f"{key} was {before}, is {track}")
            self._shown[key] = track
        if not track.isdecimal():
            self._findings.other.append(f"{key}: {track}")

    def _look(self, integrity: str) -> Findings:
        findings, self._findings = self._findings, Findings()
        findings.accepted, self._new = self._new, 0
        findings.rows = len(self._rows)
        if integrity != "ok":
            findings.other.append(f"integrity: {integrity}")
        there = {(key[0], track) for key, track in self._rows}
        wanted = {(stream, track) for stream, tracks in self._accepted.items() for track in tracks}
        findings.lost = [f"{stream} {track}" for stream, track in sorted(wanted - there)]
        findings.vanished = [f"{key}" for key in sorted(self._shown.keys() - {key for key, _ in self._rows})]
        findings.unacknowledged = len(there - wanted - self._known)
        for stream in {key[0] for key, _ in self._rows}:
            mine = [(key, track) for key, track in self._rows if key[0] == stream]
            findings.out_of_order += _falls(int(track) for _, track in mine if track.isdecimal())
            for epoch in {key[1] for key, _ in mine}:
                seqs = {key[2] for key, _ in mine if key[1] == epoch}
                findings.holes += max(seqs) - len(seqs)
        # What is gone was counted; it is not counted again at the next look.
        for stream, tracks in self._accepted.items():
            tracks.intersection_update(track for key, track in self._rows if key[0] == stream)
        self._shown = dict(self._rows)
        self._known = there
        return findings


def _falls(numbers: Iterable[int]) -> int:
    before, falls = 0, 0
    for number in numbers:
        falls += number <= before
        before = number
    return falls
