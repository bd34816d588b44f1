"""YOLO-v1's convolutions at batch 1, by the names C1 to C15 of FlexTensor's paper: each tuned, then beside peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..report import Row, at_least
from ..sweep import Entry, all_peer_rows, all_rows, enter, entry_rows, peak_share, peer_rows, search_row, wanted
from ..works import Work, work
from .gemm import product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..suite import Ground


def _layer(name: str, *, C: int, H: int, K: int, R: int, stride: int = 1) -> Work:
    """A square convolution that keeps the image's size but for its stride: 1×1 without padding, others with R // 2."""
    return work(name, "conv2d", N=1, C=C, H=H, W=H, K=K, R=R, S=R, stride=stride, padding=R // 2)


LAYERS: Final = (
    _layer("C1", C=3, H=448, K=64, R=7, stride=2),
    _layer("C2", C=64, H=112, K=192, R=3),
    _layer("C3", C=192, H=56, K=128, R=1),
    _layer("C4", C=128, H=56, K=256, R=3),
    _layer("C5", C=256, H=56, K=256, R=1),
    _layer("C6", C=256, H=56, K=512, R=3),
    _layer("C7", C=512, H=28, K=256, R=1),
    _layer("C8", C=256, H=28, K=512, R=3),
    _layer("C9", C=512, H=28, K=512, R=1),
    _layer("C10", C=512, H=28, K=1024, R=3),
    _layer("C11", C=1024, H=14, K=512, R=1),
    _layer("C12", C=512, H=14, K=1024, R=3),
    _layer("C13", C=1024, H=14, K=1024, R=3),
    _layer("C14", C=1024, H=14, K=1024, R=3, stride=2),
    _layer("C15", C=1024, H=7, K=1024, R=3),
)
SMALL: Final = (_layer("c1", C=3, H=16, K=8, R=7, stride=2), _layer("c2", C=8, H=8, K=16, R=3))
SEARCHED: Final = ("C1", "C4", "C13", "C15")
"""Those on which peers search, for minutes each."""
PRODUCT: Final = product(1024)
"""Joins them where peers search."""
PEAK_BARS: Final = {"C13": 0.65, "C14": 0.5, "C15": 0.5}


def run(ground: Ground) -> Iterator[Row]:
    """The rows of each layer, then those of all."""
    quick = ground.options.quick
    searched = (SMALL[0].name,) if quick else SEARCHED
    chosen = wanted(ground, SMALL if quick else (*LAYERS, PRODUCT))
    entries = []
    for each in chosen:
        if each == PRODUCT:
            continue
        entries.append(enter(ground, each, searching=each.name in searched))
        yield from entry_rows(entries[-1], PEAK_BARS.get(each.name))
        yield from peer_rows(entries[-1])
    yield from closing_rows(entries)
    if PRODUCT in chosen and any(peer.searches for peer in ground.peers):
        entries.append(enter(ground, PRODUCT, searching=True))
        yield from peer_rows(entries[-1])
    yield from all_peer_rows(entries)


def closing_rows(entries: list[Entry]) -> Iterator[Row]:
    """Means and least figures over all layers."""
    yield from all_rows("times torch", entries, lambda e: e.times_torch, mean=at_least(1.6), least=at_least(0.95))
    yield from all_rows("times torch best", entries, lambda e: e.times_torch_best, mean=at_least(1.2))
    yield from all_rows("of the peak", entries, peak_share, mean=at_least(0.72))
    yield from all_rows("default, of tuned", entries, lambda e: e.default_of_tuned, mean=at_least(0.75))
    yield from search_row(entries)
