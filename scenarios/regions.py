"""Regions and the round trips between them.

Source: median round trips between cloud regions (CloudPing P50) as a stand-in for the backbone,
whose own figures are not published. Stand-ins: wnam us-west-2, enam us-east-1, weur eu-west-2,
apac ap-southeast-1, oc ap-southeast-2, sam sa-east-1, afr af-south-1, ind ap-south-1.
Assumption: eeur has no figure of its own and uses eu-central-1.
"""

from __future__ import annotations

from typing import Literal

Region = Literal["wnam", "enam", "weur", "eeur", "apac", "oc", "sam", "afr", "ind"]
"""Where an edge node can stand."""

D1Region = Literal["wnam", "enam", "weur", "eeur", "apac", "oc"]
"""Where a D1 database can live (https://developers.cloudflare.com/d1/configuration/data-location/)."""

_ROUND_TRIPS_MS: dict[tuple[str, str], int] = {
    ("wnam", "enam"): 66,
    ("wnam", "weur"): 128,
    ("wnam", "eeur"): 143,
    ("wnam", "apac"): 166,
    ("wnam", "oc"): 141,
    ("enam", "weur"): 78,
    ("enam", "eeur"): 94,
    ("enam", "apac"): 217,
    ("enam", "oc"): 199,
    ("weur", "eeur"): 15,
    ("weur", "apac"): 173,
    ("weur", "oc"): 266,
    ("apac", "eeur"): 160,
    ("apac", "oc"): 94,
    ("oc", "eeur"): 253,
    ("sam", "wnam"): 174,
    ("sam", "enam"): 115,
    ("sam", "weur"): 187,
    ("sam", "eeur"): 204,
    ("sam", "apac"): 325,
    ("sam", "oc"): 311,
    ("afr", "wnam"): 274,
    ("afr", "enam"): 227,
    ("afr", "weur"): 147,
    ("afr", "eeur"): 155,
    ("afr", "apac"): 247,
    ("afr", "oc"): 327,
    ("ind", "wnam"): 224,
    ("ind", "enam"): 190,
    ("ind", "weur"): 115,
    ("ind", "eeur"): 114,
    ("ind", "apac"): 62,
    ("ind", "oc"): 153,
}


def between_ms(node: Region, database: D1Region) -> int:
    """The median round trip in ms between two different regions, in either order.

    Raises:
        KeyError: when both are the same region, whose round trip is a setting of the scenario.
    """
    trip = _ROUND_TRIPS_MS.get((node, database))
    return _ROUND_TRIPS_MS[(database, node)] if trip is None else trip
