"""The description of the HTTP interface, OpenAPI 3.1, from the limits that the code itself uses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from reference_impl.attribution.models import MAX_TOUCHES, MODELS
from reference_impl.d1.schema import CHANNEL_COLUMNS
from reference_impl.events import MAX_EVENTS, MAX_NAME, Event
from reference_impl.http.dead_letters import MAX_LETTERS
from reference_impl.http.metrics import CONTENT_TYPE
from reference_impl.isolate.channel_metrics import MAX_CHANNELS
from reference_impl.isolate.worker import MAX_BATCH_CONVERSIONS, MAX_INVALIDATION_KEYS
from reference_impl.keys import KV_MAX_KEY_BYTES
from reference_impl.problem import MEDIA_TYPE

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
NUMBER: Json = {"type": "number"}
FLAG: Json = {"type": "boolean"}
ANYTHING: Json = {"type": "object"}
CLOSED: Json = {"additionalProperties": False}

REFUSALS = {
    400: "The request is not as described; the detail says what was expected.",
    401: "The bearer token is missing or wrong.",
    404: "No journey is stored for this conversion.",
    413: "The body is over 64 KiB.",
    415: "The body is announced as another type, or compressed.",
    429: "This client has sent too many events.",
    502: "KV refused some of the deletions; the body has the counts.",
    503: "A service behind the stack failed.",
}
RETRIED = frozenset({429, 503})


def _object(properties: Mapping[str, Json], required: Sequence[str] | None = None) -> Json:
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": dict(properties), "required": names}


def _list(items: Json, least: int = 0, most: int | None = None) -> Json:
    bounds = {"minItems": least} if most is None else {"minItems": least, "maxItems": most}
    return {"type": "array", "items": items, **bounds}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _nullable(kind: str) -> Json:
    return {"type": [kind, "null"]}


MODEL: Json = {"type": "string", "enum": list(MODELS)}
IDENTIFIER: Json = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
KEY: Json = {"type": "string", "minLength": 1, "maxLength": KV_MAX_KEY_BYTES}
TOUCH = _object(
    {
        "touchpoint_index": COUNT,
        "utm_source": _nullable("string"),
        "event_timestamp": TEXT,
        "credit_percentage": {"type": "number", "minimum": 0, "maximum": 100},
        "role": _nullable("string"),
    }
)
TOUCHES = _list(TOUCH, 0, MAX_TOUCHES)
TRUNCATED: Json = {
    "const": True,
    "description": "There are older touches, which are neither listed nor credited.",
}
INVALIDATED = _object(
    dict.fromkeys(["keys", "l1_deleted", "kv_deleted", "kv_failed", "elsewhere_within_s"], COUNT)
)
CHANNEL = _object(
    {
        **dict.fromkeys(CHANNEL_COLUMNS, NUMBER),
        **dict.fromkeys(["utm_source", "attribution_model", "last_updated"], TEXT),
    }
)

SCHEMAS: dict[str, Json] = {
    "Problem": _object({"title": TEXT, "status": COUNT, "detail": TEXT}),
    "Event": Event.model_json_schema(),
    "Accepted": _object({"event_id": TEXT, "duplicate": {"type": ["boolean", "null"]}}),
    "Attribution": _object(
        {
            "conversion_id": TEXT,
            "model": MODEL,
            "attribution": TOUCHES,
            "truncated": TRUNCATED,
            "note": TEXT,
        },
        ["conversion_id", "model", "attribution"],
    ),
    "Result": _object(
        {
            "conversion_id": {},
            "attribution_model": MODEL,
            "attribution": TOUCHES,
            "truncated": TRUNCATED,
            "error": TEXT,
            "from_cache": FLAG,
        },
        ["conversion_id", "attribution_model", "from_cache"],
    ),
    "Channel": CHANNEL,
    "Instance": _object({"id": TEXT, "isolates": COUNT, "since": TEXT}),
    "Invalidation": _object({"success": FLAG, "data": INVALIDATED}),
}


def _statistics(**parts: Json) -> Json:
    data = _object({**parts, "instance": _ref("Instance"), "timestamp": TEXT})
    return _object({"success": {"const": True}, "data": data})


def _content(schema: Json, media_type: str = "application/json") -> Json:
    return {"content": {media_type: {"schema": schema}}}


def _responses(success: int, told: str, schema: Json, *refused: int) -> Json:
    responses = {str(success): {"description": told, **_content(schema)}}
    for status in refused:
        response: Json = {
            "description": REFUSALS[status],
            **_content(_ref("Problem"), MEDIA_TYPE),
        }
        if status in RETRIED:
            seconds = {"schema": COUNT, "description": "Seconds to wait before the next try."}
            response["headers"] = {"Retry-After": seconds}
        responses[str(status)] = response
    return responses


def _operation(name: str, summary: str, responses: Json, **more: Any) -> Json:
    return {"operationId": name, "summary": summary, "responses": responses, **more}


def _parameter(name: str, schema: Json, told: str, place: str = "query") -> Json:
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "schema": schema, "description": told, **required}


MODEL_ASKED = _parameter("model", {**MODEL, "default": "last_click"}, "How credit is divided.")
TOKEN: Json = {"security": [{"token": []}]}


def _track() -> Json:
    events = _list(_ref("Event"), 1, MAX_EVENTS)
    json_text = {"type": "string", "contentMediaType": "application/json"}
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": {"oneOf": [_ref("Event"), events]}},
            "text/plain": {"schema": json_text},
        },
    }
    one = {**SCHEMAS["Accepted"], "required": ["accepted", "event_id", "duplicate"]}
    many = _object({"accepted": FLAG, "events": _list(_ref("Accepted"), 1, MAX_EVENTS)})
    told = "The events are durable. A duplicate changed nothing; null: not known yet."
    return _operation(
        "track",
        "Accept one event or a batch, all or none. An event_id counts once.",
        _responses(202, told, {"anyOf": [one, many]}, 400, 413, 415, 429, 503),
        requestBody=body,
    )


def _attribution() -> Json:
    where = _parameter("conversion_id", IDENTIFIER, "Percent-encoded where needed.", "path")
    return _operation(
        "attribution",
        "Who is credited for a conversion.",
        _responses(200, "The latest touches, oldest first.", _ref("Attribution"), 400, 404, 503),
        parameters=[where, MODEL_ASKED],
    )


def _attribution_batch() -> Json:
    ids = _list({}, 1, MAX_BATCH_CONVERSIONS)
    asked = _object({"conversion_ids": ids, "model": MODEL}, ["conversion_ids"])
    results = _object({"model": MODEL, "results": _list(_ref("Result"))})
    return _operation(
        "attribution_batch",
        "Attribute many conversions and store the credits; none fails another, not even one that "
        "is no ID.",
        _responses(200, "One result for each ID.", results, 400, 401, 413, 415, 503),
        requestBody={"required": True, **_content(asked | CLOSED)},
        **TOKEN,
    )


def _channels() -> Json:
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_CHANNELS, "default": 50}
    listed = _object({"model": MODEL, "channels": _list(_ref("Channel"), 0, MAX_CHANNELS)})
    return _operation(
        "channels",
        "The channels with most credit.",
        _responses(200, "The largest first.", listed, 400, 503),
        parameters=[MODEL_ASKED, _parameter("limit", limit, "Channels at most.")],
    )


def _invalidate() -> Json:
    by_keys = _object({"keys": _list(KEY, 1, MAX_INVALIDATION_KEYS)}) | CLOSED
    by_prefix = _object({"prefix": KEY}) | CLOSED
    responses = _responses(200, "What was deleted.", _ref("Invalidation"), 400, 401, 413, 415, 503)
    responses["502"] = {"description": REFUSALS[502], **_content(_ref("Invalidation"))}
    return _operation(
        "cache_invalidate",
        "Delete cached answers by keys or by prefix.",
        responses,
        requestBody={"required": True, **_content({"oneOf": [by_keys, by_prefix]})},
        **TOKEN,
    )


def _dead_letters() -> Json:
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LETTERS, "default": MAX_LETTERS}
    letter = _object(
        {"id": TEXT, "body": ANYTHING, "attempts": COUNT, "accepted_at": TEXT, "died_at": TEXT}
    )
    page = _object({"dead_letters": _list(letter, 0, MAX_LETTERS), "after": _nullable("string")})
    after = _parameter("after", TEXT, "The ID of the last one of the page before.")
    return _operation(
        "dead_letters",
        "Messages that were given up after their last attempt.",
        _responses(200, "The longest dead first.", page, 400, 401),
        parameters=[_parameter("limit", limit, "Messages at most."), after],
        **TOKEN,
    )


def _replay() -> Json:
    ids = _list({"type": "string", "minLength": 1, "maxLength": 64}, 1, MAX_LETTERS)
    return _operation(
        "replay",
        "Deliver dead messages again, as if new.",
        _responses(200, "How many were dead.", _object({"replayed": COUNT}), 400, 401, 413, 415),
        requestBody={"required": True, **_content(_object({"ids": ids}) | CLOSED)},
        **TOKEN,
    )


def _reading(name: str, summary: str, **parts: Json) -> Json:
    told = "For one instance, since its start and in the window lately."
    return {
        "get": _operation(name, summary, _responses(200, told, _statistics(**parts), 401), **TOKEN)
    }


def _metrics() -> Json:
    responses = _responses(200, "OpenMetrics.", TEXT, 401)
    responses["200"].update(_content(TEXT, CONTENT_TYPE.partition(";")[0]))
    return _operation("metrics", "The same numbers, to be scraped.", responses, **TOKEN)


def _paths() -> Json:
    alive = _responses(200, "It does.", _object({"status": {"const": "ok"}}))
    ready = _responses(200, "It is.", _object({"ready": FLAG, "kv": TEXT}), 503)
    described = _responses(200, "OpenAPI 3.1.", ANYTHING)
    performance = "/api/performance/"
    return {
        "/track": {"post": _track()},
        "/api/attribution/{conversion_id}": {"get": _attribution()},
        "/api/attribution/batch": {"post": _attribution_batch()},
        "/api/channels": {"get": _channels()},
        performance + "stats": _reading(
            "stats", "Everything.", performance=ANYTHING, cumulative=ANYTHING, failed=ANYTHING
        ),
        performance + "cache-stats": _reading("cache_stats", "Look-ups.", cache=ANYTHING),
        performance + "query-stats": _reading("query_stats", "Statements.", queries=ANYTHING),
        performance + "latency-summary": _reading("latency", "Percentiles.", latency=ANYTHING),
        performance + "cache-invalidate": {"post": _invalidate()},
        "/api/queue/dead-letters": {"get": _dead_letters()},
        "/api/queue/dead-letters/replay": {"post": _replay()},
        "/healthz": {"get": _operation("healthz", "Whether the process answers.", alive)},
        "/readyz": {"get": _operation("readyz", "Whether D1 answers, too.", ready)},
        "/metrics": {"get": _metrics()},
        "/openapi.json": {"get": _operation("openapi", "This description.", described)},
    }


def description() -> Json:
    """The whole document."""
    scheme = {"type": "http", "scheme": "bearer", "description": "EDGEKPI_TOKEN of the server."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgekpi reference implementation",
            "version": version("edgekpi"),
            "description": "Multi-touch attribution on an edge stack. Errors are problem details "
            "(RFC 9457). Times are UTC, like 2026-01-31T12:00:00.000Z.",
        },
        "paths": _paths(),
        "components": {"schemas": SCHEMAS, "securitySchemes": {"token": scheme}},
    }


DESCRIPTION = json.dumps(description())
"""The document as text."""
