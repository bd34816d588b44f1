"""``autosched doctor``: what tuning depends on here, and whether it is as it should be."""

from __future__ import annotations

import importlib.metadata
import re
from typing import TYPE_CHECKING, Final

import click

from .cli import FAILED
from .cli_request import store_option
from .spec.cores import available_cores
from .spec.errors import MeasureError
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
@click.option("--repair", is_flag=True, help="Remove damaged entries of the store and rank its records anew.")
@click.option("--no-peak", is_flag=True, help="Do not measure the ceiling, which takes some seconds.")
def doctor(*, store: Store, repair: bool, no_peak: bool) -> int:
    """Say what tuning depends on here: the TVM pair, threads, the machine, the store, the multiply-add ceiling.

    Exit status 1 where something is wrong.
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
    click.echo(f"{'store':16} {store.path}, {sum(1 for _ in store.tasks())} tasks")
    if problems and repair:
        click.echo(f"{'repaired':16} {len(problems)} entries")
    elif problems:
        wrong += [f"store: {problem}; autosched doctor --repair removes it" for problem in problems]
    if not no_peak:
        try:
            wrong += ceiling_lines()
        except MeasureError as error:
            wrong.append(f"ceiling: {error}")
    for line in wrong:
        click.echo(f"wrong: {line}", err=True)
    return FAILED if wrong else 0


def ceiling_lines() -> Iterator[str]:
    """Prints how fast one thread and all together multiply and add; a line where they hinder one another."""
    threads = available_cores()
    one = ceiling_gflops(1)
    together = one if threads == 1 else ceiling_gflops(threads)
    click.echo(f"{'ceiling':16} {together:.0f} GFLOP/s float32 on {threads} threads, {one:.0f} on one")
    if together < LEAST_SCALING * threads * one:
        yield (
            f"ceiling: {threads} threads together are {together / one:.2f} times as fast as one; they share cores, or "
            "other programs run: measure on an idle machine, or with fewer --threads"
        )


def ceiling_gflops(threads: int) -> float:
    """Giga operations per second of multiply-adds in registers, measured now."""
    from .search.peak import fma_peak_gflops

    return fma_peak_gflops(threads)


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
