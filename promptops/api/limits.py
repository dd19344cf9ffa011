"""Limits on the rate of requests, one bucket for each token and policy, in bounded memory.

The headers are those of the IETF draft "RateLimit header fields for HTTP".
"""

import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.conf import settings

from promptops.people.enums import Scope

Key = TypeVar("Key", bound=Hashable)

MOST_BUCKETS = 4_096


@dataclass(frozen=True)
class Policy:
    """A quota of requests in a window of seconds. A bucket of that size refills evenly."""

    name: str
    quota: int
    seconds: int = 60

    @property
    def header(self) -> str:
        """Return the header RateLimit-Policy."""
        return f'"{self.name}";q={self.quota};w={self.seconds}'


@dataclass(frozen=True)
class Taken:
    """The result of one request: whether it is allowed, what is left, and the seconds until more or all is left."""

    policy: Policy
    allowed: bool
    remaining: int
    retry_seconds: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of an answer."""
        rate = f'"{self.policy.name}";r={self.remaining};t={self.reset_seconds}'
        headers = {"RateLimit-Policy": self.policy.header, "RateLimit": rate}
        return headers if self.allowed else headers | {"Retry-After": str(self.retry_seconds)}


class Buckets(Generic[Key]):
    """Buckets by key. The bucket that was used longest ago is dropped for a new one."""

    def __init__(self, most: int = MOST_BUCKETS) -> None:
        self._most = most
        self._buckets: OrderedDict[tuple[Key, str], tuple[float, float]] = OrderedDict()  # what is left, and when

    def take(self, key: Key, policy: Policy, *, now: float | None = None, cost: float = 1.0) -> Taken:
        """Take one request out of a bucket."""
        now = time.monotonic() if now is None else now
        rate = policy.quota / policy.seconds
        left, then = self._buckets.pop((key, policy.name), (float(policy.quota), now))
        left = min(float(policy.quota), left + (now - then) * rate)
        allowed = left >= cost
        left -= cost if allowed else 0.0
        self._buckets[key, policy.name] = (left, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return Taken(
            policy=policy,
            allowed=allowed,
            remaining=int(left),
            retry_seconds=max(1, math.ceil((cost - left) / rate)),
            reset_seconds=math.ceil((policy.quota - left) / rate),
        )

    def clear(self) -> None:
        """Forget all buckets, for tests."""
        self._buckets.clear()

    def __len__(self) -> int:
        return len(self._buckets)


def policy_of(scope: Scope) -> Policy:
    """Return the policy of routes that need a scope."""
    if scope == Scope.RELEASE:
        return Policy("release", 60)
    if scope == Scope.AUDIT:
        return Policy("audit", 300)
    return Policy("requests", settings.API_REQUESTS_PER_MINUTE)


UNVERIFIED = Policy("unverified", 120)
"""Tokens from one network that memory alone cannot verify. Each costs a query."""

by_token: Buckets[int] = Buckets()
by_network: Buckets[str] = Buckets()
