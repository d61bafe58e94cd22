"""What a user of stock Locust would write for 1,000 requests a second; see ``loadtest``.

Prints, when it ends, the processor time that its process took between start and stop of the test.
"""

from __future__ import annotations

import json
import time
from typing import Any

from locust import FastHttpUser, constant_throughput, events, task

clock = {"cpu_s": 0.0}


def start(**_: Any) -> None:
    """Begin to count."""
    clock["cpu_s"] = time.process_time()


def stop(environment: Any, **_: Any) -> None:
    """Print the processor time, and Locust's own numbers."""
    total = environment.stats.total
    told = {
        "cpu_s": time.process_time() - clock["cpu_s"],
        "requests": total.num_requests,
        "rate_per_s": total.total_rps,
        **{f"p{p}_ms": total.get_response_time_percentile(p / 100) for p in (50, 95, 99)},
    }
    print("stock:" + json.dumps(told), flush=True)


class Stock(FastHttpUser):
    """One of a hundred, ten requests a second each."""

    wait_time = constant_throughput(10)

    @task
    def ask(self) -> None:
        """One look-up."""
        self.client.get("/api/attribution/c-1?model=linear", name="/api/attribution")


hooks: Any = events
hooks.test_start.add_listener(start)
hooks.test_stop.add_listener(stop)
