"""Checked setups, as ``prepare`` makes them from options."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from loadtest._options import prepare
from loadtest._setup import Setup

HERE = "http://127.0.0.1:8787"


def setup(host: str | None = HERE, **options: Any) -> Setup:
    """What the load test would run with these options, all others as they are by default."""
    given: dict[str, Any] = {
        "scenario": None,
        "overrides": [],
        "edgekpi_seed": None,
        "edgekpi_out": None,
        "raw": None,
        "closed": None,
        "think_time": None,
        "i_own_this_host": [],
        "edgekpi_quiet": False,
        "window_s": None,
    }
    return prepare(Namespace(**given | options), host)
