"""The page that shows how a Worker tells what it did: its code, run, and its headers, read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from reference_impl.http.evidence_headers import decode
from reference_impl.messages import D1Call, Layer, Lookup

PAGE = (Path(__file__).parents[1] / "docs" / "emit-headers.md").read_text()
TEN_LINES, HANDLER = re.findall(r"^```js\n(.*?)^```", PAGE, re.S | re.M)

WORLD = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
async function handle(request, env, l1, id) {
%s}
const statement = { bind: () => statement, all: async () => { await wait(20); return ROW; } };
const ROW = { results: [{ utm_source: "x" }], meta: { duration: 0.25 } };
const env = (kv) => ({
  EVIDENCE_TOKEN: "t0ken",
  KV: { get: async () => kv },
  DB: { prepare: () => statement },
});
const asking = (headers) => new Request("http://a/", { headers });
const known = { "X-EdgeKPI-Run": "r", "X-EdgeKPI-Token": "t0ken" };
const cases = {
  l1: [known, env(null), new Map([["c", "v"]])],
  kv: [known, env("v"), new Map()],
  d1: [known, env(null), new Map()],
  "no run": [{ "X-EdgeKPI-Token": "t0ken" }, env("v"), new Map()],
  "no token": [{ "X-EdgeKPI-Run": "r" }, env("v"), new Map()],
  "wrong token": [{ ...known, "X-EdgeKPI-Token": "token" }, env("v"), new Map()],
  "no secret": [known, { ...env("v"), EVIDENCE_TOKEN: undefined }, new Map()],
};
const seen = {};
for (const [name, [headers, world, l1]] of Object.entries(cases)) {
  const answer = await handle(asking(headers), world, l1, "c");
  seen[name] = Object.fromEntries(answer.headers);
}
console.log(JSON.stringify(seen));
"""


def test_the_code_is_ten_lines() -> None:
    """As promised, and its brackets match, where no JavaScript engine is there to say so."""
    assert len(TEN_LINES.splitlines()) == 10
    for left, right in ("()", "[]", "{}"):
        assert TEN_LINES.count(left) == TEN_LINES.count(right)


def test_the_worker_tells_whoever_knows_the_token_and_nobody_else(tmp_path: Path) -> None:
    """Run by node: each layer is read back as what it was, D1 with its time and its SQL's."""
    node = shutil.which("node")
    if node is None:  # the brackets have been counted
        return
    script = tmp_path / "worker.mjs"
    script.write_text(TEN_LINES + WORLD % HANDLER)
    done = subprocess.run([node, str(script)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    seen = {name: decode(headers) for name, headers in json.loads(done.stdout).items()}
    assert seen["l1"].lookups == [Lookup("attribution", Layer.L1)]
    assert seen["kv"].lookups == [Lookup("attribution", Layer.KV)]
    assert seen["d1"].lookups == [Lookup("attribution", Layer.MISS)]
    (call,) = seen["d1"].d1
    assert (call.name, call.sql_us) == ("journey", 250)
    assert call.total_us >= 19_000
    for name in ("no run", "no token", "wrong token", "no secret"):
        assert (seen[name].lookups, seen[name].d1) == ([], [])


def test_what_the_page_says_is_read_is_read() -> None:
    """Every example of a header in its table."""
    examples = re.findall(r"`((?:Cache-Status|Server-Timing): [^`]+)`", PAGE)
    read = [decode(dict([example.lower().split(": ", 1)])) for example in examples]
    layers = [lookup.layer for evidence in read for lookup in evidence.lookups]
    assert layers == [Layer.L1, Layer.KV, Layer.MISS, Layer.JOINED]
    assert [call for evidence in read for call in evidence.d1] == [D1Call("journey", 12_500, 300)]
    assert [evidence.cpu_us for evidence in read if evidence.cpu_us] == [1900]
