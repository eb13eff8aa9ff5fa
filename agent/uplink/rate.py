"""How many bytes may leave on a metered link: a bucket that fills at a steady rate and holds a burst."""

from __future__ import annotations


class Rate:
    """bytes_per_s: None = no limit. burst_bytes: what may leave at once after a quiet time.

    The last message of a burst may go over, and is paid for by waiting: so any message can leave, however large.
    """

    def __init__(self, bytes_per_s: float | None = None, burst_bytes: float = 0.0) -> None:
        self._bytes_per_s = bytes_per_s
        self._burst_bytes = burst_bytes
        self._left_bytes = burst_bytes
        self._since_s: float | None = None

    def allows(self, now_s: float) -> bool:
        """Whether a message may leave now."""
        if self._bytes_per_s is None:
            return True
        if self._since_s is not None:
            gained = (now_s - self._since_s) * self._bytes_per_s
            self._left_bytes = min(self._burst_bytes, self._left_bytes + gained)
        self._since_s = now_s
        return self._left_bytes > 0

    def spend(self, size_bytes: int) -> None:
        if self._bytes_per_s is not None:
            self._left_bytes -= size_bytes

    def allows_again_s(self) -> float | None:
        """When the next message may leave; None = now, as far as this goes."""
        if self._bytes_per_s is None or self._since_s is None or self._left_bytes > 0:
            return None
        return self._since_s + (1 - self._left_bytes) / self._bytes_per_s
