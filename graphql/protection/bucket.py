"""How much each caller may ask for: a leaky bucket of cost for each principal, in the memory of this process.

What a request costs goes in, and leaks out at an even rate; a request that does not fit waits. Nothing is written
anywhere: a server of several processes gives each an equal share, and a restart empties every bucket.
"""

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

MOST_BUCKETS = 100_000


@dataclass(frozen=True, slots=True)
class Charge:
    """What came of a request: whether it fitted, and how full the bucket is now."""

    cost: int
    is_granted: bool
    capacity: int
    remaining: int
    retry_after_seconds: int
    """In so many seconds the request would fit; 0 where it did."""
    reset_after_seconds: int
    """In so many seconds the bucket is empty, if nothing more comes."""


class Buckets(Generic[Key]):
    """A bucket for each key: it holds `capacity`, and `per_second` leaks out of it.

    Of `MOST_BUCKETS` those that were used longest ago are forgotten, as if they were empty.
    """

    def __init__(self, *, capacity: int, per_second: int) -> None:
        self.capacity = capacity
        self.per_second = per_second
        self._levels: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    def charge(self, key: Key, cost: int, *, at: float) -> Charge:
        """Put what a request costs into a bucket, if it fits. `at` is a time in seconds that never goes back."""
        level = self._level(key, at)
        fits = level + cost <= self.capacity
        return self._kept(key, level + cost if fits else level, cost, at=at, is_granted=fits)

    def is_full(self, key: Key, *, at: float) -> bool:
        """Tell whether nothing fits into a bucket, without using it."""
        return key in self._levels and self.capacity - self._level(key, at) < 1

    def spend(self, key: Key, cost: int, *, at: float) -> None:
        """Put in what has been spent already, up to the brim."""
        level = min(self.capacity, self._level(key, at) + cost)
        self._kept(key, level, cost, at=at, is_granted=True)

    def __len__(self) -> int:
        return len(self._levels)

    def _level(self, key: Key, at: float) -> float:
        level, since = self._levels.get(key, (0.0, at))
        return max(0.0, level - max(0.0, at - since) * self.per_second)

    def _kept(self, key: Key, level: float, cost: int, *, at: float, is_granted: bool) -> Charge:
        self._levels[key] = (level, at)
        self._levels.move_to_end(key)
        while len(self._levels) > MOST_BUCKETS:
            self._levels.popitem(last=False)
        over = 0.0 if is_granted else level + cost - self.capacity
        return Charge(
            cost=cost,
            is_granted=is_granted,
            capacity=self.capacity,
            remaining=math.floor(self.capacity - level),
            retry_after_seconds=math.ceil(over / self.per_second),
            reset_after_seconds=math.ceil(level / self.per_second),
        )
