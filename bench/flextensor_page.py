"""What the bench of FlexTensor's 110 cases found, for people: a table by groups, one of all cases, and a plot.

After `autosched bench flextensor110 --keep DIR`: ``python -m autosched.bench.flextensor_page DIR --page PAGE.md``.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ..nn.suites import FLEXTENSOR
from ..search.peak import peak_flops, peak_task
from ..spec.errors import SpecError
from .figures import geometric_mean
from .kept import read_any
from .match import PEAK, TUNED
from .page import page_with
from .rounds import ratios
from .suites.flextensor110 import GROUP_LEAST, LEAST, MEAN, Case, case_from_kept, cases, kept_path, times_of
from .sweep import TORCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MODULE: Final = "autosched.bench.flextensor_page"
IMAGE: Final = "flextensor110.svg"
_OTHER_BOUNDS: Final = ("gemv", "bilinear", "depthwise_conv2d")
"""Operators that memory bounds, or that are computed with fewer multiply-adds than their definition has."""


def read_cases(folder: Path) -> tuple[list[Case], int]:
    """The cases that a folder of ``--keep`` has times of beside PyTorch's, and their threads.

    SpecError where there are none, or where they are of several machines or numbers of threads.
    """
    found: list[Case] = []
    places: dict[str, int] = {}
    for work in cases():
        kept = read_any(kept_path(folder, work))
        if kept is None:
            continue
        case, under = case_from_kept(work, kept["found"]), kept["circumstances"]
        if TORCH in case.samples:
            found.append(case)
            places[json.dumps([under["machine"], under["threads"]])] = int(under["threads"])
    if len(places) != 1:
        what = "times of several machines or numbers of threads" if places else "no times beside torch"
        raise SpecError(f"{folder} has {what}; give what one machine's autosched bench {FLEXTENSOR} --keep wrote")
    return found, next(iter(places.values()))


def share_of_ceiling(case: Case, threads: int) -> float | None:
    """Of the multiply-add peak, timed in the same rounds; None where multiply-adds are not what bounds a case."""
    work = case.work
    strides = dict(work.args).get("stride", 1)
    if work.op in _OTHER_BOUNDS or ("transpose" in work.op and strides != 1) or PEAK not in case.samples:
        return None
    scale = work.gflop() * 1e9 / peak_flops(peak_task(threads))
    return ratios([scale * seconds for seconds in case.samples[PEAK]], case.samples[TUNED]).median


def text_of(found: Sequence[Case], threads: int) -> str:
    """Markdown: groups, then cases."""
    shares = {case.work.name: share_of_ceiling(case, threads) for case in found}
    return "\n".join([*_group_lines(found, shares), "", *_case_lines(found, shares)])


def _group_lines(found: Sequence[Case], shares: Mapping[str, float | None]) -> Iterator[str]:
    yield "| group | cases | times torch eager, mean | wanted | least | of the ceiling, mean | trials, seconds |"
    yield "|---|---:|---:|---:|---|---:|---:|"
    means = []
    for group, bar in GROUP_LEAST.items():
        times = times_of(found, group)
        if not times:
            continue
        means.append(geometric_mean(times.values()))
        least = min(times, key=times.__getitem__)
        mine = [case for case in found if case.work.group == group]
        known = [share for case in mine if (share := shares[case.work.name]) is not None]
        yield (
            f"| {group} | {len(mine)} | {means[-1]:.2f} | ≥ {bar} | {times[least]:.2f} ({least.rpartition('/')[2]}) | "
            f"{f'{geometric_mean(known):.2f}' if known else ''} | {_mean(c.trials for c in mine)}, "
            f"{_mean(c.wall_s for c in mine)} |"
        )
    low = [case for case in found if case.times_torch is not None and case.times_torch < case.wanted]
    yield (
        f"| all | {len(found)} | {geometric_mean(means):.2f} | ≥ {MEAN} | "
        f"{len(low)} below {LEAST} and below torch's noise | | "
        f"{_mean(c.trials for c in found)}, {_mean(c.wall_s for c in found)} |"
    )


def _mean(values: Iterator[float]) -> str:
    return f"{statistics.mean(values):.0f}"


def _case_lines(found: Sequence[Case], shares: Mapping[str, float | None]) -> Iterator[str]:
    yield "| case | ours | torch eager | times torch (half of the rounds) | of the ceiling | trials |"
    yield "|---|---:|---:|---:|---:|---:|"
    for case in found:
        each = ratios(case.samples[TORCH], case.samples[TUNED])
        share = shares[case.work.name]
        yield (
            f"| {case.work.name} | {_time(case.samples[TUNED])} | {_time(case.samples[TORCH])} | "
            f"{each.median:.2f} ({each.low:.2f} to {each.high:.2f}) | {'' if share is None else f'{share:.2f}'} | "
            f"{case.trials} |"
        )


def _time(samples_s: Sequence[float]) -> str:
    median_s = statistics.median(samples_s)
    return f"{median_s * 1e3:.3g} ms" if median_s >= 1e-3 else f"{median_s * 1e6:.3g} µs"


def plot(found: Sequence[Case], path: Path) -> None:
    """Writes a column of points for each group, with its mean and what is wanted, as SVG. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = FLEXTENSOR  # the same times give the same file
    from matplotlib import pyplot as plt

    columns = {group: list(times.values()) for group in GROUP_LEAST if (times := times_of(found, group))}
    figure, axes = plt.subplots(figsize=(8, 4))
    axes.axhline(1.0, color="black", linewidth=0.8)
    for place, (group, column) in enumerate(columns.items()):
        axes.plot([place] * len(column), column, "o", color="tab:blue", alpha=0.5, markersize=4)
        axes.plot([place - 0.3, place + 0.3], [geometric_mean(column)] * 2, color="tab:blue", linewidth=2)
        axes.plot([place - 0.3, place + 0.3], [GROUP_LEAST[group]] * 2, color="tab:red", linewidth=1, linestyle=":")
    axes.set(ylabel="times as fast as PyTorch eager", yscale="log")
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks([0.5, 1, 2, 4, 8, 16, 32], ["0.5", "1", "2", "4", "8", "16", "32"])
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Where tables and a plot are written.")
def main(folder: Path, page: Path | None) -> None:
    """Table what `autosched bench flextensor110 --keep FOLDER` has found so far."""
    try:
        found, threads = read_cases(folder)
        text = text_of(found, threads)
        click.echo(text)
        if page is not None:
            written = page_with(page.read_text(), MODULE, f"{text}\n\n![each case, by groups]({IMAGE})")
            plot(found, page.with_name(IMAGE))
            page.write_text(written)
    except SpecError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
