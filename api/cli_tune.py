"""``autosched tune``: the fastest schedule, from the store if a search was finished before, else by searching."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from .cli_function import method_from_text
from .cli_progress import Notes, open_progress, print_event
from .cli_report import failures_text, result_json, result_text, so_far_text
from .cli_request import read_request, request_options, store_option
from .search.budget import EFFORTS, budget_of
from .search.methods import METHODS, check_method
from .spec.errors import SpecError
from .tuning import NothingMeasuredError, devices_of, finished, lookup, machine_of, search_failures, searched

if TYPE_CHECKING:
    from .cli_request import Request
    from .result import Result
    from .search.budget import Budget
    from .search.devices import Devices
    from .spec.claim import Machine
    from .spec.task import Task
    from .store.store import Store


@click.command()
@request_options
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="In all; default: 64.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Stop after so long.")
@click.option("--early-stopping", is_flag=True, help="Stop when half of all trials, at least 24, improved nothing.")
@click.option("--effort", metavar="E", help="Instead of these: " + ", ".join(EFFORTS) + ".")
@click.option(
    "--method", default="auto", show_default=True, metavar="M", help=", ".join(METHODS) + "; FILE.py:FUNCTION."
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of all that is left to chance.")
@store_option
@click.option("--rpc", "tracker", metavar="HOST:PORT", help="Measure on devices of this TVM RPC tracker.")
@click.option("--rpc-key", "rpc_key", metavar="KEY", help="The key of the devices, all of one kind.")
@click.option("-o", "--output", metavar="FILE", help="Also write the spec file of what was found.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def tune(
    *,
    what: tuple[str, ...],
    spec_path: str | None,
    target: str | None,
    constants: tuple[str, ...],
    threads: int | None,
    trials: int | None,
    seconds: float | None,
    early_stopping: bool,
    effort: str | None,
    method: str,
    seed: int,
    store: Store,
    tracker: str | None,
    rpc_key: str | None,
    output: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find the fastest schedule of a task, at once if it was searched for before.

    \b
    autosched tune gemm N=1024 K=1024 M=1024
    autosched tune my_file.py:my_te_function 1024 1024
    autosched tune --spec received.json
    autosched tune gemm N=1024 K=1024 M=1024 --method my_search.py:my_strategy
    autosched tune gemm N=1024 K=1024 M=1024 --rpc 192.168.1.5:9190 --rpc-key board
    """  # noqa: D301 # click's mark for lines to keep is the character itself
    begin = time.perf_counter()
    budget = budget_of(trials, seconds, early_stopping, effort)
    found_method = method_from_text(method)
    check_method(found_method)
    if output is not None and not Path(output).expanduser().parent.is_dir():
        raise SpecError(f"found no folder for {output!r}; make it first, or name another file", "--output")
    request = read_request(what, spec_path, target, threads, constants)
    devices = _devices(tracker, rpc_key, quiet)
    if devices is not None and threads is None and spec_path is None:
        request = attrs.evolve(request, task=attrs.evolve(request.task, threads=devices.cores))
    starts = () if request.schedule is None else (request.schedule,)
    machine = machine_of(devices)
    result = finished(request.task, store, budget, starts, machine)
    notes = Notes()
    if result is None:
        options: dict[str, Any] = {"method": found_method, "seed": seed, "starts": starts, "devices": devices}
        result = search(request.task, store, budget, notes, quiet=quiet, **options)
    if output is not None:
        from .sharing import save_spec

        save_spec(result, output)
    report(request, result, store, as_json, begin, notes=notes, machine=machine)


def search(
    task: Task, store: Store, budget: Budget, notes: Notes, *, quiet: bool, devices: Devices | None, **options: Any
) -> Result:
    """Searches, and says at the end how many trials failed; after Ctrl-C also what there is so far."""
    machine = machine_of(devices)
    try:
        with open_progress(quiet) as watch:
            result = searched(task, store, budget, watch=notes.beside(watch), devices=devices, **options)
    except (KeyboardInterrupt, NothingMeasuredError) as error:
        if not quiet:
            tell_failures(task, store, machine)
        if not quiet and isinstance(error, KeyboardInterrupt):
            click.echo(so_far_text(lookup(task, store, machine=machine), store.search_state(task, machine)), err=True)
        raise
    if not quiet:
        tell_failures(task, store, machine)
    return result


def tell_failures(task: Task, store: Store, machine: Machine | None) -> None:
    """Prints the table of failures for people, if there are any."""
    failures = search_failures(task, store, machine)
    if failures:
        click.echo(failures_text(failures, store.search_state(task, machine)), err=True)


def _devices(tracker: str | None, key: str | None, quiet: bool) -> Devices | None:
    """The devices of ``--rpc`` and ``--rpc-key``; None where they are not given."""
    if tracker is None and key is None:
        return None
    if tracker is None or key is None:
        raise SpecError(f"found --rpc{'' if tracker else '-key'} alone; give both --rpc HOST:PORT and --rpc-key KEY")
    from .search.tracker import remote_from_text

    return devices_of(remote_from_text(tracker, key), None if quiet else print_event)


def report(
    request: Request,
    result: Result,
    store: Store,
    as_json: bool,
    begin: float,
    *,
    notes: Notes | None = None,
    machine: Machine | None = None,
) -> None:
    """Prints a result for programs or for people.

    `notes` are those of a search, where there was one; the machine is this one where none is given.
    """
    state = store.search_state(request.task, machine)
    if as_json:
        failures = search_failures(request.task, store, machine)
        wall_s = time.perf_counter() - begin
        click.echo(
            result_json(request, result, state=state, failures=failures, wall_s=wall_s, notes=notes or Notes()),
            nl=False,
        )
    else:
        click.echo(result_text(request, result, state))
