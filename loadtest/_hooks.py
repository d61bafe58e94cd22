"""Where the load test meets Locust: one listener for each moment, and the exit code.

Locust's own order of exit codes is ``environment.process_exit_code``, else errors, else crashed
listeners, else 0. Ours is 22 from the first moment and becomes the verdict's once the record is
written. It is set again by the last event of all and, in case that a listener has ended the process
in its own way, once more when the interpreter ends.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import uuid
from typing import Any

import gevent
import locust.log
import locust.stats
from locust.runners import MasterRunner, WorkerRunner

from loadtest._client import Answer
from loadtest._crew import Alone, Crew, WorkerFailed
from loadtest._dry_run import DryRun
from loadtest._finish import finish
from loadtest._forecast import forecast
from loadtest._foreign import is_foreign
from loadtest._generator import OnRequest
from loadtest._guard import Refused
from loadtest._master import KINDS, Workers
from loadtest._messages import Message
from loadtest._options import add_arguments, prepare
from loadtest._progress import follow
from loadtest._run import Run
from loadtest._setup import Setup
from loadtest._web import add_tab
from loadtest._worker import Worker
from loadtest._workload import Workload, workload_of
from reports.cli import NOT_VALID, WRONG_INPUT
from reports.table import make_console, print_runs

APPROXIMATE = (
    "Locust's own table and files are approximate: times rounded to three digits, and nothing of "
    "intended starts; the verdict and the report rest on neither"
)

logger = logging.getLogger(__name__)


def register(events: Any) -> None:
    """Add the listeners, once: Locust may execute a locustfile under two names."""
    if getattr(events, "edgekpi", None) is not None:
        return
    events.edgekpi = load_test = LoadTest()
    atexit.register(load_test.insist)  # runs last: whoever registers later runs before
    events.init_command_line_parser.add_listener(lambda parser, **_: add_arguments(parser))
    events.init.add_listener(load_test.on_init)
    events.quit.add_listener(load_test.on_quit)


class LoadTest:
    """All runs of one Locust process: one when headless, any number from the web UI."""

    def __init__(self) -> None:
        self.code: int | None = None  # nothing to insist on before there is an environment
        self._setup: Setup | None = None
        self._run: Run | None = None
        self._crew: Crew | None = None
        self._latest: Run | None = None
        self._announced = False
        self._worker: Worker | None = None
        self._progress: gevent.Greenlet[..., None] | None = None

    def on_init(self, environment: Any, runner: Any, **_: Any) -> None:
        """Check all input, and take from Locust what the plan decides.

        Listeners to the end are added here: they then run before the runner's own, which would
        close the connection to the workers.
        """
        self.code = environment.process_exit_code = NOT_VALID
        try:
            _hush(environment.parsed_options)
            if isinstance(runner, WorkerRunner):
                self._be_worker(environment)
            else:
                self._be_in_charge(environment)
        except Refused as refusal:
            _say_refused(refusal)
            self.code = WRONG_INPUT
            sys.exit(WRONG_INPUT)
        except Exception:
            logger.exception("the load test could not be prepared")
            sys.exit(NOT_VALID)

    def _be_worker(self, environment: Any) -> None:
        self._worker = worker = Worker(environment, _teller(environment), _crashed)
        environment.events.test_start.add_listener(worker.on_test_start)
        environment.events.test_stopping.add_listener(worker.stop_and_wait)
        environment.events.quitting.add_listener(self._on_worker_quitting)

    def _be_in_charge(self, environment: Any) -> None:
        self._setup = prepare(environment.parsed_options, environment.host)
        if environment.parsed_options.dry_run:
            self._try_out(self._setup)
        if isinstance(environment.runner, MasterRunner):
            for kind in KINDS:
                environment.runner.register_message(kind, self._on_message)
        environment.events.test_start.add_listener(self.on_test_start)
        environment.events.test_stopping.add_listener(self.on_test_stopping)
        environment.events.quitting.add_listener(self.on_quitting)
        if environment.web_ui is not None:
            add_tab(environment.web_ui, lambda: self._latest.units() if self._latest else [])
        self._interrupt = gevent.signal_handler(signal.SIGINT, self._on_interrupt, environment)

    def _try_out(self, setup: Setup) -> None:
        """Send one request of each kind, show them, and leave."""
        dry_run = DryRun(workload_of(setup))
        for line in dry_run.lines():
            print(line, flush=True)
        self.code = dry_run.code
        sys.exit(self.code)

    def on_test_start(self, environment: Any, **_: Any) -> None:
        """Start the plan. A test that cannot start is ended, or Locust would wait for ever."""
        try:
            self._start(environment)
        except Refused as refusal:
            _say_refused(refusal)
            self.code = WRONG_INPUT
            gevent.spawn(_end, environment)
        except WorkerFailed as failure:
            logger.error(failure)
            gevent.spawn(_end, environment)
        except Exception:
            logger.exception("the load test could not be started")
            gevent.spawn(_end, environment)

    def on_test_stopping(self, **_: Any) -> None:
        """The stop button, or any other end that is not the plan's."""
        self._stop("stopped before the end of the plan")

    def on_quitting(self, environment: Any, **_: Any) -> None:
        """The process ends, on a signal perhaps."""
        self._stop("ended before the end of the plan")
        environment.process_exit_code = self.code

    def on_quit(self, exit_code: int, **_: Any) -> None:
        """The last word: after all other output, and with our code whoever has changed it."""
        self._announce()
        if self.code is not None and exit_code != self.code:
            sys.exit(self.code)

    def insist(self) -> None:
        """Leave with our code, whatever else has ended the process."""
        if self.code is not None:
            self._announce()
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.code)

    def _on_worker_quitting(self, environment: Any, **_: Any) -> None:
        assert self._worker is not None
        self._worker.stop_and_wait()
        self.code = environment.process_exit_code = self._worker.code

    def _on_message(self, msg: Any, **_: Any) -> None:
        """A worker's message, for the crew of the latest run."""
        if isinstance(self._crew, Workers):
            self._crew.tell(msg)

    def _start(self, environment: Any) -> None:
        assert self._setup is not None  # Locust fires init first and stops if it fails
        if environment.host != self._setup.given_host:  # the web UI has a field for it
            self._setup = prepare(environment.parsed_options, environment.host)
        self.code = NOT_VALID
        locust.log.unhandled_greenlet_exception = False  # of an earlier run
        if is_foreign(self._setup.targets) and not self._setup.quiet:
            for line in forecast(self._setup):
                print(f"edgekpi: {line}", file=sys.stderr, flush=True)
        workload, run_id = workload_of(self._setup), uuid.uuid4().hex[:12]
        self._crew = _crew_of(environment, workload, run_id)
        self._announced = False
        self._run = self._latest = run = Run(workload, run_id, self._crew, finish, _crashed)
        self._progress = None if self._setup.quiet else follow(run)
        run.start(lambda: self._ended(run, environment))

    def _stop(self, reason: str) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.stop(reason)

    def _ended(self, run: Run, environment: Any) -> None:
        """Runs last in the run's own greenlet, after its record is written or has failed to be."""
        by_itself, self._run = self._run is run, None
        self.code = NOT_VALID if run.result is None else run.result.verdict.code
        if self._progress is not None:
            self._progress.kill()
        if not environment.parsed_options.headless:
            self._announce()
        if by_itself:  # else whoever ended it is ending the rest
            _end(environment)

    def _announce(self) -> None:
        """Print the result of the last run, unless that has been done."""
        run, announced, self._announced = self._latest, self._announced, True
        if run is None or announced or run.setup.quiet:
            return
        if run.result is None:
            print("22 not valid all KPIs: no record was written; see the messages above")
            return
        print_runs([run.result], make_console(sys.stdout))
        print(f"\nReport: {run.setup.out / 'report.html'}")
        print(run.result.verdict.last_line, flush=True)

    def _on_interrupt(self, environment: Any) -> None:
        """Ctrl-C, once; a second one ends the process at once."""
        self._interrupt.cancel()
        self._stop("interrupted")
        if environment.web_ui is not None:
            environment.web_ui.stop()
        else:
            environment.runner.quit()


