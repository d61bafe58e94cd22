"""The load test as Locust sees it: ``locust -f loadtest --headless --host URL``.

Everything happens in the listeners: requests leave by the scenario's plan, not by users.
"""

from __future__ import annotations

from locust import User, constant, events, task

from loadtest import _hooks

_hooks.register(events)


class EdgeKPI(User):
    """The user that Locust wants; it only waits."""

    wait_time = constant(60)

    @task
    def wait_for_the_plan(self) -> None:
        """Do nothing: see ``_dispatch``."""
