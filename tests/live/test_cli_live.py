"""The command line in real time: whole runs in processes of their own, from an empty folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.record import load
from reports.samples import load as load_samples
from tests.live.served import start

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 90
SHORT = (
    *("--set", "measure.warmup_s=0.5", "--set", "measure.window_s=2"),
    *("--set", "workload.attribution.rate_per_s=150", "--set", "workload.tracking.rate_per_s=100"),
)


def edgekpi(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    process = start(folder, "edgekpi", *arguments)
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out, err


def last_line(text: str) -> str:
    return text.rstrip().splitlines()[-1]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``edgekpi serve`` on a free port: the process and its URL."""
    process = start(tmp_path, "edgekpi", "serve", "--port", "0", EDGEKPI_TOKEN="t")
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix("listening on ").strip()
    yield process, url
    process.kill()
    process.communicate()


def test_load_starts_and_stops_a_server_of_its_own(tmp_path: Path) -> None:
    """From an empty folder: a verdict, a record of an emulated run, and nothing left running."""
    code, out, err = edgekpi(tmp_path, "load", "smoke/tiny", *SHORT, "--out", "o", "--json")
    told = json.loads(out)
    assert (told["scenario"], told["kind"]) == ("tiny", "emulated")
    assert last_line(err).startswith(f"{code} {told['verdict']} ")
    assert code in (0, 20, 21), err
    record = load(tmp_path / "o")
    assert record.invalid == []
    assert record.count("errors.total") > 300
    assert record.count("errors.part") == 0
    assert {"latency-0.hlog", "report.html", "run.json", "samples.npz"} == set(
        os.listdir(tmp_path / "o")
    )
    host = str(record.provenance["host"])
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{host}/healthz", timeout=5)


def test_run_shows_that_both_worlds_agree(tmp_path: Path) -> None:
    """A short baseline: nearly every request is answered by the same layers, at nearly the same
    time, and the report has both."""
    measure = ("--set", "measure={warmup_s: 1, window_s: 4}")
    code, out, err = edgekpi(tmp_path, "run", "steady/baseline", *measure, "--quiet")
    folder = tmp_path / "reports" / "out" / "baseline-both"
    assert code in (0, 20, 21), err
    assert last_line(out).startswith(f"{code} ")
    found = re.search(r"([\d,]+) pairs, ([\d.]+)% answered by the same layers", out)
    assert found is not None, out
    assert int(found[1].replace(",", "")) > 800
    assert float(found[2]) >= 99
    records = [load(folder / world) for world in ("simulated", "emulated")]
    assert [record.kind for record in records] == ["simulated", "emulated"]
    assert [record.invalid for record in records] == [[], []]
    tables = [load_samples(folder / world / "samples.npz") for world in ("simulated", "emulated")]
    assert tables[0].number.tolist() == tables[1].number.tolist()
    page = (folder / "report.html").read_text()
    assert "emulated" in page
    assert "simulated" in page


def test_plain_locust_against_a_plain_server(
    tmp_path: Path, served: tuple[subprocess.Popen[str], str]
) -> None:
    """``locust -f loadtest --headless -t 2s``: the look-ups of smoke/tiny, verdict and code."""
    options = ("--headless", "-t", "2s", "--host", served[1])
    process = start(tmp_path, "locust", "-f", str(ROOT / "loadtest"), *options)
    out, err = process.communicate(timeout=TIMEOUT_S)
    record = load(tmp_path / "reports" / "out" / "tiny-load")
    assert last_line(out).startswith(f"{process.returncode} "), err
    assert process.returncode in (0, 20, 21)
    assert (record.kind, record.invalid, record.count("errors.part")) == ("live", [], 0)
    assert record.count("requests.tracking") == 0 < record.count("cache.attribution.l1")


def wait_until_asked(url: str) -> None:
    """Until the server has answered some requests, by its own statistics."""
    request = urllib.request.Request(f"{url}/api/performance/latency-summary")
    request.add_header("Authorization", "Bearer t")
    for _ in range(10 * TIMEOUT_S):
        with urllib.request.urlopen(request, timeout=5) as answer:
            told = json.load(answer)["data"]["latency"]
        if told["requests"].get("attribution", {}).get("count", 0) > 50:
            return
        time.sleep(0.1)
    pytest.fail("nobody asked the server anything")


