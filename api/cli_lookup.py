"""``autosched lookup``: what the store knows of a task; exit status 3 where it knows nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from .cli import MISSED
from .cli_report import missed_text, report
from .cli_request import Request, allow_option, layers_options, read_request, request_options
from .spec.errors import SpecError
from .store.match import EXACT, MATCHES
from .store.tools import DRIFTS, TRUST
from .tuning import lookup as look_up

if TYPE_CHECKING:
    from .store.store import Store


match_option = click.option(
    "--match",
    type=click.Choice(MATCHES),
    default=EXACT,
    show_default=True,
    help="The farthest machine whose schedules will do.",
)
drift_option = click.option(
    "--drift",
    type=click.Choice(DRIFTS),
    default=TRUST,
    show_default=True,
    help="Times taken with other tools than today's: serve them, serve them as claims, do not serve them.",
)


@click.command()
@request_options
@click.option("--key", metavar="KEY", help="A task's key, or its beginning, instead of the task.")
@allow_option
@layers_options
@match_option
@drift_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def lookup(
    *,
    what: tuple[str, ...],
    spec_path: str | None,
    target: str | None,
    constants: tuple[str, ...],
    threads: int | None,
    key: str | None,
    allow: tuple[str, ...],
    store: Store,
    project: str | None,
    server: str | None,
    match: str,
    drift: str,
    as_json: bool,
) -> int:
    """What the store knows of a task on this machine. Exit status 0 is a hit, 3 a miss. Never measures.

    \b
    autosched lookup gemm N=1024 K=1024 M=1024
    autosched lookup --key 3f2a9c
    autosched lookup gemm N=1024 K=1024 M=1024 --match isa
    """  # noqa: D301 # click's mark for lines to keep is the character itself
    begin = time.perf_counter()
    if key is not None:
        if what or spec_path is not None or target is not None or constants or threads is not None:
            raise SpecError("found --key and a task; give one of them")
        task = store.task(key)
        if task is None:
            click.echo(f"miss: no task with key {key} in {store.path}", err=True)
            return MISSED
        request = Request(task=task, name=task.op.name if task.op else None, words=())
    else:
        request = read_request(what, spec_path, target, threads, constants)
    result = look_up(request.task, store, allow=allow, project=project, server=server, match=match, drift=drift)
    if result is None:
        click.echo(missed_text(request, store, match), err=True)
        return MISSED
    report(request, result, store, as_json, begin)
    return 0
