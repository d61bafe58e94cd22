"""What one run needs, once everything that was asked has been checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from loadtest._guard import Target
from loadtest._secrets import Secrets
from reports.record import Kind
from scenarios.journeys import Conversion
from scenarios.schema import Scenario
from scenarios.target import Target as Mapped


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed load: users who wait for an answer, think, and only then ask again."""

    users: int
    think_us: int

    def __str__(self) -> str:
        return f"closed: {self.users} users, {self.think_us / 1e6:g} s think time"


@dataclass(frozen=True, slots=True)
class Setup:
    """All that one run needs, checked: what is asked, of whom, and where the answer goes.

    ``given_host`` is the URL that ``target`` was made from, ``targets`` has the host of each route.
    ``kind`` is "emulated" only when our own program started the server and says so in the
    environment; that server is asked as ours, whatever the scenario says of another one.
    ``mapped`` is how the deployment is asked, ``ids`` the conversions it knows if not ours.
    """

    scenario: Scenario
    seed: int
    given_host: str = field(repr=False)
    target: Target
    targets: dict[str, Target]
    mapped: Mapped
    secrets: Secrets
    ids: list[Conversion] | None = field(repr=False)
    kind: Kind
    token: str | None = field(repr=False)
    out: Path
    raw: Path | None
    closed: Closed | None
    quiet: bool
    required: list[str]
    notes: list[str]