def test_a_server_killed_in_mid_run(
    tmp_path: Path, served: tuple[subprocess.Popen[str], str]
) -> None:
    """The stack's own server dies: 20 by its error ratio, and the record can be read."""
    server, url = served
    more = ("--set", "measure.window_s=4", "--out", "o", "--json")
    process = start(tmp_path, "edgekpi", "load", "smoke/tiny", *SHORT, *more, "--host", url)
    wait_until_asked(url)
    server.send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=TIMEOUT_S)
    told = json.loads(out)
    (errors,) = [kpi for kpi in told["kpis"] if kpi["name"] == "error_ratio"]
    assert (process.returncode, errors["verdict"]) == (20, "alert")
    assert last_line(err).startswith("20 alert error_ratio")
    assert load(tmp_path / "o").count("failure.connection") > 100


def test_a_server_that_was_never_there(tmp_path: Path) -> None:
    """22, told as JSON as well, and a report that says so."""
    where = ("--host", "http://127.0.0.1:9", "--out", "o", "--json")
    code, out, err = edgekpi(tmp_path, "load", "smoke/tiny", *SHORT, *where)
    assert (code, json.loads(out)["verdict"]) == (22, "not valid")
    assert last_line(err).startswith("22 not valid")
    assert "nobody ever answered" in (tmp_path / "o" / "report.html").read_text()


def test_a_foreign_host_is_refused(tmp_path: Path) -> None:
    """23 and no request, unless its name is repeated."""
    where = ("--host", "http://192.0.2.1", "--json")
    code, out, err = edgekpi(tmp_path, "load", "smoke/tiny", *SHORT, *where)
    assert (code, out) == (23, "")
    assert "--i-own-this-host" in err
    assert last_line(err).startswith("23 wrong input")
    assert "Traceback" not in err


def test_an_older_record_is_never_told_for_a_run_that_left_none(tmp_path: Path) -> None:
    """The folder holds a passed run; the refused one after it does not pass."""
    short = ("--set", "measure={warmup_s: 0, window_s: 0.2}", "--out", "o", "--quiet")
    edgekpi(tmp_path, "simulate", "smoke/tiny", *short)
    code, out, _ = edgekpi(tmp_path, "load", "smoke/tiny", *short, "--host", "http://192.0.2.1")
    assert (code, out) == (23, "")


def test_ctrl_c_stops_the_server(served: tuple[subprocess.Popen[str], str]) -> None:
    """The usual way to end it: 0, and no traceback."""
    server, url = served
    with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
        assert answer.status == 200
    server.send_signal(signal.SIGINT)
    _, err = server.communicate(timeout=TIMEOUT_S)
    assert server.returncode == 0
    assert "Traceback" not in err


# --------------------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_has_what_it_needs_and_no_tests(wheel: Path) -> None:
    """Scenarios, data with its licence note, the load test; nothing of tests or runs."""
    names = set(zipfile.ZipFile(wheel).namelist())
    scenarios = {str(path.relative_to(ROOT)) for path in (ROOT / "scenarios").glob("*/*.yaml")}
    sources = {
        str(path.relative_to(ROOT))
        for room in ("reference_impl", "scenarios", "sim", "loadtest", "reports")
        for path in (ROOT / room).rglob("*.py")
    }
    assert len(scenarios) >= 4
    assert scenarios | sources | {"edgekpi.py", "scenarios/data/journeys.csv.gz"} <= names
    assert any("licenses/" in name for name in names)
    allowed = ("reference_impl/", "scenarios/", "sim/", "loadtest/", "reports/", "edgekpi")
    assert [name for name in sorted(names) if not name.startswith(allowed)] == []
    assert [name for name in sorted(names) if "/out/" in name or "__pycache__" in name] == []


def test_the_wheel_works_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, which borrows only the dependencies of this one."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "install"]
    install = [*pip, "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    outside = {"PATH": os.environ["PATH"], "HOME": str(empty)}
    where = subprocess.run(
        [str(python), "-c", "import edgekpi, sim; print(edgekpi.__file__, sim.__file__)"],
        cwd=empty,
        env=outside,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert where.count(str(site)) == 2
    for arguments in (
        ("check", "steady/baseline"),
        ("simulate", "smoke/tiny", *SHORT, "--replications", "1", "--out", "o"),
    ):
        ended = subprocess.run(
            [str(venv / "bin" / "edgekpi"), *arguments],
            cwd=empty,
            env=outside,
            check=False,
            capture_output=True,
            text=True,
        )
        assert ended.returncode in (0, 20, 21), ended.stderr
        assert "look-ups a second" in ended.stdout or load(empty / "o").scenario == "tiny"
