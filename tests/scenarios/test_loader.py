"""The loader: every problem at once with its place, overrides, and finding scenarios."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from scenarios.loader import MAX_BYTES, ScenarioError, bundled, find, load

ROOT = Path(__file__).parents[2]


def problems(text: str, *overrides: str) -> list[str]:
    """What is wrong with a scenario text."""
    with pytest.raises(ScenarioError) as caught:
        load(text, overrides)
    return caught.value.problems


def test_two_typos_and_a_negative_rate(tmp_path: Path) -> None:
    """Three messages, each with its line and a hint."""
    path = tmp_path / "bad.yaml"
    path.write_text(
        "name: bad\n"
        "workload:\n"
        "  attribution:\n"
        "    rate_per_s: -5\n"
        "    modle: linear\n"
        "mesure: {window_s: 10}\n"
    )
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert caught.value.problems == [
        f"{path}:4: workload.attribution.rate_per_s: "
        "expected a number greater than or equal to 0, got -5",
        f"{path}:5: workload.attribution.modle: unknown field; did you mean 'model'?",
        f"{path}:6: mesure: unknown field; did you mean 'measure'?",
    ]
    assert str(caught.value) == "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: '1'\n", "1: seed: expected a valid integer, got '1'"),
        ("seed: true\n", "1: seed: expected a valid integer, got true"),
        ("seed:\n", "1: seed: expected a valid integer, got nothing"),
        ("client: 5\n", "1: client: expected fields with values, got 5"),
        ("edge: {nodes: {a: 1}}\n", "1: edge.nodes: expected a list, got fields with values"),
        ("kpis: {limits: [1]}\n", "1: kpis.limits: expected fields with values, got a list"),
        ("name: A b\n", "1: name: expected lower-case letters, digits, - and _ only, got 'A b'"),
        ("client:\n  rtt_ms: {p50: 3}\n", "2: client.rtt_ms.p99: this field is missing"),
        (
            "measure: {start: colt}\n",
            "1: measure.start: expected 'steady' or 'cold', got 'colt'; did you mean 'cold'?",
        ),
        (
            "edge:\n  nodes:\n    - {name: a, regoin: weur}\n",
            "3: edge.nodes.0.regoin: unknown field; did you mean 'region'?",
        ),
        (
            "kv:\n  expiration_ttl_s:\n    atribution: 60\n",
            "3: kv.expiration_ttl_s.atribution: "
            "'atribution' is no cache type; did you mean 'attribution'?",
        ),
        (
            "kpis:\n  limits:\n    d1_query_p95: {taget: 1, target: 1, alert: 2}\n",
            "3: kpis.limits.d1_query_p95.taget: unknown field; did you mean 'target'?",
        ),
        ("zzzz: 1\n\n", "1: zzzz: unknown field; known: name, description, seed, measure"),
        ("seed: 010\n", "1: seed: '010' is not a plain decimal number"),
        ("seed: 1\nseed: 2\n", "2: seed: given twice, first on line 1"),
        ("d1: {metro: x}\n", "1: d1.metro: 'x' must name an edge node (fra)"),
    ],
)
def test_messages(text: str, message: str) -> None:
    """One mistake gives one message: place, field, what was expected."""
    (problem,) = problems(text)
    assert problem.startswith(f"<text>:{message}")


def test_problems_come_in_the_order_of_lines() -> None:
    """Problems of reading and of meaning are told together, top down."""
    found = problems("seed: -1\nname: on\nkv: {cache_ttl_s: 5}\n", "data.seed=-1", "nonsense")
    assert [problem.split(" ")[0] for problem in found] == [
        "<text>:1:",
        "<text>:2:",
        "<text>:3:",
        "--set",
        "--set",
    ]


def test_overrides_win_over_the_file() -> None:
    """Scalars, entries of lists, and fields the file does not name."""
    scenario = load(
        "edge:\n  nodes:\n    - {name: a, share: 0.5}\n    - {name: b, share: 0.5}\nseed: 1\n",
        [
            "seed=9",
            "edge.nodes.1.region=enam",
            "client.rtt_ms.p50=20",
            "kv.expiration_ttl_s.attribution=60",
            "d1.drop_indexes=[idx_attribution_source]",
            "name=quick",
        ],
    )
    assert scenario.seed == 9
    assert [node.region for node in scenario.edge.nodes] == ["weur", "enam"]
    assert (scenario.client.rtt_ms.p50, scenario.client.rtt_ms.p99) == (20, 82)
    assert scenario.kv.expiration_ttl_s["attribution"] == 60
    assert scenario.d1.drop_indexes == ("idx_attribution_source",)
    assert scenario.name == "quick"


def test_an_override_reaches_into_defaults() -> None:
    """Entries of a list that the file does not give can be set too."""
    assert load("seed: 1\n", ["edge.nodes.0.name=ams"]).edge.nodes[0].name == "ams"


def test_an_override_mends_the_file() -> None:
    """A value that is replaced is not complained about."""
    assert load("seed: 010\nname: x\n", ["seed=8"]).seed == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "seed: expected path=value"),
        ("=1", "=1: expected path=value"),
        ("seed=1e3", "seed: '1e3': write 1000 instead"),
        ("seed=-1", "seed: expected a number greater than or equal to 0, got -1"),
        ("sed=1", "sed: unknown field; did you mean 'seed'?"),
        (
            "workload.trackng.rate_per_s=1",
            "workload.trackng.rate_per_s: unknown field 'trackng'; d",
        ),
        ("edge.nodes.3.share=1", "edge.nodes.3.share: there is no such place"),
        ("seed.x=1", "seed.x: there is no such place"),
        ("l1={ttl_s: 0}", "l1: ttl_s: expected a number greater than or equal to 1, got 0"),
        ("queue.send_ms.p50=9000", "queue.send_ms.p50: p99 (250) must be at least p50 (9000)"),
        ("name=[a", "name: not YAML"),
    ],
)
def test_wrong_overrides(override: str, message: str) -> None:
    """A wrong override is told by its path."""
    (problem,) = problems("description: x\nseed: 1\n", override)
    assert problem.startswith(f"--set {message}")


@pytest.mark.parametrize(
    "name", ["steady/baseline", "steady/baseline.yaml", "scenarios/steady/baseline.yaml"]
)
def test_bundled_scenarios_are_found_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The three spellings work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    assert find(name).is_file()
    assert load(name).name == "baseline"


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path wins over a bundled scenario."""
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "steady" / "baseline.yaml"
    own.parent.mkdir()
    own.write_text("name: mine\n")
    assert load("steady/baseline.yaml").name == "mine"


