"""The report as a reader sees it: nothing fetched, nothing cut off, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from reference_impl.profiling.hdr import Histogram
from reports.html import write_report
from reports.samples import agreement
from reports.verdict import judge
from scenarios.loader import load
from sim.simulate import simulate

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("browser")]

CUT_OFF = """() => [...document.querySelectorAll('.scroll, pre')]
    .filter(box => box.scrollWidth > box.clientWidth).map(box => box.innerText.slice(0, 60))"""
BEYOND_ITS_PICTURE = """() => [...document.querySelectorAll('svg text')].filter(text => {
    const [inner, outer] = [text, text.ownerSVGElement].map(each => each.getBoundingClientRect());
    return inner.left < outer.left || inner.right > outer.right;
}).map(text => text.textContent)"""
WIDER_THAN_THE_WINDOW = "document.documentElement.scrollWidth > innerWidth"


def _many_times(series: Histogram) -> Histogram:
    many = Histogram()
    for _ in range(100):
        many.add(series)
    return many


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a short run, told as both worlds; its samples counted so often that the lines
    of the plots end where they would in a long one, beside the names at their right."""
    record, samples = simulate(load("smoke/tiny", ["measure.window_s=3"]), 1, 2)
    for unit in record.units:
        unit.series = {name: _many_times(series) for name, series in unit.series.items()}
    path = tmp_path_factory.mktemp("report") / "report.html"
    told = agreement(samples.table(), samples.table())
    write_report(path, [record, record], [judge(record), judge(record)], told)
    return path


@pytest.fixture(params=[(1280, "light"), (1024, "light"), (390, "dark")], ids=str)
def page(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The report in a window of one size; whatever the browser complains of fails the test."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda sent: asked.append(sent.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert complaints == []
    assert asked == [report.as_uri()]


def test_it_fits_the_window(page: Page) -> None:
    """It never scrolls sideways as a whole, no picture cuts off a word, and on a desk no table
    scrolls either."""
    assert not page.evaluate(WIDER_THAN_THE_WINDOW)
    assert page.evaluate(BEYOND_ITS_PICTURE) == []
    if page.viewport_size is not None and page.viewport_size["width"] > 1000:
        assert page.evaluate(CUT_OFF) == []


def test_the_verdict_is_what_one_sees_first(page: Page) -> None:
    """Word and exit code are within the first screen, a KPI's row can be seen."""
    word = page.locator(".verdict").first
    box = word.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900
    assert page.get_by_text("exit code").first.is_visible()
    assert page.get_by_text("Tracking latency P95").first.is_visible()


def test_the_settings_open(page: Page) -> None:
    """A click shows the scenario as it was run."""
    settings = page.locator("details").last
    assert not settings.locator("pre").is_visible()
    settings.locator("summary").click()
    assert settings.locator("pre").is_visible()
