"""``channel_performance``: the sums of all stored credits by channel and model.

The sums follow the credits inside the transaction that replaces them: what the old rows of a
conversion had added is taken off, and what the new ones have is added. So to process a conversion
again changes nothing.

Rules of the sums:

- A touch without a source counts for the channel :data:`DIRECT`, as does a source of that name.
- ``total_attribution`` sums percents: 100 is one whole conversion.
- ``total_conversions`` counts the conversions in which the channel has credit; a touch with a
  credit of 0 counts for nothing.
- ``total_value`` sums each conversion's value (``conversion_values``, else 0) by its credits.
- A channel that has lost all its credit keeps a row of zeros, which no query answers with.

Sums are rounded to what their terms can hold (hundredths of a percent; a value has two decimals,
so its shares have six), which takes off what floats would gather over many changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.d1.statements import Command, in_parts, marks
from reference_impl.ports import SqlValue

DIRECT = "direct"
"""The channel of touches without a source."""

VALUE_DECIMALS = 2

_SUMS = f"""SELECT coalesce(credits.utm_source, '{DIRECT}'), credits.attribution_model,
  {{sign}} * round(sum(credit_percentage), 2),
  {{sign}} * count(DISTINCT credits.conversion_id),
  {{sign}} * round(sum(credit_percentage * coalesce(worth.value, 0)) / 100, 6),
  sum(credit_percentage) / count(DISTINCT credits.conversion_id), {{updated}}
FROM multi_touch_attribution AS credits
LEFT JOIN conversion_values AS worth ON worth.conversion_id = credits.conversion_id
WHERE credit_percentage > 0{{scope}}
GROUP BY 1, 2"""

_INSERT = """INSERT INTO channel_performance (utm_source, attribution_model, total_attribution,
  total_conversions, total_value, avg_attribution_per_conversion, last_updated)
"""

_ADD_TO_ROW = """
ON CONFLICT (utm_source, attribution_model) DO UPDATE SET
  total_attribution = round(total_attribution + excluded.total_attribution, 2),
  total_conversions = total_conversions + excluded.total_conversions,
  total_value = round(total_value + excluded.total_value, 6),
  avg_attribution_per_conversion = coalesce(
    round(total_attribution + excluded.total_attribution, 2)
    / nullif(total_conversions + excluded.total_conversions, 0), 0),
  last_updated = excluded.last_updated"""

RECOMPUTE = _INSERT + _SUMS.format(sign="1", updated="max(credits.created_at)", scope="")
"""Fills an empty table from all stored credits: what the sums always are."""

PERFORMANCE = """SELECT utm_source, attribution_model, total_attribution, total_conversions,
  total_value, avg_attribution_per_conversion, last_updated
FROM channel_performance WHERE attribution_model = ? AND total_conversions > 0
ORDER BY total_attribution DESC, utm_source LIMIT ?"""

ACCOUNTED_AT_ONCE = 90
"""Conversions of one statement; with its other values it binds under 100."""


def account(
    sign: int, conversion_ids: Sequence[str], model: str | None, updated: str
) -> list[Command]:
    """Statements that add (1) or take off (-1) what stands of conversions: one model or all."""
    commands: list[Command] = []
    for ids in in_parts(conversion_ids, ACCOUNTED_AT_ONCE):
        scope = f" AND credits.conversion_id IN ({marks(len(ids))})"
        values: tuple[SqlValue, ...] = (sign, sign, sign, updated, *ids)
        if model is not None:
            scope += " AND credits.attribution_model = ?"
            values += (model,)
        sums = _SUMS.format(sign="?", updated="?", scope=scope)
        commands.append((_INSERT + sums + _ADD_TO_ROW, values))
    return commands
