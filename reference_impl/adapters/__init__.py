"""Stand-ins for the platform's services, and what an application runs on.

``open_kv``, ``open_d1`` and ``open_queue`` are :mod:`reference_impl.adapters.stores`'; it is
imported when one of them is asked for, since it brings the client of Redis with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference_impl.adapters.stores import open_d1, open_kv, open_queue

__all__ = ["open_kv", "open_d1", "open_queue"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reference_impl.adapters import stores

    return getattr(stores, name)
