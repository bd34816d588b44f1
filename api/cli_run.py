"""``autosched run``: what a stranger's spec file does here. It runs in processes of its own; nothing is stored."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import attrs
import click

from .cli import FAILED
from .cli_files import spec_text
from .cli_report import duration
from .cli_request import read_spec
from .spec.claim import Failure, Protocol
from .spec.convert import unstructure
from .spec.errors import escaped
from .spec.flops import flop_count
from .spec.json_text import write_json

if TYPE_CHECKING:
    from .spec.spec_file import SpecFile


@attrs.frozen(kw_only=True)
class Ran:
    """What came of running a spec file: samples beside those of the default schedule, or why there are none."""

    samples_s: tuple[float, ...] = ()
    default_s: tuple[float, ...] = ()
    failure: Failure | None = None


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Default: the file's, or all cores if fewer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(path: str, *, threads: int | None, as_json: bool) -> int:
    """Build a spec file, compare its output with its own reference, and time it beside the default schedule here.

    Exit status 1 where it cannot be built, does not end or gives wrong numbers.
    """
    spec = read_spec(path)
    spec = attrs.evolve(spec, task=attrs.evolve(spec.task, threads=_threads(spec, threads)))
    ran = ran_here(spec)
    click.echo(_json(spec, ran) if as_json else _text(path, spec, ran), nl=not as_json)
    return FAILED if ran.failure is not None else 0


def _threads(spec: SpecFile, threads: int | None) -> int:
    from .spec.cores import available_cores

    return threads if threads is not None else min(spec.task.threads, available_cores())


def ran_here(spec: SpecFile) -> Ran:
    """Verifies a spec's schedule against the NumPy reference and times it in turn with the default schedule."""
    from .search.default import default_schedule
    from .search.finals import FEW_ROUNDS, ROUNDS, SLOW_S
    from .search.measure import Measurer
    from .search.tuner import check_measurable

    check_measurable(spec.task)
    default = default_schedule(spec.task)
    with Measurer(spec.task, Protocol(threads=spec.task.threads)) as measurer:
        ((_, found),) = measurer.measure([spec.schedule])
        if isinstance(found, Failure):
            return Ran(failure=found)
        rounds = ROUNDS if found.median_s < SLOW_S else FEW_ROUNDS
        mine, other = measurer.retime([spec.schedule, default], rounds)
    if isinstance(mine, Failure):
        return Ran(failure=mine)
    return Ran(samples_s=mine, default_s=() if isinstance(other, Failure) else other)


def _numbers(spec: SpecFile, ran: Ran) -> tuple[float | None, float | None, float | None]:
    """Latency, GFLOP/s and speedup, None where there is none."""
    if not ran.samples_s:
        return None, None, None
    latency_s = statistics.median(ran.samples_s)
    count = flop_count(spec.task.workload)
    gflops = None if count is None else count / latency_s / 1e9
    speedup = statistics.median(ran.default_s) / latency_s if ran.default_s else None
    return latency_s, gflops, speedup


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