def test_a_missing_file_names_the_bundled_ones() -> None:
    """Whoever mistypes a name sees what there is."""
    with pytest.raises(ScenarioError) as caught:
        find("../../steady/nope.yaml")
    (problem,) = caught.value.problems
    assert problem.startswith("../../steady/nope.yaml: no such file; bundled scenarios: ")
    assert all(name in problem for name in bundled())


def test_unreadable_files(tmp_path: Path) -> None:
    """Too long or not UTF-8: one sentence, no traceback."""
    long, binary = tmp_path / "long.yaml", tmp_path / "binary.yaml"
    long.write_bytes(b"#" * (MAX_BYTES + 1))
    binary.write_bytes(b"name: a\ndescription: \xff\n")
    with pytest.raises(ScenarioError, match=r"long\.yaml:1: the file is longer than 1 MiB"):
        load(long)
    with pytest.raises(ScenarioError, match=r"binary\.yaml:2: the file is not UTF-8 text"):
        load(binary)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: bom\n")
    assert load(path).name == "bom"


def test_the_error_can_cross_a_process() -> None:
    """It is rebuilt from its positional arguments."""
    error = ScenarioError(["a", "b"])
    assert pickle.loads(pickle.dumps(error)).problems == ["a", "b"]


@pytest.mark.parametrize("name", bundled())
def test_bundled_scenarios_are_valid(name: str) -> None:
    """Each loads, bears its file's name, and says what it is for."""
    scenario = load(name)
    assert scenario.name == name.split("/")[1]
    assert scenario.description


def test_the_four_shipped_scenarios() -> None:
    """The scenarios that the documentation names exist."""
    assert {"steady/baseline", "smoke/tiny", "negative/no_index", "negative/short_ttl"} <= set(
        bundled()
    )


def test_bundled_scenarios_keep_the_platform_facts() -> None:
    """None bends a latency law or the cost of a statement to meet, or to miss, a target."""
    for name in bundled():
        assert not re.search(r"_ms:|cost:", find(name).read_text()), name
