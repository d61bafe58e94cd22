"""The description of the HTTP interface: valid, complete, and true to the limits of the code."""

from __future__ import annotations

from openapi_spec_validator import OpenAPIV31SpecValidator

from reference_impl.attribution.models import MODELS
from reference_impl.events import MAX_NAME, Event
from reference_impl.http.app import create_app
from reference_impl.http.openapi import REFUSALS, description
from reference_impl.http.resource import MAX_BODY_BYTES
from tests.reference_impl.site import Site, visit, visit_site


def test_it_is_openapi_3_1() -> None:
    """By a validator that is not ours, and the server hands out exactly this."""
    OpenAPIV31SpecValidator(description()).validate()
    answer = visit(lambda client: client.get("/openapi.json"))
    assert answer.json() == description()


def test_every_path_and_method_is_described() -> None:
    """What the application routes, no more and no less; HEAD and OPTIONS go without saying."""

    async def work(site: Site) -> dict[str, set[str]]:
        return {
            path: set(resource.allow.split(", ")) - {"HEAD", "OPTIONS"}
            for path, resource in create_app(site.deployment, None).resources.items()
        }

    routed = visit_site(work)
    routed["/api/attribution/batch"] -= {"GET"}  # the conversion of that name
    described = {
        path: {method.upper() for method in operations}
        for path, operations in description()["paths"].items()
    }
    assert described == routed


def test_what_changes_state_or_tells_of_the_deployment_needs_the_token() -> None:
    """All but tracking, look-ups, channels, health and the description itself."""
    is_open = {
        path
        for path, operations in description()["paths"].items()
        for operation in operations.values()
        if "security" not in operation
    }
    assert is_open == {
        "/track",
        "/api/attribution/{conversion_id}",
        "/api/channels",
        "/healthz",
        "/readyz",
        "/openapi.json",
    }


def test_its_limits_are_those_of_the_code() -> None:
    """Names, models and the size of a body."""
    schemas = description()["components"]["schemas"]
    event = schemas["Event"]["properties"]
    assert event.keys() == Event.model_fields.keys()
    assert event["user_id"]["maxLength"] == MAX_NAME
    assert schemas["Attribution"]["properties"]["model"]["enum"] == list(MODELS)
    assert f"{MAX_BODY_BYTES // 1024} KiB" in REFUSALS[413]
