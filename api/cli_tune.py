"""``autosched tune``: the fastest schedule, from the store if a search was finished before, else by searching."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_progress import Notes, open_progress
from .cli_report import failures_text, result_json, result_text, so_far_text
from .cli_request import read_request, request_options, store_option
from .search.budget import Budget
from .search.methods import METHODS, check_method
from .spec.errors import SpecError
from .tuning import NothingMeasuredError, finished, lookup, search_failures, searched

if TYPE_CHECKING:
    from .cli_request import Request
    from .result import Result
    from .spec.task import Task
    from .store.store import Store


@click.command()
@request_options
@click.option("--trials", type=click.IntRange(min=1), default=64, show_default=True, metavar="N", help="In all.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Stop after so long.")
@click.option("--method", default="auto", show_default=True, metavar="M", help=", ".join(METHODS) + ".")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of all that is left to chance.")
@store_option
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
    trials: int,
    seconds: float | None,
    method: str,
    seed: int,
    store: Store,
    output: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find the fastest schedule of a task, at once if it was searched for before.

    \b
    autosched tune gemm N=1024 K=1024 M=1024
    autosched tune my_file.py:my_te_function 1024 1024
    autosched tune --spec received.json
    """  # noqa: D301 # click's mark for lines to keep is the character itself
    begin = time.perf_counter()
    budget = Budget(trials=trials, seconds=seconds)
    check_method(method)
    if output is not None and not Path(output).expanduser().parent.is_dir():
        raise SpecError(f"found no folder for {output!r}; make it first, or name another file", "--output")
    request = read_request(what, spec_path, target, threads, constants)
    starts = () if request.schedule is None else (request.schedule,)
    result = finished(request.task, store, budget, starts)
    notes = Notes()
    if result is None:
        options: dict[str, Any] = {"method": method, "seed": seed, "starts": starts}
        result = search(request.task, store, budget, notes, quiet=quiet, **options)
    if output is not None:
        from .sharing import save_spec

        save_spec(result, output)
    report(request, result, store, as_json, begin, notes=notes)


def search(task: Task, store: Store, budget: Budget, notes: Notes, *, quiet: bool, **options: Any) -> Result:
    """Searches, and says at the end how many trials failed; after Ctrl-C also what there is so far."""
    try:
        with open_progress(quiet) as watch:
            result = searched(task, store, budget, watch=notes.beside(watch), **options)
    except (KeyboardInterrupt, NothingMeasuredError) as error:
        if not quiet:
            tell_failures(task, store)
        if not quiet and isinstance(error, KeyboardInterrupt):
            click.echo(so_far_text(lookup(task, store), store.search_state(task)), err=True)
        raise
    if not quiet:
        tell_failures(task, store)
    return result


def tell_failures(task: Task, store: Store) -> None:
    """Prints the table of failures for people, if there are any."""
    failures = search_failures(task, store)
    if failures:
        click.echo(failures_text(failures, store.search_state(task)), err=True)


def report(
    request: Request, result: Result, store: Store, as_json: bool, begin: float, *, notes: Notes | None = None
) -> None:
    """Prints a result for programs or for people; `notes` are those of a search, where there was one."""
    state = store.search_state(request.task)
    if as_json:
        failures = search_failures(request.task, store)
        wall_s = time.perf_counter() - begin
        click.echo(
            result_json(request, result, state=state, failures=failures, wall_s=wall_s, notes=notes or Notes()),
            nl=False,
        )
    else:
        click.echo(result_text(request, result, state))
