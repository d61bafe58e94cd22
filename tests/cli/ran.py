"""What a command of the program left behind."""

from __future__ import annotations

from collections.abc import Callable


class Ran:
    """One command that has ended: its exit code, and what it printed where."""

    def __init__(self, code: int, printed: tuple[str, str]) -> None:
        self.code = code
        self.out, self.err = printed

    @property
    def last(self) -> str:
        """The last line on stdout."""
        return self.out.rstrip().splitlines()[-1]


Run = Callable[..., Ran]
"""``run("check", "small.yaml")`` in process."""
