"""How many bytes may leave on a metered link: a bucket that fills at a steady rate and holds a burst."""

from __future__ import annotations

_MOST_SPARE_BYTES = 64 * 1024  # a picture, which is at most 60 kB, and no second one


class Rate:
    """bytes_per_s: None = no limit. burst_bytes: what may leave at once after a quiet time.

    The last message of a burst may go over, and is paid for by waiting: so any message can leave, however large.
    What runs over while the bucket is full is saved for pictures: they cost the messages nothing, and wait for long.
    """

    def __init__(self, bytes_per_s: float | None = None, burst_bytes: float = 0.0) -> None:
        self._bytes_per_s = bytes_per_s
        self._burst_bytes = burst_bytes
        self._left_bytes = burst_bytes
        self._spare_bytes = 0.0
        self._since_s: float | None = None

    def allows(self, now_s: float) -> bool:
        """Whether a message may leave now."""
        if self._bytes_per_s is None:
            return True
        if self._since_s is not None:
            gained = (now_s - self._since_s) * self._bytes_per_s
            left_bytes = self._left_bytes + gained
            self._left_bytes = min(self._burst_bytes, left_bytes)
            self._spare_bytes = min(_MOST_SPARE_BYTES, self._spare_bytes + left_bytes - self._left_bytes)
        self._since_s = now_s
        return self._left_bytes > 0

    def spend(self, size_bytes: int) -> None:
        if self._bytes_per_s is not None:
            self._left_bytes -= size_bytes

    def take_spare(self, size_bytes: int, now_s: float) -> bool:
        """Whether so much was left over; it is spent then."""
        self.allows(now_s)
        if self._bytes_per_s is None:
            return True
        enough = self._spare_bytes >= min(size_bytes, _MOST_SPARE_BYTES)
        if enough:
            self._spare_bytes = max(self._spare_bytes - size_bytes, 0.0)
        return enough

    def allows_again_s(self) -> float | None:
        """When the next message may leave; None = now, as far as this goes."""
        if self._bytes_per_s is None or self._since_s is None or self._left_bytes > 0:
            return None
        return self._since_s + (1 - self._left_bytes) / self._bytes_per_s
