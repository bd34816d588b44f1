"""Tensor intrinsics: a few instructions that do the work of the innermost loops of a nest, as data.

Each says what it computes by a workload of our own, as ``C[l] += cast(int32, A[k]) * cast(int32, B[l, k])``: dtypes,
extents, and the layout in memory, which is the workload's own: every operand lies row-major and without gaps. `A` has
no lane: one word of it goes to all lanes. What the instructions are is the compiler's business (`tvm_intrinsics.py`).

| family | instruction | rounds |
|---|---|---|
| vnni | vpdpbusd: 4 products of 8 bits a lane, added without saturation | never |
| madd | vpmaddwd of bytes widened to 16 bits: 2 products a lane | never |
| bf16 | vdpbf16ps: 2 products a lane | products are exact; the later one is added first, each sum rounded to nearest |

vdpbf16ps takes denormals for zero and makes none, so values below 2**-126 may be lost; apart from these its results
are those of a re-associated sum, which `tolerance.py` allows for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

from .expr import Axis, Binary, Cast, Load, const
from .triple import arch_of
from .workload import Buffer, IterAxis, Output, Reducer, Stage, Workload
from .x86_cpus import features_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .task import Target

FAMILIES: Final = ("vnni", "madd", "bf16")


@attrs.frozen(kw_only=True)
class Intrinsic:
    """One intrinsic: its workload has the inputs A (k) and B (l, k) and one stage, the sum over k into C (l).

    `needs` lists sets of LLVM's CPU features, any of which is enough; `instructions` counts what one use is made of.
    """

    name: str
    family: str
    computes: Workload
    needs: tuple[tuple[str, ...], ...]
    instructions: int = 1

    @property
    def stage(self) -> Stage:
        """What is computed."""
        return self.computes.stages[0]

    @property
    def loops(self) -> tuple[IterAxis, ...]:
        """The loops that it stands for, outermost first."""
        return (*self.stage.axes, *self.stage.reduce)

    @property
    def lanes(self) -> int:
        """Sums that it adds to at once."""
        return self.stage.axes[0].extent

    @property
    def output(self) -> Buffer:
        """The buffer that it adds to."""
        return self.computes.buffers[self.stage.name]

    def strides(self, operand: str) -> dict[str, int]:
        """Elements that each loop moves an operand by: the stride of its dimension, 0 where it has none."""
        buffer = self.computes.buffers[operand]
        where = [Axis(axis.name) for axis in self.stage.axes]
        for node in _loads(self.stage):
            if node.buffer == operand:
                where = [index for index in node.indices if isinstance(index, Axis)]
        found = dict.fromkeys((axis.name for axis in self.loops), 0)
        for dimension, axis in enumerate(where):
            found[axis.name] = math.prod(buffer.shape[dimension + 1 :])
        return found


def _loads(stage: Stage) -> tuple[Load, Load]:
    (body,) = stage.body
    assert isinstance(body, Binary)
    first, second = (cast.value for cast in (body.a, body.b) if isinstance(cast, Cast))
    assert isinstance(first, Load)
    assert isinstance(second, Load)
    return first, second


def _dot(lanes: int, depth: int, a: str, b: str, c: str) -> Workload:
    """``C[l] += cast(c, A[k]) * cast(c, B[l, k])``."""
    lane, step = Axis("l"), Axis("k")
    stage = Stage(
        name="C",
        axes=(IterAxis(name="l", extent=lanes),),
        reduce=(IterAxis(name="k", extent=depth),),
        outputs=(Output(name="C", dtype=c),),
        body=(Binary("mul", Cast(c, Load("A", (step,))), Cast(c, Load("B", (lane, step)))),),
        reducer=Reducer(op="sum", init=(const(c, 0),)),
    )
    inputs = (Buffer(name="A", shape=(depth,), dtype=a), Buffer(name="B", shape=(lanes, depth), dtype=b))
    return Workload(inputs=inputs, stages=(stage,), params=("A", "B", "C"))


_SHORT: Final = {"uint8": "u8", "int8": "i8"}
_VNNI: Final = {16: (("avx512vnni",),), 8: (("avx512vl", "avx512vnni"), ("avxvnni",))}
_MADD: Final = {16: (("avx512bw",),), 8: (("avx2",),)}
_BF16: Final = {16: (("avx512bf16",),), 8: (("avx512bf16", "avx512vl"),)}


def _all() -> tuple[Intrinsic, ...]:
    found = []
    for lanes in (16, 8):
        for a, b in (("uint8", "int8"), ("int8", "uint8")):
            name = f"vnni.dot_{lanes}x4{'' if a == 'uint8' else '_i8u8'}"
            computes = _dot(lanes, 4, a, b, "int32")
            found.append(Intrinsic(name=name, family="vnni", computes=computes, needs=_VNNI[lanes]))
        for a, b in (("uint8", "int8"), ("int8", "uint8"), ("int8", "int8"), ("uint8", "uint8")):
            name = f"madd.dot_{lanes}x2_{_SHORT[a]}{_SHORT[b]}"
            computes = _dot(lanes, 2, a, b, "int32")
            # Widening the lanes, the products, and their sum; the word of A is widened once for many lanes.
            found.append(Intrinsic(name=name, family="madd", computes=computes, needs=_MADD[lanes], instructions=3))
        computes = _dot(lanes, 2, "bfloat16", "bfloat16", "float32")
        found.append(Intrinsic(name=f"bf16.dot_{lanes}x2", family="bf16", computes=computes, needs=_BF16[lanes]))
    return tuple(found)


INTRINSICS: Final[Mapping[str, Intrinsic]] = {intrinsic.name: intrinsic for intrinsic in _all()}
"""Every intrinsic by its name, as ``vnni.dot_16x4``."""

_ISA: Final = {"avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "avx512bf16": "avx512_bf16"}


def intrinsics_of(isa: Collection[str]) -> tuple[Intrinsic, ...]:
    """The intrinsics of a machine, by the flags of its record (`Machine.isa`, the kernel's names)."""
    has = {feature for needs in (_VNNI, _MADD, _BF16) for sets in needs.values() for each in sets for feature in each}
    has = {feature for feature in has if _ISA.get(feature, feature) in isa}
    return tuple(one for one in INTRINSICS.values() if is_had(one, has))


def is_had(intrinsic: Intrinsic, features: Collection[str]) -> bool:
    """True where a CPU with these of LLVM's features has the intrinsic."""
    return any(all(feature in features for feature in needed) for needed in intrinsic.needs)


def needs_text(intrinsic: Intrinsic) -> str:
    """The features that an intrinsic needs, in words: ``avx512vl and avx512vnni, or avxvnni``."""
    return ", or ".join(" and ".join(needed) for needed in intrinsic.needs)


def target_features(target: Target) -> frozenset[str] | None:
    """What a target says of its CPU's features; None where it does not say, or is of a CPU that nothing is known of.

    ``mattr`` adds to what ``mcpu`` has and takes away from it.
    """
    options = {option.name: str(option.value) for option in target.options}
    if target.kind != "llvm" or not (arch_of(target) or "x86").startswith(("x86", "i386", "i686")):
        return frozenset()
    found = features_of(options["mcpu"]) if "mcpu" in options else None
    if found is None:
        return None
    for text in options.get("mattr", "").split(","):
        found = found | {text[1:]} if text.startswith("+") else found - {text[1:]}
    return found
