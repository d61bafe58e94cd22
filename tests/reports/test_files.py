"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.files import whole_file


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    """With its folder, and with nothing beside it."""
    path = tmp_path / "new" / "a.csv"
    with whole_file(path) as file:
        file.write("1\n")
        assert not path.exists()
    assert path.read_text() == "1\n"
    assert list(path.parent.iterdir()) == [path]


def test_half_a_file_leaves_the_old_one(tmp_path: Path) -> None:
    """Whoever fails while writing changes nothing."""
    path = tmp_path / "a.csv"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path) as file:
            file.write("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
