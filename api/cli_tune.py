"""``autosched tune``: the fastest schedule, from the store if a search was finished before, else by searching."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from .cli import MISSED
from .cli_function import method_from_text
from .cli_progress import Notes, open_progress, print_event
from .cli_report import failures_text, missed_text, report, so_far_text
from .cli_request import allow_option, layers_options, read_request, request_options
from .question import (
    FORGET,
    LOOKUP,
    LOOKUP_OR_DEFAULT,
    LOOKUP_OR_TUNE,
    POLICIES,
    NothingMeasuredError,
    Question,
    default_answer,
    search_failures,
)
from .search.budget import EFFORTS, budget_of
from .search.methods import METHODS, check_method
from .spec.errors import SpecError
from .store.keys import task_key
from .store.layers import Layers
from .store.match import EXACT
from .store.tools import DRIFTS, TRUST
from .tuning import devices_of

if TYPE_CHECKING:
    from .result import Answer, Result
    from .search.devices import Devices
    from .search.methods import Method
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
@allow_option
@layers_options
@click.option(
    "--policy",
    type=click.Choice(POLICIES),
    default=LOOKUP_OR_TUNE,
    show_default=True,
    help="Never measure; the model's schedule if nothing is known; search if needed; search anew; forget it all.",
)
@click.option(
    "--drift",
    type=click.Choice(DRIFTS),
    default=TRUST,
    show_default=True,
    help="A time taken with other tools than today's: serve it, time it again, search anew.",
)
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
    allow: tuple[str, ...],
    store: Store,
    project: str | None,
    server: str | None,
    policy: str,
    drift: str,
    tracker: str | None,
    rpc_key: str | None,
    output: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Find the fastest schedule of a task, at once if it was searched for before.

    \b
    autosched tune gemm N=1024 K=1024 M=1024
    autosched tune my_file.py:my_te_function 1024 1024
    autosched tune --spec received.json
    autosched tune gemm N=1024 K=1024 M=1024 --policy retune
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
    question = Question(
        request.task,
        Layers(store=store, project=project, server=server),
        budget,
        policy=policy,
        drift=drift,
        starts=() if request.schedule is None else (request.schedule,),
        allow=allow,
        devices=devices,
    )
    if policy == FORGET:
        return forget(question)
    notes = Notes()
    result: Answer | None = question.best() if policy in (LOOKUP, LOOKUP_OR_DEFAULT) else question.known()
    if result is None and policy == LOOKUP:
        click.echo(missed_text(request, store, EXACT), err=True)
        return MISSED
    if result is None and policy == LOOKUP_OR_DEFAULT:
        result = default_answer(question.task, question.layers, question.machine)
    elif result is None:
        result = search(question, notes, quiet=quiet, method=found_method, seed=seed)
    if output is not None:
        from .sharing import save_spec

        save_spec(result, output)
    report(request, result, store, as_json, begin, notes=notes, machine=question.machine)
    return 0


def forget(question: Question) -> int:
    """Removes all that the store knows of a task, and says how much that was."""
    store = question.layers.store
    count = store.delete_task(question.task)
    click.echo(f"forgotten: {count} record{'s' * (count != 1)} of task {task_key(question.task)[:12]} in {store.path}")
    return 0


def search(question: Question, notes: Notes, *, quiet: bool, method: Method, seed: int) -> Result:
    """Searches, and says at the end how many trials failed; after Ctrl-C also what there is so far."""
    try:
        with open_progress(quiet) as watch:
            result = question.search(method=method, seed=seed, watch=notes.beside(watch))
    except (KeyboardInterrupt, NothingMeasuredError) as error:
        if not quiet:
            tell_failures(question)
        if not quiet and isinstance(error, KeyboardInterrupt):
            click.echo(so_far_text(question.best(), question.state()), err=True)
        raise
    if not quiet:
        tell_failures(question)
    return result


def tell_failures(question: Question) -> None:
    """Prints the table of failures for people, if there are any."""
    failures = search_failures(question.task, question.layers.store, question.machine)
    if failures:
        click.echo(failures_text(failures, question.state()), err=True)


def _devices(tracker: str | None, key: str | None, quiet: bool) -> Devices | None:
    """The devices of ``--rpc`` and ``--rpc-key``; None where they are not given."""
    if tracker is None and key is None:
        return None
    if tracker is None or key is None:
        raise SpecError(f"found --rpc{'' if tracker else '-key'} alone; give both --rpc HOST:PORT and --rpc-key KEY")
    from .search.tracker import remote_from_text

    return devices_of(remote_from_text(tracker, key), None if quiet else print_event)
