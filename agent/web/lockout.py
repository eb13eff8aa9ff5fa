"""How often a password may be wrong: QCVN 135:2024 asks for a lock of five minutes after five within half a minute.

Counted for each address that asks, by the monotonic clock, and for all of them together, so that many addresses guess
no faster. While it is locked nothing is compared, so the right password is not told from a wrong one. Sessions that
are open go on. A right password clears nothing: who has the viewer's may not guess the technician's with it.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import deque
from dataclasses import dataclass, field

from agent.clock import Clock

WRONG, WITHIN_S, LOCKED_S = 5, 30.0, 300.0
_WRONG_BY_ALL, _ALL_LOCKED_S = 40, 30.0  # more is a network that guesses: then there is a pause for everybody
_MOST_SOURCES = 1024
_OTHERS = "others"  # all that do not fit share one count


@dataclass(slots=True)
class _Count:
    wrong_s: deque[float] = field(default_factory=lambda: deque(maxlen=WRONG))
    locked_until_s: float = 0.0


class Lockout:
    """Any number of threads may use it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_source: dict[str, _Count] = {}
        self._all = _Count(deque(maxlen=_WRONG_BY_ALL))

    def locked_s(self, address: str) -> float:
        """For how long nobody at this address may try; 0.0: now."""
        with self._lock:
            now_s = self._clock.mono_s()
            count = self._by_source.get(_source(address)) or self._by_source.get(_OTHERS)
            until_s = max(self._all.locked_until_s, count.locked_until_s if count else 0.0)
            return max(until_s - now_s, 0.0)

    def wrong(self, address: str) -> bool:
        """A password was wrong. Whether that locks the address."""
        with self._lock:
            now_s = self._clock.mono_s()
            if _note(self._all, now_s, WITHIN_S):
                self._all.locked_until_s = now_s + _ALL_LOCKED_S
            if not _note(count := self._count(_source(address), now_s), now_s, WITHIN_S):
                return False
            count.locked_until_s = now_s + LOCKED_S
            return True

    def _count(self, source: str, now_s: float) -> _Count:
        if source not in self._by_source and len(self._by_source) >= _MOST_SOURCES:
            self._by_source = {name: one for name, one in self._by_source.items() if _counts(one, now_s)}
            if len(self._by_source) >= _MOST_SOURCES:
                source = _OTHERS
        return self._by_source.setdefault(source, _Count())


def _note(count: _Count, now_s: float, within_s: float) -> bool:
    """One more. Whether there were as many as may be within the time; then it begins anew."""
    count.wrong_s.append(now_s)
    if len(count.wrong_s) < (count.wrong_s.maxlen or 0) or now_s - count.wrong_s[0] > within_s:
        return False
    count.wrong_s.clear()
    return True


def _counts(count: _Count, now_s: float) -> bool:
    return count.locked_until_s > now_s or bool(count.wrong_s and now_s - count.wrong_s[-1] <= WITHIN_S)


def _source(address: str) -> str:
    """Of IPv6 the network: whoever has one address there has them all."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _OTHERS
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
