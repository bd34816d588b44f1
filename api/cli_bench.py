"""``autosched bench``: suites of figures against peers. They stand above this layer, so they are found by name."""

from __future__ import annotations

import importlib
from typing import Any

import click

from .search.budget import Budget
from .spec.cores import available_cores


@click.command()
@click.argument("suite")
@click.option("--against", default="torch,numpy", show_default=True, metavar="P,Q", help="The peers.")
@click.option("--trials", type=click.IntRange(min=1), default=64, show_default=True, metavar="N", help="Of a search.")
@click.option(
    "--seconds", type=float, metavar="S", help="Of a search. Default: 60 of the spine's product, 30 of a row."
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Default: all cores.")
@click.option("--store", metavar="DIR", help="Default: a new one, thrown away, so that the searches are real.")
@click.option(
    "--keep",
    metavar="DIR",
    help="What peers find and flextensor110's times; goes on from there.",
)
@click.option("--works", default="", metavar="A,B", help="Only these works or groups, as C1 or C3D. Default: all.")
@click.option("--quick", is_flag=True, help="Small shapes and no bars: whether the suite works.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(
    suite: str,
    *,
    against: str,
    trials: int,
    seconds: float | None,
    threads: int | None,
    store: str | None,
    keep: str | None,
    works: str,
    quick: bool,
    as_json: bool,
) -> None:
    """Measure a suite and print a table: each figure beside its bar.

    \b
    compiler       what reading, checking and lowering spec files and looking up records cost, by their size
    flextensor110  the paper's 110 cases in 12 groups against eager PyTorch: goes on with --store and --keep
    gemm           square products of 32 to 2048 rows against peers
    measuring      what a search costs beyond building and running, and whether it comes to the same end each time
    model          how well the analytic model orders candidates that are timed in turn
    spine          search, a product and two convolutions against peers, and what commands and lookups cost
    store          lookups among a thousand records and a million, in a process and as commands; keeps them with --store
    tasks          those that --works names, as for tune: 'yolo/yolo3,gemv N=64 K=32'
    yolo           the 15 convolutions of YOLO-v1 at batch 1 against peers
    """  # noqa: D301 # click's mark for lines to keep is the character itself
    budget = Budget(trials=trials, seconds=seconds)
    suites: Any = importlib.import_module(".bench.suite", __package__)
    texts: Any = importlib.import_module(".bench.report", __package__)
    options = suites.Options(
        against=tuple(name for name in against.split(",") if name),
        trials=budget.trials,
        seconds=budget.seconds,
        threads=threads or available_cores(),
        store=store,
        quick=quick,
        keep=keep,
        works=tuple(name for name in works.split(",") if name),
    )
    report = suites.run_suite(suite, options, lambda line: click.echo(line, err=True))
    click.echo(texts.json_from_report(report) if as_json else texts.text_from_report(report))
