"""How a deployment that is not ours is asked: hosts, paths, headers, bodies, and what it may cost.

Texts are templates over the plan's fields (:data:`LOOKUP_FIELDS`, :data:`EVENT_FIELDS`). A secret
is named by its environment variable; its value is in no scenario, record or report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import InitErrorDetails

from scenarios.headers import Auth, Header, Headers, Path, Text, texts_of
from scenarios.parts import Part, distinct, some
from scenarios.problems import problem, refuse
from scenarios.template import Place, Template, leaves, template_problems

COMMON_FIELDS = ("run_id", "number", "node", "timestamp", "timestamp_ms", "timestamp_s")
LOOKUP_FIELDS = (*COMMON_FIELDS, "conversion_id", "user_id", "model")
EVENT_FIELDS = (
    *COMMON_FIELDS,
    "event_id",
    "user_id",
    "conversion_id",
    "event_name",
    "utm_source",
    "utm_medium",
    "utm_campaign",
)
WHOLE_NUMBERS = frozenset({"number", "timestamp_ms", "timestamp_s"})
"""Fields that are numbers in JSON where they stand alone."""

UNDO = (
    "DELETE FROM user_journeys WHERE event_id LIKE 'edgekpi-{run_id}-%' "
    "AND utm_source LIKE 'edgekpi-%'"
)


def _url(text: str) -> str:
    if "@" in text:
        raise ValueError("no user or password here, they would go into records: use target.auth")
    if not re.fullmatch(r"https?://[^/?#\s]+[^?#\s]*", text):
        raise ValueError("expected http://name:port or https://name, perhaps with a path")
    return text


class Route(Part):
    """How one kind of request is sent."""

    fields: ClassVar[tuple[str, ...]] = ()

    host: Annotated[str, AfterValidator(_url)] | None = Field(
        default=None, description="its own host as a URL; null is the --host of the run"
    )
    headers: Headers = Field(default={}, description="besides, or instead of, those of all")
    body_json: Any = Field(
        default=None,
        description="JSON whose texts are templates; a number's field alone is a number, and a "
        "member that is a field alone is left out where the request has no such value",
    )
    body_form: dict[str, Text] | None = Field(default=None, description="a form of templates")
    body_text: Text | None = Field(default=None, description="a template")

    path: Path
    method: str
    expect: tuple[int, ...]

    @property
    def reads(self) -> bool:
        """Whether it asks by GET, which no server takes for a change."""
        return self.method == "GET"

    @property
    def has_body(self) -> bool:
        """Whether it says what its body is."""
        return any(body is not None for body in (self.body_json, self.body_form, self.body_text))

    def texts(self) -> Iterator[Place]:
        """Every template of it: where it stands, its text, and the fields it may name."""
        yield ("path",), self.path, self.fields
        for name, header in self.headers.items():
            yield from texts_of(("headers", name), header, self.fields)
        for loc, text in leaves(("body_json",), self.body_json):
            yield loc, text, self.fields
        for name, text in (self.body_form or {}).items():
            yield ("body_form", name), text, self.fields
        if self.body_text is not None:
            yield ("body_text",), self.body_text, self.fields

    @model_validator(mode="after")
    def _sendable(self) -> Route:
        places = list(self.texts())
        problems = template_problems(places)
        bodies = {
            "body_json": self.body_json,
            "body_form": self.body_form,
            "body_text": self.body_text,
        }
        given = [name for name, body in bodies.items() if body is not None]
        if len(given) > 1:
            problems.append(problem((given[1],), f"there is {given[0]} already: one body"))
        if given and self.reads:
            problems.append(problem((given[0],), "a GET has no body: say method: POST"))
        if not problems:
            fields = [Template(text, known).fields for _, text, known in places]
            problems += self._missing(frozenset[str]().union(*fields))
        refuse("Route", problems)
        return self

    def _missing(self, carried: frozenset[str]) -> list[InitErrorDetails]:
        """What this kind of request must carry besides the fields it does."""
        return []


Status = Annotated[int, Field(ge=100, le=599)]
Statuses = Annotated[tuple[Status, ...], AfterValidator(some), AfterValidator(distinct)]


class Lookup(Route):
    """Look-ups."""

    fields: ClassVar[tuple[str, ...]] = LOOKUP_FIELDS

    method: Literal["GET", "POST"] = Field(default="GET", description="of the request")
    path: Path = Field(
        default="/api/attribution/{conversion_id}?model={model}",
        description="a template; values are percent-encoded",
    )
    expect: Statuses = Field(default=(200,), strict=False, description="statuses of success")


class Event(Route):
    """Events; without a body of its own, a POST or PUT carries the event as our stack takes it."""

    fields: ClassVar[tuple[str, ...]] = EVENT_FIELDS

    method: Literal["POST", "PUT", "GET"] = Field(default="POST", description="of the request")
    path: Path = Field(default="/track", description="a template; values are percent-encoded")
    expect: Statuses = Field(default=(202,), strict=False, description="statuses of success")

    def _missing(self, carried: frozenset[str]) -> list[InitErrorDetails]:
        missing = {"event_id", "utm_source"} - carried
        if not missing or not (self.reads or self.has_body):
            return []
        fields = " and ".join(f"{{{name}}}" for name in sorted(missing))
        text = f"the event must carry {fields}, so that it can be found again and deleted"
        return [problem((), text)]


def _undoable(text: str) -> str:
    Template(text, ("run_id",))
    return text


class Target(Part):
    """The deployment that a load test asks, where it is not our own server."""

    attribution: Lookup = Field(default=Lookup(), description="how a look-up is asked")
    tracking: Event = Field(default=Event(), description="how an event is sent")
    auth: Auth | None = Field(default=None, description="authentication of every request")
    headers: Headers = Field(default={}, description="headers of every request")
    statistics: Path = Field(
        default="/api/performance/stats",
        description="where queue times and memory are read, with EDGEKPI_TOKEN as bearer token",
    )
    follow_redirects: int = Field(
        default=0,
        ge=0,
        le=10,
        description="so many are followed within the same host and belong to the latency; 0 takes "
        "a redirect for the answer",
    )
    writes: Literal["forbidden", "allowed"] = Field(
        default="forbidden", description="whether events go to a host that is not this machine"
    )
    max_requests: int | None = Field(
        default=None,
        ge=1,
        description="a plan of more is refused; null is 100,000 for a host that is not this "
        "machine, and any number for this one",
    )
    max_connections: int = Field(
        default=2000, ge=1, le=60_000, description="open at once; beyond it the run is not valid"
    )
    undo: Annotated[str, AfterValidator(_undoable)] = Field(
        default=UNDO, description="the statement that deletes a run's events, over {run_id}"
    )

    @model_validator(mode="after")
    def _templates(self) -> Target:
        refuse(
            "Target",
            [
                wrong
                for name, header in self.headers.items()
                for wrong in template_problems(texts_of(("headers", name), header, COMMON_FIELDS))
            ],
        )
        return self

    def headers_of(self, route: Route) -> dict[str, Header]:
        """Names and values for one route: its own win over those of all, whatever their case."""
        shared = dict(self.headers)
        if self.auth is not None:
            shared[self.auth.header] = Header(env=self.auth.env, prefix=self.auth.prefix)
        own = {name.lower() for name in route.headers}
        kept = {name: header for name, header in shared.items() if name.lower() not in own}
        return kept | route.headers

    def secrets(self) -> list[str]:
        """The environment variables that hold its secrets."""
        headers = [
            header
            for route in (self.attribution, self.tracking)
            for header in self.headers_of(route).values()
        ]
        return sorted({header.secret for header in headers if header.secret is not None})


class Population(Part):
    """The IDs that the deployment knows, where they are not those of our data."""

    csv: str | None = Field(
        default=None,
        min_length=1,
        description="a file with a line of column names, beside the scenario; null is our own data",
    )
    conversion_id: str = Field(default="conversion_id", description="the column of the IDs")
    user_id: str = Field(
        default="user_id", description="the column of the users; may be missing from the file"
    )
