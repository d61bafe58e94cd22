"""The commands of the modelled world: ``edgekpi simulate``, ``verify`` and ``serve``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from reports.cli import Commands, Parser, WrongInput, add_output, output_folder, whole
from scenarios.commands import add_scenario, scenario_of

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from sim.serve import StoreUrls

REPLICATIONS = 5
DEFAULT_SERVED = "smoke/tiny"
DEFAULT_PORT = 8787

STORES = {
    "kv": "KV: redis://HOST:PORT/DB (default: memory:, gone with the process)",
    "d1": "D1: sqlite:FILE (default: sqlite::memory:)",
    "queue": "the queue: sqlite:FILE or memory: (default: where D1 is)",
}


def add_to(commands: Commands) -> None:
    """Add this room's commands."""
    _add_simulate(commands.add("simulate", simulate, "answer a scenario in virtual time"))
    _add_verify(commands.add("verify", verify, "compare the simulator's parts with closed forms"))
    _add_serve(
        commands.add("serve", serve, "serve the stack over HTTP, in memory or on real stores")
    )


def simulate(options: argparse.Namespace) -> int:
    """Answer a scenario in virtual time, or several that differ in one value."""
    from reports.tell import tell
    from sim.into_folder import simulate_into

    if options.vary:
        from sim.vary import vary

        return vary(options)
    scenario = scenario_of(options)
    seed = scenario.seed if options.seed is None else options.seed
    out = output_folder(options.out, f"{scenario.name}-simulated")
    notes = []
    if options.warmup:
        scenario, note = _with_found_warmup(scenario, seed + options.replications)
        notes.append(note)
    run = simulate_into(out, scenario, seed, options.replications, options.quiet, notes)
    return tell([run], out, options.json)


def _with_found_warmup(scenario: Scenario, seed: int) -> tuple[Scenario, str]:
    """The scenario with the warm-up that a pilot run under ``seed`` asks for, and a note of it."""
    from sim.prepare import prepare
    from sim.warmup import NoSteadyState, find_warmup_s, with_warmup

    try:
        found_s = find_warmup_s(scenario, seed, prepare(scenario))
    except NoSteadyState as error:
        raise WrongInput(f"--warmup auto: {error}") from None
    return with_warmup(scenario, found_s), f"warm-up of {found_s:.3g} s by MSER-5, seed {seed}"


def verify(options: argparse.Namespace) -> int:
    """Run the parts of the simulator against queueing and cache theory."""
    from reports.progress import Counter
    from sim.verify import experiments
    from sim.verify_tell import tell

    chosen = experiments(precise=options.precise)
    findings = []
    arrivals = sum(experiment.size for experiment in chosen)
    with Counter("verifying", arrivals, quiet=options.quiet) as counter:
        for experiment in chosen:
            findings += experiment.findings(options.seed)
            counter.advance(experiment.size)
    return tell(findings, options.json)


def self_test(options: argparse.Namespace) -> int:
    """Measure the gate's false alarms and its power on runs of our own."""
    from reports.commands import rules_of
    from reports.progress import Counter
    from sim.known_changes import NothingToCatch
    from sim.self_test import measure, replications

    rules = rules_of(options)
    with Counter("simulating", replications(options.pairs), quiet=options.quiet) as counter:
        try:
            found = measure(options.pairs, rules, counter.advance)
        except NothingToCatch as error:
            raise WrongInput(f"--self-test: {error}") from None
    for line in found.lines():
        print(line, file=sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(found.to_json()))
    return found.code


def serve(options: argparse.Namespace) -> int:
    """Serve the stack until it is stopped."""
    from reference_impl.adapters.server import listen
    from reference_impl.adapters.server import serve as serve_app
    from reference_impl.adapters.stores import BadStoreUrl
    from sim.serve import embedded, emulated

    scenario = scenario_of(options)
    token = os.environ.get("EDGEKPI_TOKEN")
    try:
        listening = listen(options.host, options.port)
    except OSError as error:
        raise WrongInput(f"--host {options.host} --port {options.port}: {error.strerror}") from None
    urls = _store_urls(options)
    make_app = emulated(scenario, token) if options.emulate else embedded(scenario, token, urls)
    host, port = listening.getsockname()[:2]

    def ready() -> None:
        print(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)

    if not token:
        print(
            "EDGEKPI_TOKEN is not set: /api/performance/* will refuse everyone, and queue and "
            "memory cannot be measured",
            file=sys.stderr,
        )
    try:
        with suppress(KeyboardInterrupt):  # the usual way to end it
            serve_app(make_app, listening, ready)
    except BadStoreUrl as error:
        raise WrongInput(str(error)) from None
    return 0


def _store_urls(options: argparse.Namespace) -> StoreUrls:
    """The stores of the options, or else of the environment: a URL may hold a password."""
    from sim.serve import StoreUrls

    given = {name: getattr(options, name) for name in STORES}
    if options.emulate and any(given.values()):
        raise WrongInput(
            "--emulate has its stores in the modelled world; leave --kv, --d1, --queue"
        )
    urls = {name: url or os.environ.get(f"EDGEKPI_{name.upper()}") for name, url in given.items()}
    return StoreUrls(urls["kv"] or "memory:", urls["d1"] or "sqlite::memory:", urls["queue"])


def _add_simulate(parser: Parser) -> None:
    add_scenario(parser)
    add_output(parser)
    parser.add_argument("--seed", type=whole(0), metavar="N", help="instead of the scenario's")
    how_many = f"independent runs with seeds SEED, SEED+1, ... (default: {REPLICATIONS})"
    parser.add_argument(
        "--replications", type=whole(1), default=REPLICATIONS, metavar="N", help=how_many
    )
    values = "a line for each value of one setting, under the same seeds, such as l1.ttl_s=5,10,30"
    parser.add_argument("--vary", metavar="PATH=A,B,...", help=values)
    found = "auto: find it by MSER-5 in a pilot run, instead of measure.warmup_s"
    parser.add_argument("--warmup", choices=["auto"], help=found)


def _add_verify(parser: Parser) -> None:
    parser.add_argument("--seed", type=whole(0), default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--precise", action="store_true", help="every mean to 1 %%, at load 0.9 as well"
    )
    parser.add_argument("--json", action="store_true", help="the findings on stdout, as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _add_serve(parser: Parser) -> None:
    whose = f"whose journeys are served (default: {DEFAULT_SERVED})"
    add_scenario(parser, DEFAULT_SERVED, whose)
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="default: 127.0.0.1")
    where = f"default: {DEFAULT_PORT}; 0 takes a free one"
    parser.add_argument(
        "--port", type=whole(0, 65535), default=DEFAULT_PORT, metavar="P", help=where
    )
    for name, what in STORES.items():
        parser.add_argument(f"--{name}", metavar="URL", help=f"{what}; or $EDGEKPI_{name.upper()}")
    in_front = "put the scenario's network, KV, D1 and queue in front"
    parser.add_argument("--emulate", action="store_true", help=in_front)
