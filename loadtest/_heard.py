"""What the master has heard of one worker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from loadtest._generator import BLOCKS
from loadtest._rows import Rows
from loadtest._tally import Tally
from reports.record import Unit


class Heard:
    """The latest of each thing that one worker has told; ``index`` is that of its part."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.name = f"worker {index}"
        self.tally = Tally()
        self.rows = Rows()
        self.is_complete = False
        self.problem = ""
        self.clock_offset_ns = 0
        self.clock_error_us = 0
        self.wall_skew_us = 0
        self._sequence = -1
        self._round_trip_ns: int | None = None
        self._blocks: dict[int, Mapping[str, Any]] = {}

    def compare_clock(self, sent_ns: int, received_ns: int, pong: Mapping[str, int]) -> None:
        """Place the worker's clock on ours: it was read half-way between question and answer.

        Of several exchanges the quickest counts; half its time bounds the error.
        """
        round_trip_ns = received_ns - sent_ns
        if self._round_trip_ns is not None and round_trip_ns >= self._round_trip_ns:
            return
        self._round_trip_ns = round_trip_ns
        middle_ns = sent_ns + round_trip_ns // 2
        self.clock_offset_ns = pong["perf_ns"] - middle_ns
        self.clock_error_us = round_trip_ns // 2000
        since_us = (time.perf_counter_ns() - middle_ns) // 1000
        self.wall_skew_us = pong["wall_us"] - (time.time_ns() // 1000 - since_us)

    def take(self, report: Mapping[str, Any]) -> None:
        """Take a report, unless a later one has come already; its numbers replace earlier ones.

        Raises ``ValueError`` for a report that is damaged.
        """
        if report["sequence"] <= self._sequence:
            return
        self._sequence = report["sequence"]
        self.tally = Tally.from_message(report["tally"])
        self._blocks.update(report["blocks"])
        self.rows.unpack(report["rows"])
        self.is_complete = report["last"]
        self.problem = report["problem"]

    def units(self) -> list[Unit]:
        """Its blocks, those it has not told of empty.

        Raises ``ValueError`` for a block that is damaged.
        """
        blocks = (self._blocks.get(index) for index in range(BLOCKS))
        return [Unit() if block is None else Unit.from_json(block) for block in blocks]
