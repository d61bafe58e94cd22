"""The central store of Workers KV: versions, and from when on each is visible.

Entries carry the instant from which they count, so propagation needs no event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from reference_impl.ports import KVKey, Runtime
from scenarios.services import KV

NEVER_US = 2**62


class Version(NamedTuple):
    """One written state of a key: ``text`` is ``None`` for a deletion.

    It ends at ``expires_us`` of the runtime's clock, which is ``expires_s`` of the time of day.
    ``number`` counts the writes of the whole store as they were accepted; 0 was there before.
    """

    text: str | bytes | None
    metadata: Any
    expires_us: int
    expires_s: int | None = None
    number: int = 0

    def ended(self) -> Version:
        """What is left of it at its expiry."""
        return Version(None, None, NEVER_US, number=self.number)


GONE = Version(None, None, NEVER_US)


class _Written(NamedTuple):
    """A version of a key, and from when on other nodes see it."""

    version: Version
    visible_us: int


class KVStore:
    """The central store of one namespace."""

    def __init__(
        self, runtime: Runtime, settings: KV, outages: Sequence[tuple[int, int]] = ()
    ) -> None:
        self._runtime = runtime
        self._outages = outages
        self._propagation_us = round(settings.propagation_ms * 1000)
        self._spacing_us = round(1_000_000 / settings.writes_per_key_per_s)
        purge_s = settings.purge_s
        self._purge_us = None if purge_s is None else round(purge_s * 1_000_000)
        self._written: dict[str, list[_Written]] = {}  # what is visible, and what will be
        self._last_write_us: dict[str, int] = {}
        self._visible_us: dict[str, list[int]] = {}
        self._numbers = 0
        self.writes = 0
        self.writes_refused = 0

    def read(self, key: str) -> Version:
        """What the central store answers a node that asks now."""
        now_us = self._runtime.now_us()
        for version, visible_us in reversed(self._written.get(key, ())):
            if now_us >= visible_us:
                current: Version = version
                return current if now_us < current.expires_us else current.ended()
        return GONE

    def is_out(self) -> bool:
        """Whether the central store answers nobody now."""
        now_us = self._runtime.now_us()
        return any(from_us <= now_us < until_us for from_us, until_us in self._outages)

    def next_number(self) -> int:
        """The number of the next write."""
        self._numbers += 1
        return self._numbers

    def write(self, key: str, version: Version, *, visible_us: int | None = None) -> None:
        """Make ``version`` the newest state; others see it after the propagation delay.

        The write accepted last wins, however long each takes (KV orders them by time stamp).
        """
        written = self._written.get(key, [])
        if written and written[-1].version.number > version.number:
            return
        now_us = self._runtime.now_us()
        if visible_us is None:
            visible_us = now_us + self._propagation_us
        if not written:
            self._written[key] = [_Written(version, visible_us)]
            self._note_visible(key, visible_us, now_us)
            return
        coming = [w for w in written if w.visible_us > now_us]
        seen = _Written(self.read(key), 0)
        self._written[key] = [seen, *coming, _Written(version, visible_us)]
        self._note_visible(key, visible_us, now_us)

    def _note_visible(self, key: str, visible_us: int, now_us: int) -> None:
        """Remember for purges when a write is visible; of those long purged the last is enough."""
        if self._purge_us is None:
            return
        recent = self._visible_us.setdefault(key, [])
        while len(recent) > 1 and recent[1] <= now_us - self._purge_us:
            del recent[0]
        recent.append(visible_us)

    def is_purged(self, key: str, fetched_us: int, now_us: int) -> bool:
        """Whether a copy fetched then is no longer served, for a write that came after it."""
        if self._purge_us is None:
            return False
        reached_us = now_us - self._purge_us
        return any(fetched_us < each <= reached_us for each in self._visible_us.get(key, ()))

    def claim_write(self, key: str) -> bool:
        """Whether ``key`` may be written now: the service takes one write a second of a key."""
        now_us = self._runtime.now_us()
        last_us = self._last_write_us.get(key)
        if last_us is not None and now_us - last_us < self._spacing_us:
            self.writes_refused += 1
            return False
        self._last_write_us[key] = now_us
        self.writes += 1
        return True

    def keys(self) -> list[KVKey]:
        """Every key that has a value now."""
        versions = ((key, self.read(key)) for key in self._written)
        return [
            KVKey(key, version.expires_s, version.metadata)
            for key, version in versions
            if version.text is not None
        ]
