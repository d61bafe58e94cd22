"""The percentile plot: what is drawn where."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.profiling.hdr import Histogram
from reports.intervals import Sample
from reports.plot import HEIGHT, WIDTH, Line, Panel, points, shared_scale, svg


def sample(values_ms: Sequence[float], failed: int = 0) -> Sample:
    histogram = Histogram()
    histogram.record_many([round(value * 1000) for value in values_ms])
    return Sample(histogram, failed)


def panel(*samples: Sample, target_ms: float = 100) -> Panel:
    kinds = ("simulated", "emulated")
    return Panel("Tracking", [Line(k, s) for k, s in zip(kinds, samples, strict=False)], target_ms)


def test_points_rise_and_end_before_one_hundred_percent() -> None:
    """The last rank has its middle as its place, since 100 % has none on this axis."""
    found = points(sample(range(1, 1001)))
    assert found == sorted(found)
    assert found[-1] == (1 - 0.5 / 1000, 1000)


def test_failed_samples_are_ranks_above_the_curve() -> None:
    """Half failed: the curve ends at 50 %."""
    found = points(sample(range(1, 101), failed=100))
    assert found[-1] == (0.5, 100)


def test_no_samples_no_points() -> None:
    """Nothing to draw is nothing, not a line at zero."""
    assert points(sample([])) == []
    assert points(sample([], failed=5)) == []


@settings(max_examples=25)
@given(st.lists(st.floats(0, 4e6), min_size=1, max_size=20), st.floats(0.1, 1e5))
def test_everything_is_drawn_inside_and_the_scale_holds_all(
    values_ms: list[float], target_ms: float
) -> None:
    """Whatever the values, coordinates stay in the view box, and ticks rise and do not crowd."""
    made = panel(sample(values_ms), sample([]), target_ms=target_ms)
    scale = shared_scale([made])
    assert scale.low <= target_ms <= scale.high
    assert scale.ticks == sorted(scale.ticks)
    assert 1 <= len(scale.ticks) <= 12
    root = ET.fromstring(svg(made, scale))
    polyline = root.find(".//polyline")
    assert polyline is not None
    for x, y in (pair.split(",") for pair in polyline.attrib["points"].split()):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT


def test_the_target_lies_where_its_value_lies() -> None:
    """The dashed line is at the height of 100 ms on the shared scale."""
    made = panel(sample(range(10, 300)))
    scale = shared_scale([made])
    line = ET.fromstring(svg(made, scale)).find("./line[@class='target']")
    assert line is not None
    assert float(line.attrib["y1"]) == round(scale.y(100), 1)


def test_lines_are_labelled_at_their_ends_without_overlap() -> None:
    """Two worlds that agree to the microsecond still have two readable names."""
    same = sample(range(10, 300))
    root = ET.fromstring(svg(panel(same, same), shared_scale([panel(same, same)])))
    labels = [text for text in root.findall("./text") if text.attrib["class"].startswith("label")]
    assert sorted(text.text or "" for text in labels) == ["emulated", "simulated"]
    places = [float(text.attrib["y"]) for text in labels]
    assert abs(places[0] - places[1]) >= 12


def test_the_plot_says_its_p95_to_those_who_cannot_see_it() -> None:
    """The aria label names each world's P95; worlds without samples are not mentioned."""
    made = panel(sample([50] * 100), sample([]))
    label = re.search(r'aria-label="([^"]*)"', svg(made, shared_scale([made])))
    assert label is not None
    assert label.group(1) == "Tracking: simulated P95 50.0 ms"
