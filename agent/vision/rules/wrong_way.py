"""Who passes a line in the direction that is not allowed.

      in
a ────┼────▶ b        allowed = "in": whoever comes back up is told
      ▼   ▲ !
"""

from __future__ import annotations

from agent.contract.event import Crossing, Direction, WrongWay
from agent.vision.rules.base import Finding
from agent.vision.rules.crossing import LineCrossing
from agent.vision.track import Tracks


class WrongWayRule:
    """Asks its line what it has just said; remembers nothing."""

    def __init__(self, line: LineCrossing, allowed: Direction) -> None:
        self._line = line
        self._allowed = allowed

    def update(self, tracks: Tracks) -> list[Finding]:
        return [
            Finding(
                WrongWay,
                {"line": said.body.line, "direction": said.body.direction},
                said.track,
                said.frame_index,
                said.mono_s,
                track=said.track,
                lasts=False,
            )
            for said in self._line.said
            if isinstance(said.body, Crossing) and said.body.direction != self._allowed
        ]
