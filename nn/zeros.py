"""Zeros around and between the elements of a tensor of any rank: the stages that convolutions begin with."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from ..spec.errors import SpecError


def zero_pad(
    X: Tensor, before: Sequence[int], after: Sequence[int], *, axes: Sequence[str] | None = None, name: str = "pad"
) -> Tensor:
    """X with `before[d]` zeros before and `after[d]` zeros after its elements in each dimension d.

    The stage is ``pad[i, j] = X[i, j - 2] if j >= 2 and j < 2 + J else 0``; dimensions that are not padded are not
    compared. X itself where there is nothing to pad. Negative numbers cut elements off.
    """
    return zero_expand(X, (1,) * len(X.shape), before, after, axes=axes, name=name)


def zero_expand(
    X: Tensor,
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    *,
    axes: Sequence[str] | None = None,
    name: str = "expand",
) -> Tensor:
    """X with `stride[d]` - 1 zeros between neighbours in each dimension d, and with zeros around as by `zero_pad`.

    The stage is ``expand[i] = X[(i - 1) // 2] if i >= 1 and i < … and (i - 1) % 2 == 0 else 0`` for a stride of 2 with
    1 before: ``[0, 1, 0, 2, 0, 3]`` of ``[1, 2, 3]``. X itself where nothing is inserted or cut off.
    """
    steps = tuple(zip(X.shape, stride, before, after, strict=True))
    if all(step == (step[0], 1, 0, 0) for step in steps):
        return X
    shape = tuple((extent - 1) * apart + 1 + first + last for extent, apart, first, last in steps)
    for dimension, size in enumerate(shape):
        if size < 1:
            raise SpecError(f"dimension {dimension} of {X.name!r} is cut to {size} elements; leave 1 at least", name)

    def body(*at: Value) -> Value:
        inside: list[Value] = []
        source: list[Value] = []
        for i, (extent, apart, first, last) in zip(at, steps, strict=True):
            place = i - first if first >= 0 else i + -first
            if first > 0:
                inside.append(i >= first)
            if last > 0:
                inside.append(i < first + (extent - 1) * apart + 1)
            if apart > 1:
                inside.append((place % apart).equal(0))
            source.append(place // apart)
        value = X[tuple(source)]
        return te.if_then_else(te.all(*inside), value, 0) if inside else value

    return te.compute(shape, body, name, axes=axes or tuple(f"i{d}" for d in range(len(shape))))
