"""``autosched record-space``: measures many schedules of a task into a file, for searching without hardware."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import click

from .cli_report import duration
from .cli_request import read_request, request_options
from .spec.claim import Protocol
from .spec.errors import MeasureError
from .ways import algorithms_of

if TYPE_CHECKING:
    from .search.recording import Trial


@click.command("record-space")
@request_options
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write, or to go on writing.")
@click.option("--points", type=click.IntRange(min=1), default=512, show_default=True, metavar="N", help="In all.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of what is drawn.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def record_space(
    *,
    what: tuple[str, ...],
    spec_path: str | None,
    target: str | None,
    constants: tuple[str, ...],
    threads: int | None,
    output: str,
    points: int,
    seed: int,
    quiet: bool,
) -> None:
    """Measure the default, then schedules drawn and looked for, a line each; a second call goes on with the file.

    \b
    autosched record-space gemm N=256 K=256 M=256 -o gemm.space
    """  # noqa: D301 # click's mark for lines to keep is the character itself
    request = read_request(what, spec_path, target, threads, constants)

    from .search.measurable import check_measurable
    from .search.measure import Measurer
    from .search.recording import FailedTrial, Heading
    from .search.recording import record_space as record
    from .search.space import Space
    from .store.machine import this_machine

    check_measurable(request.task)
    protocol = Protocol(threads=request.task.threads)
    algorithms = algorithms_of(request.task)
    heading = Heading(task=request.task, machine=this_machine(), protocol=protocol, algorithms=algorithms)
    space = Space(request.task, heading.machine, algorithms=algorithms)

    def watch(number: int, trial: Trial) -> None:
        if not quiet:
            click.echo(f"{number}/{points}  {_said(trial)}", err=True)

    with Measurer(request.task, protocol) as bench:
        recording = record(space, heading, output, points, bench=bench, seed=seed, watch=watch)
    failed = sum(isinstance(trial, FailedTrial) for trial in recording.trials)
    if failed == len(recording.trials):
        raise MeasureError(f"nothing could be measured: all {failed} trials failed; {output} says why")
    click.echo(f"{output}: {len(recording.trials)} schedules of {request.text}, {failed} of them failed")


def _said(trial: Trial) -> str:
    from .search.recording import FailedTrial

    if isinstance(trial, FailedTrial):
        return f"{trial.failure.kind}: {' '.join(trial.failure.detail.split())[:160]}"
    return duration(statistics.median(trial.samples_s))
