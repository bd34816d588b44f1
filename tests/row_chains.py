"""Hypothesis strategy of chains over rows, as softmax and norms are: stages of whole rows, and sums of rows between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from autosched.spec.builder import build, compute, maximum, placeholder, reduce_axis
from autosched.spec.builder import max as max_over
from autosched.spec.builder import sum as sum_over

if TYPE_CHECKING:
    from autosched.spec.builder import Tensor
    from autosched.spec.workload import Workload


@st.composite
def row_chains(draw: st.DrawFn) -> Workload:
    """3 to 6 stages over (rows, columns), each of one or two before it; windows of columns make the rows shorter."""
    rows, columns = draw(st.sampled_from([1, 2, 4, 6])), draw(st.sampled_from([4, 6, 8]))
    x = placeholder((rows, columns), name="X")
    made: list[Tensor] = [x]
    for number in range(draw(st.integers(3, 6))):
        sources = draw(st.lists(st.sampled_from(made[-3:]), min_size=1, max_size=2))
        make = draw(st.sampled_from([_map, _map, _window, _sum, _largest]))
        made.append(make(f"S{number}", [made[-1], *sources]))
    return build([x, made[-1]])


def _map(name: str, sources: list[Tensor]) -> Tensor:
    wide = [source.shape[1] for source in sources if len(source.shape) == 2]
    shape = (sources[0].shape[0], *([min(wide)] if wide else []))

    def value(*at: Any) -> Any:
        total, *others = [source[at[: len(source.shape)]] for source in sources]
        for other in others:
            total = maximum(total, other * 0.5)
        return total

    if len(shape) == 1:
        return compute(shape, lambda i: value(i), name=name)  # noqa: PLW0108 # the builder counts the parameters
    return compute(shape, lambda i, c: value(i, c), name=name)  # noqa: PLW0108


def _window(name: str, sources: list[Tensor]) -> Tensor:
    source = sources[-1]
    if len(source.shape) == 1 or source.shape[1] < 3:
        return _map(name, sources)
    shape = (source.shape[0], source.shape[1] - 2)
    return compute(shape, lambda i, c: source[i, c] - source[i, c + 1] * source[i, c + 2], name=name)


def _sum(name: str, sources: list[Tensor]) -> Tensor:
    return _reduced(name, sources[0], sum_over)


def _largest(name: str, sources: list[Tensor]) -> Tensor:
    return _reduced(name, sources[0], max_over)


def _reduced(name: str, source: Tensor, over: Any) -> Tensor:
    if len(source.shape) == 1:
        return _map(name, [source])
    k = reduce_axis(source.shape[1], name="k")
    return compute((source.shape[0],), lambda i: over(source[i, k], axis=k), name=name)
