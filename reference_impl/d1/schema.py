"""The D1 schema: the three tables of the specification with their indexes, and what they need.

Differences from the specification's own text, each for a reason: ``event_id`` is unique, because
a queue delivers at least once and a client repeats itself; times are text in the one format of
the stack, ``YYYY-MM-DDTHH:MM:SS.mmmZ``, which sorts as text, and have no default, which would be
in another; the index of a conversion's touches has the order of its journey, so that the latest
are read without the others; ``conversion_values`` holds what a conversion was worth, where
somebody knows; ``resend_at`` makes the rows of events an outbox.

Existing databases come to it by ``migrations``.
"""

from __future__ import annotations

TABLES: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS user_journeys (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id TEXT NOT NULL,
  event_id TEXT,
  event_name TEXT NOT NULL,
  utm_source TEXT,
  utm_medium TEXT,
  utm_campaign TEXT,
  utm_term TEXT,
  utm_content TEXT,
  event_timestamp TEXT NOT NULL,
  position INTEGER,
  conversion_id TEXT,
  created_at TEXT NOT NULL,
  resend_at TEXT
)""",
    """CREATE TABLE IF NOT EXISTS multi_touch_attribution (
  conversion_id TEXT NOT NULL,
  attribution_model TEXT NOT NULL,
  touchpoint_index INTEGER NOT NULL,
  utm_source TEXT,
  credit_percentage REAL NOT NULL,
  role TEXT,
  created_at TEXT NOT NULL,
  PRIMARY KEY (conversion_id, attribution_model, touchpoint_index)
)""",
    """CREATE TABLE IF NOT EXISTS channel_performance (
  utm_source TEXT NOT NULL,
  attribution_model TEXT NOT NULL,
  total_attribution REAL NOT NULL,
  total_conversions INTEGER NOT NULL,
  total_value REAL NOT NULL,
  avg_attribution_per_conversion REAL NOT NULL,
  last_updated TEXT NOT NULL,
  PRIMARY KEY (utm_source, attribution_model)
)""",
    """CREATE TABLE IF NOT EXISTS conversion_values (
  conversion_id TEXT NOT NULL PRIMARY KEY,
  value REAL NOT NULL
)""",
)

INDEXES: dict[str, str] = {
    "idx_user_journeys_user_timestamp": "user_journeys(user_id, event_timestamp DESC)",
    "idx_user_journeys_conversion": "user_journeys(conversion_id, event_timestamp, position)",
    "idx_user_journeys_utm_source": "user_journeys(utm_source, event_timestamp DESC)",
    "idx_user_journeys_event_name": "user_journeys(event_name, event_timestamp DESC)",
    "idx_attribution_model_conversion": "multi_touch_attribution(attribution_model, conversion_id)",
    "idx_attribution_source": "multi_touch_attribution(utm_source, attribution_model)",
    "idx_channel_performance_model": (
        "channel_performance(attribution_model, total_attribution DESC)"
    ),
    "idx_channel_performance_updated": "channel_performance(last_updated DESC)",
}
"""Every index of the specification; a scenario may drop some to see what that costs."""

UNIQUE_EVENT = "CREATE UNIQUE INDEX IF NOT EXISTS uq_user_journeys_event ON user_journeys(event_id)"

OUTBOX = (
    "CREATE INDEX IF NOT EXISTS ix_user_journeys_resend ON user_journeys(resend_at) "
    "WHERE resend_at IS NOT NULL"
)
"""The events from which something is still to follow: few rows of many."""

ADD_RESEND_AT = "ALTER TABLE user_journeys ADD COLUMN resend_at TEXT"
"""What version 1 did not have."""

DROP_CONVERSION_INDEX = "DROP INDEX IF EXISTS idx_user_journeys_conversion"
"""Up to version 2 it had the positions only, as in the specification."""

JOURNEY_COLUMNS: tuple[str, ...] = (
    "user_id",
    "event_id",
    "event_name",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "event_timestamp",
    "position",
    "conversion_id",
    "created_at",
)
"""What a row of ``user_journeys`` is given, in this order; ``id`` is SQLite's, and ``resend_at``
the ingest's."""

CREDIT_COLUMNS: tuple[str, ...] = (
    "conversion_id",
    "attribution_model",
    "touchpoint_index",
    "utm_source",
    "credit_percentage",
    "role",
    "created_at",
)

CHANNEL_COLUMNS: tuple[str, ...] = (
    "utm_source",
    "attribution_model",
    "total_attribution",
    "total_conversions",
    "total_value",
    "avg_attribution_per_conversion",
    "last_updated",
)

COLUMNS: dict[str, tuple[str, ...]] = {
    "user_journeys": JOURNEY_COLUMNS,
    "multi_touch_attribution": CREDIT_COLUMNS,
    "channel_performance": CHANNEL_COLUMNS,
    "conversion_values": ("conversion_id", "value"),
}
"""What may be written of each table."""

TIME_COLUMNS = frozenset({"event_timestamp", "created_at", "last_updated"})
"""Columns that hold a time, in the one format."""


def statements(drop_indexes: frozenset[str] = frozenset()) -> list[str]:
    """Every statement of the schema, each safe to run again.

    Raises:
        ValueError: when an index to drop does not exist.
    """
    unknown = sorted(drop_indexes - INDEXES.keys())
    if unknown:
        raise ValueError(f"no such index: {', '.join(unknown)}")
    indexes = [
        f"CREATE INDEX IF NOT EXISTS {name} ON {columns}"
        for name, columns in INDEXES.items()
        if name not in drop_indexes
    ]
    return [*TABLES, UNIQUE_EVENT, OUTBOX, *indexes]
