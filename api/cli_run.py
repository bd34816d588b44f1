"""``autosched run``: what a stranger's spec file does here. It runs in processes of its own; nothing is stored."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from .cli import FAILED
from .cli_files import spec_text
from .cli_report import duration
from .cli_request import read_spec
from .search.speedup import speedup_of
from .spec.claim import Failure, Protocol
from .spec.convert import unstructure
from .spec.errors import escaped
from .spec.flops import flop_count
from .spec.json_text import write_json
from .ways import default_schedule

if TYPE_CHECKING:
    from .spec.spec_file import SpecFile


TIMEOUTS: Final = ("build_timeout", "run_timeout")


@attrs.frozen(kw_only=True)
class Ran:
    """What came of running a spec file: samples beside those of the default schedule, or why there are none."""

    samples_s: tuple[float, ...] = ()
    default_s: tuple[float, ...] = ()
    failure: Failure | None = None


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Default: the file's, or all cores if fewer.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="S",
    help="Give up after so long.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(path: str, *, threads: int | None, timeout_s: float, as_json: bool) -> int:
    """Build a spec file, compare its output with its own reference, and time it beside the default schedule here.

    Exit status 1 where it cannot be built, does not end or gives wrong numbers.
    """
    spec = read_spec(path)
    spec = attrs.evolve(spec, task=attrs.evolve(spec.task, threads=_threads(spec, threads)))
    ran = ran_here(spec, timeout_s)
    click.echo(_json(spec, ran) if as_json else _text(path, spec, ran), nl=not as_json)
    return FAILED if ran.failure is not None else 0


def _threads(spec: SpecFile, threads: int | None) -> int:
    from .spec.cores import available_cores

    return threads if threads is not None else min(spec.task.threads, available_cores())


def ran_here(spec: SpecFile, timeout_s: float) -> Ran:
    """Verifies a spec's schedule against the NumPy reference and times it in turn with the default schedule.

    What is not done after `timeout_s` is given up; so is timing in turn, where the schedule alone was timed.
    """
    from .search.finals import FEW_ROUNDS, ROUNDS, SLOW_S
    from .search.measurable import check_measurable
    from .search.measure import Measurer
    from .search.runner import Limits

    check_measurable(spec.task)
    default = default_schedule(spec.task)
    with Measurer(spec.task, Protocol(threads=spec.task.threads), limits=Limits(total_s=timeout_s)) as measurer:
        ((_, found),) = measurer.measure([spec.schedule])
        if isinstance(found, Failure):
            return Ran(failure=found)
        rounds = ROUNDS if found.median_s < SLOW_S else FEW_ROUNDS
        mine, other = measurer.retime([spec.schedule, default], rounds)
    if isinstance(mine, Failure):
        return Ran(samples_s=found.samples_s) if mine.kind in TIMEOUTS else Ran(failure=mine)
    return Ran(samples_s=mine, default_s=() if isinstance(other, Failure) else other)


def _numbers(spec: SpecFile, ran: Ran) -> tuple[float | None, float | None, float | None]:
    """Latency, GFLOP/s and speedup, None where there is none."""
    if not ran.samples_s:
        return None, None, None
    latency_s = statistics.median(ran.samples_s)
    count = flop_count(spec.task.workload)
    gflops = None if count is None else count / latency_s / 1e9
    return latency_s, gflops, speedup_of(ran.samples_s, ran.default_s)


def _json(spec: SpecFile, ran: Ran) -> str:
    latency_s, gflops, speedup = _numbers(spec, ran)
    claimed = [statistics.median(claim.samples_s) for claim in spec.claims if claim.samples_s]
    content: dict[str, Any] = {
        "op": spec.task.op.name if spec.task.op else None,
        "threads": spec.task.threads,
        "target": unstructure(spec.task.target),
        "verified": ran.failure is None,
        "failure": None if ran.failure is None else {"kind": ran.failure.kind, "detail": ran.failure.detail},
        "latency_s": latency_s,
        "gflops": gflops,
        "default_latency_s": statistics.median(ran.default_s) if ran.default_s else None,
        "speedup": speedup,
        "samples_s": list(ran.samples_s),
        "claimed_s": claimed,
    }
    return write_json(content)


def _text(path: str, spec: SpecFile, ran: Ran) -> str:
    head = f"{escaped(path)}: {spec_text(spec)}"
    if ran.failure is not None and ran.failure.kind in TIMEOUTS:
        return f"{head}\n  {ran.failure.kind}: it did not end in time and was killed; --timeout gives it longer"
    if ran.failure is not None:
        return f"{head}\n  {ran.failure.kind}: {escaped(' '.join(ran.failure.detail.split()))}"
    latency_s, gflops, speedup = _numbers(spec, ran)
    assert latency_s is not None
    parts = ["agrees with its reference", f"{duration(latency_s)} on {spec.task.threads} threads"]
    if gflops is not None:
        parts.append(f"{gflops:.1f} GFLOP/s")
    if speedup is not None:
        parts.append(f"{speedup:.2f} times the default")
    claimed = [duration(statistics.median(claim.samples_s)) for claim in spec.claims if claim.samples_s]
    if claimed:
        parts.append(f"claimed: {', '.join(claimed)}")
    return f"{head}\n  {', '.join(parts)}"
