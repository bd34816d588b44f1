"""``autosched show`` and ``autosched check``: what is in spec files. Nothing in a file is ever run or imported."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import click

from .cli import BAD_INPUT
from .cli_report import counted, duration
from .cli_request import read_spec
from .spec.errors import SpecError, escaped

if TYPE_CHECKING:
    from .spec.claim import Claim
    from .spec.spec_file import SpecFile


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--cost", is_flag=True, help="Also what the analytic model reckons: steps, bytes touched, seconds here.")
def show(path: str, *, cost: bool) -> None:
    """Print the loops of a spec file, and what it claims, for people."""
    from .spec.show import text_from_schedule

    spec = read_spec(path)
    click.echo(text_from_schedule(spec.schedule, spec.task))
    if cost:
        from .cli_cost import text_from_costs

        click.echo()
        click.echo(text_from_costs(spec))
    if spec.claims:
        click.echo()
    for claim in spec.claims:
        click.echo(claim_text(claim))


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
def check(paths: tuple[str, ...]) -> int:
    """Check spec files, a line each: form, task, and that the schedule fits it. Exit status 2 if any fails.

    An algorithm is compared with its task at some points of the result.
    """
    status = 0
    for path in paths:
        try:
            spec = read_spec(path)
            _check_algorithm(path, spec)
        except SpecError as error:
            click.echo(" ".join(str(error).split()), err=True)
            status = BAD_INPUT
        else:
            click.echo(f"{escaped(path)}: well formed, {spec_text(spec)}")
    return status


def _check_algorithm(path: str, spec: SpecFile) -> None:
    """Raises SpecError where a spec's algorithm computes another result than its task."""
    if spec.schedule.algorithm is None:
        return
    from .search.agreement import check_agrees

    try:
        check_agrees(spec.schedule.algorithm, spec.task)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def spec_text(spec: SpecFile) -> str:
    """A spec file in a line."""
    task = spec.task
    name = task.op.text if task.op else "/".join(stage.name for stage in task.workload.stages)
    counts = {"staging": spec.schedule.stagings, "nest": spec.schedule.nests, "claim": spec.claims}
    return f"{name}; {', '.join(counted(len(found), word) for word, found in counts.items())}"


def claim_text(claim: Claim) -> str:
    """A claim in a line: the time, beside the default's, on which machine."""
    machine = claim.machine
    model = f"{machine.vendor} family {machine.family} model {machine.model}, {machine.cores} cores"
    parts = [duration(statistics.median(claim.samples_s)) if claim.samples_s else "no samples"]
    if claim.samples_s and claim.baseline_s:
        ratio = statistics.median(claim.baseline_s) / statistics.median(claim.samples_s)
        parts.append(f"{ratio:.2f} times the default")
    parts.append("verified" if claim.verified else "not verified")
    date = f" on {claim.date[:10]}" if claim.date else ""
    return f"claimed{date}: {', '.join(parts)}; {claim.protocol.threads} threads of {model}"
