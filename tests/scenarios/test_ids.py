"""IDs of a deployment's own, from a CSV file."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.ids import read_ids
from scenarios.journeys import Conversion
from scenarios.loader import ScenarioError
from scenarios.target import Population


def read(folder: Path, text: str, **columns: str) -> list[Conversion]:
    (folder / "ids.csv").write_text(text, encoding="utf-8")
    return read_ids(Population(csv="ids.csv", **columns), folder)


def test_ids_and_users_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    """The plan's popularity goes by it; a byte-order mark and empty lines are no rows."""
    text = "\ufeffuser_id,conversion_id\nu1,c1\n\nu2,c2\n"
    assert read(tmp_path, text) == [Conversion("c1", "u1"), Conversion("c2", "u2")]


def test_columns_may_have_other_names_and_users_be_missing(tmp_path: Path) -> None:
    """Then the conversion stands for its user."""
    text = 'id,note\n"a,1",x\n'
    assert read(tmp_path, text, conversion_id="id") == [Conversion("a,1", "a,1")]
    assert read(tmp_path, "id,who\n7,\n", conversion_id="id", user_id="who") == [
        Conversion("7", "7")
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "ids.csv:1: no column 'conversion_id', there are: none"),
        ("id\n1\n", "ids.csv:1: no column 'conversion_id', there are: id; name the right one"),
        ("conversion_id\n", "ids.csv:1: no IDs beneath"),
        ("conversion_id,a\n1,2\n3\n", "ids.csv:3: expected 2 values, got 1"),
        ("conversion_id,a\n,2\n", "ids.csv:2: expected an ID of 1 to 500 printable"),
        ('conversion_id\n"a\nb"\n', "ids.csv:3: expected an ID of 1 to 500 printable"),
        (f"conversion_id\n{'x' * 501}\n", "ids.csv:2: expected an ID of 1 to 500 printable"),
        ("conversion_id\n1\n2\n1\n", "ids.csv:4: '1' is there already"),
        (f"conversion_id\n{'x' * 200_000}\n", "is not CSV: field larger than"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_with_its_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    """One sentence, before anything is sent."""
    with pytest.raises(ScenarioError) as refusal:
        read(tmp_path, text)
    assert sentence in str(refusal.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, or not text."""
    with pytest.raises(ScenarioError, match=r"ids.csv cannot be read: No such file"):
        read_ids(Population(csv="ids.csv"), tmp_path)
    (tmp_path / "ids.csv").write_bytes(b"conversion_id\n\xff\n")
    with pytest.raises(ScenarioError, match="is not UTF-8"):
        read_ids(Population(csv="ids.csv"), tmp_path)
