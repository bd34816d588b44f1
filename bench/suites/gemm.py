"""Square products from 32 to 2048 rows: each tuned, then beside PyTorch, NumPy and those who search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..duel import duel_rows
from ..report import Row, at_least
from ..sweep import Entry, all_rows, enter, entry_rows, peak_share, peer_rows, peer_trials, search_row, wanted
from ..works import Work, work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..suite import Ground


def product(size: int) -> Work:
    """A product of two square matrices."""
    return work(f"gemm_{size}", "gemm", N=size, K=size, M=size)


PRODUCTS: Final = tuple(map(product, (32, 64, 128, 256, 512, 1024, 2048)))
SMALL: Final = tuple(map(product, (16, 32)))
LARGE: Final = ("gemm_512", "gemm_1024", "gemm_2048")
"""Those that must come near the ceiling."""
LONG_TRIALS: Final = 256
"""Of the peer's search whose kernel ours must match within seconds."""


def run(ground: Ground) -> Iterator[Row]:
    """The rows of each product, then those of all."""
    quick = ground.options.quick
    searched = SMALL[-1] if quick else product(1024)
    entries = []
    for each in (chosen := wanted(ground, SMALL if quick else PRODUCTS)):
        entries.append(enter(ground, each, searching=each == searched))
        yield from entry_rows(entries[-1], 0.85 if each.name in LARGE else None)
        yield from peer_rows(entries[-1])
    yield from closing_rows(entries)
    for peer in ground.peers:
        if peer.name == "metaschedule" and searched in chosen:
            yield from duel_rows(ground, peer, searched, 2 * peer_trials(ground) if quick else LONG_TRIALS, 5.0)


def closing_rows(entries: list[Entry]) -> Iterator[Row]:
    """Means and least figures over all products."""
    bars = {"mean": at_least(1.6), "least": at_least(0.97)}
    yield from all_rows("times the best of torch and numpy", entries, lambda e: e.times_products, **bars)
    yield from all_rows("times torch", entries, lambda e: e.times_torch)
    yield from all_rows("times torch best", entries, lambda e: e.times_torch_best)
    yield from all_rows("of the peak, from 512 up", [e for e in entries if e.name in LARGE], peak_share)
    yield from all_rows(
        "default, of tuned", entries, lambda e: e.default_of_tuned, mean=at_least(0.75), least=at_least(0.75)
    )
    yield from search_row(entries)
