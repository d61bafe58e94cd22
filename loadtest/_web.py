"""A tab of ours in Locust's web UI, since its own table is approximate."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import request

from reference_impl.profiling.hdr import Histogram
from reports.merge import merge
from reports.record import ROUTES, Unit

KEY = "edgekpi"
TABS = [{"title": "edgekpi", "key": KEY}]
COLUMNS = {
    "name": "From the intended start (the tab Statistics is approximate)",
    "requests": "requests",
    "failed": "failed",
    "p50": "P50 (ms)",
    "p95": "P95 (ms)",
    "p99": "P99 (ms)",
    "max": "max (ms)",
}
TABLES = [{"key": KEY, "structure": [{"key": k, "title": v} for k, v in COLUMNS.items()]}]

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}

Units = Callable[[], list[Unit]]


def add_tab(web_ui: Any, units: Units) -> None:
    """Show what ``units`` has counted so far, to three digits and merged over all workers."""
    web_ui.template_args |= {"extended_tabs": TABS, "extended_tables": TABLES}

    def add_rows(response: Any) -> Any:
        if request.path.endswith("/stats/requests") and response.is_json:
            told = {**response.json, "extended_stats": [{"key": KEY, "data": rows_of(units())}]}
            response.set_data(json.dumps(told))
        return response

    web_ui.app.after_request(add_rows)


def rows_of(units: list[Unit]) -> list[dict[str, Any]]:
    """A row for each route that has been asked."""
    whole, rows = merge(units), []
    for route in ROUTES:
        series = f"latency.{route}.intended"
        histogram, failed = whole.series.get(series, Histogram()), whole.failed.get(series, 0)
        if histogram.count + failed:
            found = {name: (histogram.percentile(p) or 0) / 1000 for name, p in SHARES.items()}
            rows.append({"name": route, "requests": histogram.count + failed, "failed": failed})
            rows[-1] |= found
    return rows
