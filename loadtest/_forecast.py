"""What a run will send and cost, said before the first request goes to a host that is not here."""

from __future__ import annotations

from collections import Counter

from loadtest._foreign import climb_us
from loadtest._setup import Setup

USD_PER_MILLION = {
    "Worker requests": 0.30,
    "KV reads": 0.50,
    "KV writes": 5.00,
    "D1 rows read": 0.001,
    "D1 rows written": 1.00,
    "queue operations": 0.40,
}
"""Cloudflare's list prices on the paid plan, beyond what it includes (developers.cloudflare.com,
the pricing pages of Workers, KV, D1 and Queues, 2026)."""

LOOK_UP = {"Worker requests": 1, "KV reads": 1, "KV writes": 1, "D1 rows read": 20}
"""A look-up of a stack like ours that finds nothing in a cache (assumption: 20 rows a journey)."""

EVENT = {"Worker requests": 1, "D1 rows written": 6, "queue operations": 3}
"""An event: its row with five index entries, and its message (3 operations: Queues pricing)."""

TOUCH = {"D1 rows read": 20, "D1 rows written": 45, "KV writes": 3}
"""What an event of a known conversion adds: its attribution by three models (assumption)."""


def forecast(setup: Setup) -> list[str]:
    """Requests, writes, peak rate and cost, a line each.

    The cost is that of a stack like ours without one cache hit and without an allowance left.
    """
    workload = setup.scenario.workload
    seconds = setup.scenario.horizon_s - climb_us(setup) / 2e6  # a climb sends half as much
    look_ups = workload.attribution.rate_per_s * seconds
    events = workload.tracking.rate_per_s * seconds
    touches = events * workload.tracking.attributed_share
    hosts = sorted({target.authority for target in setup.targets.values()})
    operations = Counter[str]()
    for count, each in ((look_ups, LOOK_UP), (events, EVENT), (touches, TOUCH)):
        for name, number in each.items():
            operations[name] += round(count * number)
    dollars = sum(USD_PER_MILLION[name] * count / 1e6 for name, count in operations.items())
    price = f"at most about ${dollars:,.2f}" if dollars >= 0.01 else "under $0.01"
    spent = ", ".join(f"{count:,} {name}" for name, count in operations.items() if count)
    return [
        f"to {', '.join(hosts)}: about {look_ups + events:,.0f} requests in "
        f"{setup.scenario.horizon_s:,.0f} s, at most {workload.rate_per_s:,.0f} a second after a "
        f"climb of {climb_us(setup) / 1e6:.0f} s",
        f"writes: about {events:,.0f} events, {touches:,.0f} of them touch a known conversion",
        f"cost: {price} at list prices, no cache hit and nothing included ({spent})",
    ]
