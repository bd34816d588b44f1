"""Transposed convolutions without a multiplication by an inserted zero, of any rank.

Along a dimension with stride s, output p takes the taps r = a + s * t from the points i - t of X, where
p + padding = s * i + a. Outputs of one phase a have the same taps and are a plain convolution (`phases`). Or every tap
of every point of X is multiplied out, by one matrix product, and outputs gather what falls on them (`columns`).
"""

from collections.abc import Sequence
from typing import Any

import attrs

from ..spec import builder as te
from ..spec.builder import ReduceAxis, Reduction, Tensor, Value
from .algorithms import register_algorithm
from .epilogue import finished
from .windows import SIZES, TAPS, Window, each, image_axes, window
from .zeros import zero_pad


@attrs.frozen(kw_only=True)
class _Call:
    """A call of a transposed convolution: its buffers, its window, and the size of its output."""

    X: Tensor
    weight: Tensor
    sliding: Window
    groups: int
    channels: int
    places: tuple[int, ...]
    epilogue: tuple[bool, bool]

    @property
    def strides(self) -> tuple[tuple[int, int], ...]:
        """Stride and padding of each dimension."""
        return tuple(zip(self.sliding.stride, self.sliding.padding, strict=True))

    @property
    def reduce_channels(self) -> ReduceAxis:
        """An axis over the input channels of a group."""
        return te.reduce_axis(self.X.shape[1] // self.groups, name="c")

    def channel(self, k: Value, c: Value) -> Value:
        """The input channel that is number `c` of those which output channel `k` reads."""
        outputs, inputs = self.channels // self.groups, self.X.shape[1] // self.groups
        return c if self.groups == 1 else k // outputs * inputs + c

    def weights(self, k: Value, c: Value, taps: Sequence[Value]) -> Value:
        """The weight of a tap from that input channel to output channel `k`."""
        column = k if self.groups == 1 else k % (self.channels // self.groups)
        return self.weight[(self.channel(k, c), column, *taps)]

    def params(self, conv: Tensor) -> Sequence[Tensor]:
        """The buffers of the call for what was computed."""
        return self.X, self.weight, *finished(conv, *self.epilogue)


def _call(values: dict[str, Any]) -> _Call:
    rank = next(rank for rank in (3, 2, 1) if SIZES[rank][0] in values)
    image = tuple(values[letter] for letter in SIZES[rank])
    sliding = window(
        tuple(values[letter] for letter in TAPS[rank]), values["stride"], values["padding"], values["dilation"]
    )
    steps = zip(
        image, sliding.stride, sliding.padding, sliding.spans, each(values["output_padding"], rank), strict=True
    )
    groups, channels, dtype = values["groups"], values["K"], values["dtype"]
    return _Call(
        X=te.placeholder((values["N"], values["C"], *image), dtype, name="X"),
        weight=te.placeholder((values["C"], channels // groups, *sliding.kernel), dtype, name="W"),
        sliding=sliding,
        groups=groups,
        channels=channels,
        places=tuple((size - 1) * apart - 2 * margin + span + more for size, apart, margin, span, more in steps),
        epilogue=(values["bias"], values["relu"]),
    )


@register_algorithm("conv_transpose1d", name="phases")
@register_algorithm("conv_transpose2d", name="phases")
@register_algorithm("conv_transpose3d", name="phases")
def phases(**values: Any) -> Sequence[Tensor] | None:
    """One convolution for all phases, their kernels filled up to the longest; then outputs take turns.

    ``taps[k, a, c, t] = W[c, k, a + s * (T - 1 - t)]``, 0 beyond the kernel; ``phases[n, k, a, i] += taps[k, a, c, t] *
    pad[n, c, i + t]``; ``conv[n, k, p] = phases[n, k, (p + padding) % s, (p + padding) // s - first]``. Dimensions with
    a stride of 1 have one phase. Not for dilated kernels, nor where no stride is above 1.
    """
    call = _call(values)
    if max(call.sliding.dilation) > 1 or max(call.sliding.stride) == 1:
        return None
    rank, strides = call.sliding.rank, call.strides
    kernel, size = call.sliding.kernel, call.X.shape[2:]
    taps = [-(-extent // apart) for extent, (apart, _) in zip(kernel, strides, strict=True)]
    first = [margin // apart for apart, margin in strides]
    steps = [
        (place - 1 + margin) // apart - begin + 1
        for place, (apart, margin), begin in zip(call.places, strides, first, strict=True)
    ]
    before = [count - 1 - begin for count, begin in zip(taps, first, strict=True)]
    after = [run - 1 + begin - (extent - 1) for run, begin, extent in zip(steps, first, size, strict=True)]
    names = image_axes(rank, "c")
    image = zero_pad(call.X, (0, 0, *before), (0, 0, *after), axes=names)
    apart = call.sliding.stride

    def filled(k: Value, *at: Value) -> Value:
        phase, c, tap = at[:rank], at[rank], at[rank + 1 :]
        source = [a + (count - 1 - t) * s for a, t, count, s in zip(phase, tap, taps, apart, strict=True)]
        ends = zip(source, kernel, taps, apart, strict=True)
        inside = [place < extent for place, extent, count, s in ends if count * s > extent]
        value = call.weight[(c, k, *source)]
        return te.if_then_else(te.all(*inside), value, 0) if inside else value

    letters = [letter.lower() for letter in SIZES[rank]]
    phase_axes = [f"{letter}_phase" for letter in letters]
    channels = call.weight.shape
    kernels = te.compute(
        (channels[1], *apart, channels[0], *taps),
        filled,
        "taps",
        axes=("k", *phase_axes, "c", *(f"{letter}_tap" for letter in letters)),
    )
    c, reduced = (
        call.reduce_channels,
        [te.reduce_axis(n, f"{letter}_tap") for n, letter in zip(taps, letters, strict=True)],
    )

    def body(n: Value, k: Value, *at: Value) -> Reduction:
        phase, place = at[:rank], at[rank:]
        points = [i + t for i, t in zip(place, reduced, strict=True)]
        column = k if call.groups == 1 else k % channels[1]
        channel = call.channel(k, c)
        return te.sum(kernels[(column, *phase, channel, *reduced)] * image[(n, channel, *points)], axis=[c, *reduced])

    batch = call.X.shape[0]
    made = te.compute((batch, call.channels, *apart, *steps), body, "phases", axes=("n", "k", *phase_axes, *letters))

    def turn(n: Value, k: Value, *place: Value) -> Value:
        moved = [p + margin for p, (_, margin) in zip(place, strides, strict=True)]
        phase = [p % s for p, s in zip(moved, apart, strict=True)]
        return made[(n, k, *phase, *(p // s - begin for p, s, begin in zip(moved, apart, first, strict=True)))]

    conv = te.compute((batch, call.channels, *call.places), turn, "conv", axes=image_axes(rank, "k"))
    return call.params(conv)


@register_algorithm("conv_transpose1d", name="columns")
@register_algorithm("conv_transpose2d", name="columns")
@register_algorithm("conv_transpose3d", name="columns")
def columns(**values: Any) -> Sequence[Tensor] | None:
    """One matrix product for all taps of all points of X, which outputs then add up.

    ``columns[n, k, r, i] += W[c, k, r] * X[n, c, i]``; ``conv[n, k, p] += columns[n, k, a + s * t, i - t]`` over the
    taps t of p's phase that are there. Not for dilated kernels, nor for kernels of one tap.
    """
    call = _call(values)
    if max(call.sliding.dilation) > 1 or max(call.sliding.kernel) == 1:
        return None
    rank, apart, size = call.sliding.rank, call.sliding.stride, call.X.shape[2:]
    kernel, c = call.sliding.kernel, call.reduce_channels

    def product(n: Value, k: Value, *at: Value) -> Reduction:
        return te.sum(call.weights(k, c, at[:rank]) * call.X[(n, call.channel(k, c), *at[rank:])], axis=c)

    letters = [letter.lower() for letter in SIZES[rank]]
    batch = call.X.shape[0]
    made = te.compute(
        (batch, call.channels, *kernel, *size),
        product,
        "columns",
        axes=("n", "k", *(letter.lower() for letter in TAPS[rank]), *letters),
    )
    taps = [
        te.reduce_axis(-(-extent // s), f"{letter}_tap")
        for extent, s, letter in zip(kernel, apart, letters, strict=True)
    ]

    def gathered(n: Value, k: Value, *place: Value) -> Reduction:
        inside, source, points = [], [], []
        for p, t, (s, margin), extent, length in zip(place, taps, call.strides, kernel, size, strict=True):
            tap, point = (p + margin) % s + t * s, (p + margin) // s - t
            inside += [tap < extent] if extent % s else []
            inside += [point >= 0, point < length]
            source.append(tap)
            points.append(point)
        return te.sum(te.if_then_else(te.all(*inside), made[(n, k, *source, *points)], 0), axis=taps)

    conv = te.compute((batch, call.channels, *call.places), gathered, "conv", axes=image_axes(rank, "k"))
    return call.params(conv)
