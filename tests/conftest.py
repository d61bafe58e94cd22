"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A property says nothing of speed: how busy the machine is must not fail it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
