"""``autosched doctor``: what tuning depends on here, and whether it is as it should be."""

from __future__ import annotations

import importlib.metadata
import re
from typing import TYPE_CHECKING, Final

import click

from .cli import FAILED
from .cli_request import store_option
from .spec.cores import available_cores
from .spec.errors import MeasureError, StoreError
from .spec.tvm_versions import DEFAULT, PAIRS, is_known_pair, is_supported_pair
from .store.keys import machine_key
from .store.machine import this_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .store.store import Store

_PINNED: Final = ("apache-tvm", "apache-tvm-ffi")
LEAST_SCALING: Final = 0.6
"""Part of perfect scaling that all threads reach where none is in the way of another; one alone may clock higher."""


@click.command()
@store_option
@click.option("--repair", is_flag=True, help="Save what is whole of a damaged store, remove the rest.")
@click.option("--no-peak", is_flag=True, help="Do not measure the machine's speeds, which takes some seconds.")
def doctor(*, store: Store, repair: bool, no_peak: bool) -> int:
    """Say what tuning depends on here: the TVM pair, threads, the machine, the store, the machine's speeds.

    The speeds are kept in the store; from then on the analytic model reckons with them. Exit status 1 where something
    is wrong.
    """
    wrong = list(wrong_versions())
    for name in _PINNED:
        click.echo(f"{name:16} {installed(name) or 'not installed'}")
    click.echo(f"{'TVM pair':16} {pair_text(*map(installed, _PINNED))}")
    machine = this_machine()
    click.echo(f"{'machine':16} {machine.vendor} family {machine.family} model {machine.model}, {machine.arch}")
    click.echo(f"{'fingerprint':16} {machine_key(machine)[:16]}")
    click.echo(f"{'vector flags':16} {' '.join(f for f in machine.isa if 'avx' in f or 'sve' in f) or 'none'}")
    click.echo(f"{'cores':16} {machine.cores}, this process may use {available_cores()}")
    problems = store.check(repair=repair)
    click.echo(f"{'store':16} {store.path}, {tasks_text(store)}")
    if problems and repair:
        click.echo(f"{'repaired':16} {len(problems)} entries")
        for line in problems:
            click.echo(f"{'':16} {line}")
    elif problems:
        wrong += [f"store: {problem}" for problem in problems]
        wrong.append("store: autosched doctor --repair saves what is whole of it and removes the rest")
    if not no_peak:
        try:
            wrong += speeds_lines(store)
        except MeasureError as error:
            wrong.append(f"ceiling: {error}")
    for line in wrong:
        click.echo(f"wrong: {line}", err=True)
    return FAILED if wrong else 0


def tasks_text(store: Store) -> str:
    """How many tasks the store knows."""
    try:
        return f"{sum(1 for _ in store.tasks())} tasks"
    except StoreError:
        return "cannot be read"


def speeds_lines(store: Store) -> Iterator[str]:
    """Measures the speeds, prints and keeps them; where threads hinder one another, a line instead of keeping them."""
    from .search.bandwidth import fma_peak_gflops, measure_speeds

    threads = available_cores()
    speeds = measure_speeds(threads)
    together = speeds.flops / 1e9
    one = together if threads == 1 else fma_peak_gflops(1)
    click.echo(f"{'ceiling':16} {together:.0f} GFLOP/s float32 on {threads} threads, {one:.0f} on one")
    l2, l3, memory = (rate / 1e9 for rate in (speeds.l2_bytes, speeds.l3_bytes, speeds.memory_bytes))
    click.echo(f"{'bandwidth':16} GB/s: {l2:.0f} from the second cache and {l3:.0f} from the last one, each thread;")
    click.echo(f"{'':16} {memory:.0f} from memory, all together")
    click.echo(f"{'parallel loop':16} {speeds.region_s * 1e6:.1f} us to start and end one")
    if together < LEAST_SCALING * threads * one:
        yield (
            f"ceiling: {threads} threads together are {together / one:.2f} times as fast as one; they share cores, or "
            "other programs run: measure on an idle machine, or with fewer --threads"
        )
        return
    store.put_speeds(speeds)
    click.echo(f"{'kept':16} these speeds, in the store: the analytic model reckons with them")


def installed(name: str) -> str | None:
    """The version of a distribution; None where it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def pair_text(tvm: str | None, ffi: str | None) -> str:
    """What can be done with a pair of TVM and its FFI."""
    if is_supported_pair(tvm, ffi):
        return "the one autosched is installed with"
    if is_known_pair(tvm, ffi):
        return (
            f"known: spec files lower, build, run and are tuned; reading TE and TensorIR needs {DEFAULT}, "
            "with which all figures are measured"
        )
    known = "; ".join(f"{tvm} with {' or '.join(ffis)}" for tvm, ffis in PAIRS.items())
    return f"unknown, and may crash; known: {known}"


def wrong_versions() -> Iterator[str]:
    """A line for each pinned distribution that is there in another version, unless the pair is a known one."""
    if is_known_pair(*map(installed, _PINNED)):
        return
    for requirement in importlib.metadata.requires("autosched") or ():
        found = re.match(r"(apache-tvm(?:-ffi)?)\s*==\s*([\w.]+)", requirement)
        if found and installed(found[1]) != found[2]:
            yield f"{found[1]} is {installed(found[1]) or 'not there'}, needs {found[2]}: pip install '{found[0]}'"