def _hush(options: Any) -> None:
    """Keep Locust from drowning or contradicting the result."""
    options.only_summary = True
    # Locust rounds to two digits: 99.5 to 105 ms would be one number, right at our limit.
    locust.stats.bucket_response_time = _three_digits
    if not options.print_stats:
        logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)
    if options.print_stats or options.html_file or options.csv_prefix or options.json_file:
        logger.warning(APPROXIMATE)
    if options.loglevel == "INFO":
        for name in ("locust.main", "locust.runners"):
            logging.getLogger(name).setLevel(logging.WARNING)


def _three_digits(response_time: float) -> int:
    """A time in ms to three significant digits."""
    rounded = round(response_time)
    return round(rounded, 3 - len(str(rounded)))


def _crashed() -> bool:
    """Whether a listener or a greenlet has raised: Locust goes on as if nothing had happened."""
    return bool(locust.log.unhandled_greenlet_exception)


def _crew_of(environment: Any, workload: Workload, run_id: str) -> Crew:
    """Who sends: the workers of a master, or this process."""
    if isinstance(environment.runner, MasterRunner):
        return Workers(environment.runner, workload, run_id)
    return Alone(workload, run_id, _teller(environment))


def _teller(environment: Any) -> OnRequest:
    """What tells Locust's own statistics (for its web UI) of each request."""

    def tell(message: Message, latency_us: int, answer: Answer | None, failure: str | None) -> None:
        environment.events.request.fire(
            request_type=message.method,
            name=message.name,
            response_time=latency_us / 1000,
            response_length=0 if answer is None else len(answer.body),
            exception=None if failure is None else RequestFailed(failure),
            context={},
        )

    return tell


class RequestFailed(Exception):
    """How a failure looks in Locust's own table."""


def _say_refused(refusal: Refused) -> None:
    for problem in refusal.problems:
        print(problem, file=sys.stderr, flush=True)


def _end(environment: Any) -> None:
    """End the test; headless, and with ``--autoquit``, the process too."""
    options = environment.parsed_options
    if options.headless:
        environment.runner.quit()
        return
    environment.runner.stop()
    if options.autostart and options.autoquit != -1:
        gevent.sleep(options.autoquit)
        environment.runner.quit()
        environment.web_ui.stop()
