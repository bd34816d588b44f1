"""The spine: one product and two convolutions from search to a user's call, and what commands and lookups cost."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from ..commands import run_command
from ..contenders import EXAMPLE
from ..figures import peak_row, rate_rows
from ..match import TUNED, play
from ..report import Row, at_least, at_most, spread_row, yes_row
from ..rounds import ratios
from ..tuned import Tuned, default_spec, tune, untuned
from ..works import work
from .spine_calls import command_rows, in_process_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..suite import Ground

DEFAULT: Final = "default"
PRODUCT_S: Final = 60.0
"""Of the product's search, where the user says nothing else."""

GEMM: Final = work("gemm_1024", "gemm", N=1024, K=1024, M=1024)
LARGE_IMAGE: Final = work("conv2d_128_56_256", "conv2d", N=1, C=128, H=56, W=56, K=256, R=3, S=3, stride=1, padding=1)
MANY_CHANNELS: Final = work(
    "conv2d_1024_14_1024", "conv2d", N=1, C=1024, H=14, W=14, K=1024, R=3, S=3, stride=1, padding=1
)
SMALL_GEMM: Final = work("gemm_128", "gemm", N=128, K=128, M=128)
SMALL_CONV: Final = work("conv2d_8_14_16", "conv2d", N=1, C=8, H=14, W=14, K=16, R=3, S=3, stride=1, padding=1)


def run(ground: Ground) -> Iterator[Row]:
    """The rows, in the order of the README."""
    quick = ground.options.quick
    product = tune(ground, SMALL_GEMM if quick else GEMM, ground.options.seconds or PRODUCT_S)
    yield from search_rows(product)
    yield from product_rows(ground, product)
    if quick:
        yield from convolution_rows(ground, untuned(ground, SMALL_CONV), over_torch=0.95, of_peak=None)
    else:
        yield from convolution_rows(ground, tune(ground, LARGE_IMAGE), over_torch=0.95, of_peak=None)
        yield from convolution_rows(ground, tune(ground, MANY_CHANNELS), over_torch=2.0, of_peak=0.6)
    yield from command_rows(ground, product.work, product.spec)
    yield from stranger_rows(ground, product)
    yield from in_process_rows(ground, product.spec)


def search_rows(tuned: Tuned) -> Iterator[Row]:
    """What the search took: one figure each, since a search is made once."""
    if tuned.source == "store":
        return
    name = tuned.work.name
    yield Row(name=f"{name}: search", figure=tuned.wall_s, unit="s", bar=at_most(60), detail="the whole command")
    yield Row(name=f"{name}: trials", figure=tuned.trials, unit="", bar=at_most(64))
    yield Row(name=f"{name}: trials a second", figure=tuned.trials / tuned.wall_s, unit="/s", bar=at_least(4))


def product_rows(ground: Ground, tuned: Tuned) -> Iterator[Row]:
    """The product beside PyTorch, NumPy, the ceiling, the default schedule and the README's example."""
    unmeasured = default_spec(ground, tuned.work, f"{tuned.work.name}.default")
    match = play(ground, tuned.work, {TUNED: tuned.spec, DEFAULT: unmeasured}, (EXAMPLE,))
    name, samples = tuned.work.name, match.samples
    yield from rate_rows(match)
    if match.has("torch"):
        yield spread_row(f"{name}: times torch", ratios(samples["torch"], samples[TUNED]), "x", at_least(2.0))
    yield peak_row(match, 0.80)
    yield spread_row(
        f"{name}: default, of tuned",
        ratios(samples[TUNED], samples[DEFAULT]),
        "x",
        at_least(0.6),
        "the analytic model's choice, nothing measured",
    )
    cores = match.threads[EXAMPLE.name]
    yield yes_row(f"{name}: example on all cores", cores == ground.options.threads, f"{cores} threads compute")
    yield spread_row(
        f"{name}: example, time",
        ratios(samples[EXAMPLE.name], samples[TUNED]),
        "x tuned",
        at_most(1.05),
        "a user's process with NumPy arrays; its numbers are right",
    )


def convolution_rows(ground: Ground, tuned: Tuned, over_torch: float, of_peak: float | None) -> Iterator[Row]:
    """A convolution beside PyTorch and the ceiling."""
    work = tuned.work
    match = play(ground, work, {TUNED: tuned.spec})
    if tuned.is_searched:
        yield Row(name=f"{work.name}: search", figure=tuned.wall_s, unit="s", detail=f"{tuned.trials} trials")
    yield from rate_rows(match)
    if match.has("torch"):
        found = ratios(match.samples["torch"], match.samples[TUNED])
        yield spread_row(f"{work.name}: times torch", found, "x", at_least(over_torch))
    yield peak_row(match, of_peak)


def stranger_rows(ground: Ground, tuned: Tuned) -> Iterator[Row]:
    """A spec file alone in an empty folder: whether it gives the right numbers, and its time."""
    ground.say("autosched run, on a copy of the spec file")
    folder = ground.folder / "stranger"
    folder.mkdir()
    shutil.copy(tuned.spec, folder / "received.json")
    ran = run_command(("run", "received.json", "--json"), cwd=folder)
    found = ran.json()
    detail = f"{found['speedup']:.2f} times the default" if found["speedup"] else ""
    yield yes_row("run FILE: right numbers", found["verified"])
    yield Row(name="run FILE: time of a call", figure=found["latency_s"] * 1e3, unit="ms", detail=detail)
    yield Row(name="run FILE: whole process", figure=ran.wall_s, unit="s")
