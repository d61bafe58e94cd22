"""How much one client may send: a token bucket each, for a bounded number of clients."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 10_000
"""Clients remembered; whoever has been silent the longest is forgotten, and starts full again."""

BURST_S = 2
"""A client that was silent may send what it is due in so long a time at once."""


class RateLimit:
    """At most ``rate_per_s`` a second for each client, counted on the clock ``now_us``.

    IPv6 clients count by their /64, of which one customer has all addresses.
    """

    def __init__(self, now_us: Callable[[], int], rate_per_s: float) -> None:
        self._now_us = now_us
        self._us_each = 1_000_000 / rate_per_s
        self._full_us = BURST_S * 1_000_000
        self._empty_since_us: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, client: str, count: int = 1) -> float:
        """0 if ``client`` may send ``count`` now, which are then counted; else when it may.

        More than a full bucket holds is let through by a full one, and paid off afterwards.
        """
        name = _network(client)
        now_us = self._now_us()
        empty_since_us = max(
            self._empty_since_us.get(name, -float("inf")), float(now_us - self._full_us)
        )
        cost_us = count * self._us_each
        ahead_us = empty_since_us + min(cost_us, self._full_us) - now_us
        if ahead_us > 0:
            return ahead_us / 1e6
        self._empty_since_us[name] = empty_since_us + cost_us
        self._empty_since_us.move_to_end(name)
        if len(self._empty_since_us) > MAX_CLIENTS:
            self._empty_since_us.popitem(last=False)
        return 0.0


def _network(client: str) -> str:
    if ":" not in client:
        return client
    try:
        return str(ipaddress.ip_network((client.partition("%")[0], 64), strict=False))
    except ValueError:
        return client
