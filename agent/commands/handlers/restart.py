"""`restart`: the agent ends, and systemd starts it anew. Done when the next one runs."""

from __future__ import annotations

from collections.abc import Callable

from agent.commands.desk import Done, Later
from agent.commands.request import Request


class Restart:
    """end: lets this agent end, in an orderly way; it returns at once. version: of this agent."""

    def __init__(self, end: Callable[[], None], *, version: str) -> None:
        self._end = end
        self._version = version
        self._asked: set[str] = set()

    def do(self, request: Request) -> Later:
        self._asked.add(request.id)
        return Later()

    def look(self, request: Request) -> Done | Later:
        if request.id in self._asked:
            self._end()  # not before: the answer that it was accepted is written down by now
            return Later()
        return Done({"agent": self._version})
