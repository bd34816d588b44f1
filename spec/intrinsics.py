"""Tensor intrinsics: a few instructions that do the work of the innermost loops of a nest, as data.

Each says what it computes by a workload of our own, as ``C[l] += cast(int32, A[k]) * cast(int32, B[l, k])``: dtypes,
extents, and the layout in memory, which is the workload's own: every operand lies row-major and without gaps. `A` has
no lane: one word of it goes to all lanes. What the instructions are is the compiler's business (`tvm_intrinsics.py`).

| family | instruction | rounds |
|---|---|---|
| vnni | vpdpbusd: 4 products of 8 bits a lane, added without saturation | never |
| madd | vpmaddwd of bytes widened to 16 bits: 2 products a lane | never |
| bf16 | vdpbf16ps: 2 products a lane | products are exact; the later one is added first, each sum rounded to nearest |
| wmma | load_matrix_sync, mma_sync and store_matrix_sync of a GPU's tensor cores | sums, in an order of their own |

vdpbf16ps takes denormals for zero and makes none, so values below 2**-126 may be lost; apart from these its results
are those of a re-associated sum, which `tolerance.py` allows for.

Those of wmma are of the 32 threads of a warp together: they move tiles of 16 by 16 between memory and *fragments*,
registers of the warp in no order that is known, or multiply what is in fragments. A tile in memory has its rows, or its
columns, side by side, and these a fixed step apart (`check_wmma.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping  # attrs reads the annotations of fields
from typing import TYPE_CHECKING, Final

import attrs

from .expr import Axis, Binary, Cast, Expr, Load, const, loads
from .gpu import capability
from .schedule import FRAGMENTS, SHARED
from .triple import arch_of
from .workload import Buffer, IterAxis, Output, Reducer, Stage, Workload
from .x86_cpus import features_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from .task import Target

WARP: Final = 32
"""Threads of a GPU that do an intrinsic of wmma together: all of ``threadIdx.x``, its lanes."""
TILE: Final = 16
"""Rows, columns and products of an intrinsic of wmma."""


@attrs.frozen(kw_only=True)
class Intrinsic:
    """One intrinsic, by the workload of what it computes.

    Of a CPU's it has the inputs A (k) and B (l, k) and one stage, the sum over k into C (l). Of wmma it is a sum, C
    (i, j) of A (i, k) and B (k, j), or a copy of a tile, F (r, c).

    `needs` lists sets of features, any of which is enough: LLVM's of a CPU, or architectures of a GPU. `instructions`
    counts what one use is made of. `scopes` says of a GPU's operands in which memories they may be.
    """

    name: str
    family: str
    computes: Workload
    needs: tuple[tuple[str, ...], ...]
    instructions: int = 1
    scopes: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)

    @property
    def of_warp(self) -> bool:
        """True where the threads of a warp do it together."""
        return self.family == "wmma"

    @property
    def kind(self) -> str:
        """The kind of target that it is for."""
        return "cuda" if self.of_warp else "llvm"

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

    def axes_of(self, operand: str) -> tuple[str, ...]:
        """The loops that an operand's dimensions move with, outermost first."""
        where = [load.indices for load in loads(self.stage.body[0]) if load.buffer == operand]
        indices = where[0] if where else tuple(Axis(axis.name) for axis in self.stage.axes)
        return tuple(index.name for index in indices if isinstance(index, Axis))

    def strides(self, operand: str) -> dict[str, int]:
        """Elements that each loop moves an operand by: the stride of its dimension, 0 where it has none."""
        buffer = self.computes.buffers[operand]
        found = dict.fromkeys((axis.name for axis in self.loops), 0)
        for dimension, name in enumerate(self.axes_of(operand)):
            found[name] = math.prod(buffer.shape[dimension + 1 :])
        return found


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


def _product(a: str, c: str) -> Workload:
    """``C[i, j] += cast(c, A[i, k]) * cast(c, B[k, j])``, 16 of each; without casts where the dtypes are one."""
    i, j, k = (IterAxis(name=name, extent=TILE) for name in "ijk")
    factors: list[Expr] = [Load("A", (Axis("i"), Axis("k"))), Load("B", (Axis("k"), Axis("j")))]
    if a != c:
        factors = [Cast(c, factor) for factor in factors]
    stage = Stage(
        name="C",
        axes=(i, j),
        reduce=(k,),
        outputs=(Output(name="C", dtype=c),),
        body=(Binary("mul", *factors),),
        reducer=Reducer(op="sum", init=(const(c, 0),)),
    )
    inputs = tuple(Buffer(name=name, shape=(TILE, TILE), dtype=a) for name in "AB")
    return Workload(inputs=inputs, stages=(stage,), params=("A", "B", "C"))


def _copy(read: str, written: str, dtype: str) -> Workload:
    """``written[r, c] = read[r, c]``, 16 of each."""
    stage = Stage(
        name=written,
        axes=(IterAxis(name="r", extent=TILE), IterAxis(name="c", extent=TILE)),
        outputs=(Output(name=written, dtype=dtype),),
        body=(Load(read, (Axis("r"), Axis("c"))),),
    )
    return Workload(
        inputs=(Buffer(name=read, shape=(TILE, TILE), dtype=dtype),), stages=(stage,), params=(read, written)
    )


_SHORT: Final = {
    "uint8": "u8", "int8": "i8", "int32": "i32", "float16": "f16", "bfloat16": "bf16", "float32": "f32",
}  # fmt: skip
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


_WMMA: Final = {
    ("float16", "float32"): "sm_70", ("float16", "float16"): "sm_70", ("bfloat16", "float32"): "sm_80",
    ("int8", "int32"): "sm_72",
}  # fmt: skip
"""Dtypes of factors and sums → the first architecture whose tensor cores have them (PTX ISA, wmma.mma)."""


def _all_wmma() -> tuple[Intrinsic, ...]:
    found: dict[str, Intrinsic] = {}
    memory = (*SHARED, "global")
    matrix_a, matrix_b, accumulator = ((scope,) for scope in FRAGMENTS)
    for (a, c), arch in _WMMA.items():
        shape = "x".join(3 * [str(TILE)])
        made = (
            (f"load_a_{shape}_{_SHORT[a]}", _copy("X", "F", a), {"X": memory, "F": matrix_a}),
            (f"load_b_{shape}_{_SHORT[a]}", _copy("X", "F", a), {"X": memory, "F": matrix_b}),
            (f"mma_{shape}_{_SHORT[a]}_{_SHORT[c]}", _product(a, c), {"A": matrix_a, "B": matrix_b, "C": accumulator}),
            (f"store_{shape}_{_SHORT[c]}", _copy("F", "X", c), {"F": accumulator, "X": memory}),
        )
        for name, computes, scopes in made:
            whole = f"wmma.{name}"
            if whole not in found:
                found[whole] = Intrinsic(name=whole, family="wmma", computes=computes, needs=((arch,),), scopes=scopes)
    return tuple(found.values())


INTRINSICS: Final[Mapping[str, Intrinsic]] = {one.name: one for one in (*_all(), *_all_wmma())}
"""Every intrinsic by its name, as ``vnni.dot_16x4``."""

_ISA: Final = {"avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "avx512bf16": "avx512_bf16"}


def intrinsics_of(isa: Collection[str]) -> tuple[Intrinsic, ...]:
    """The intrinsics of a machine, by the flags of its record (`Machine.isa`, the kernel's names)."""
    has = {feature for needs in (_VNNI, _MADD, _BF16) for sets in needs.values() for each in sets for feature in each}
    has = {feature for feature in has if _ISA.get(feature, feature) in isa}
    return tuple(one for one in INTRINSICS.values() if is_had(one, has))


def is_had(intrinsic: Intrinsic, features: Collection[str]) -> bool:
    """True where a CPU with these of LLVM's features, or a GPU of these architectures, has the intrinsic."""
    return any(all(feature in features for feature in needed) for needed in intrinsic.needs)


def needs_text(intrinsic: Intrinsic) -> str:
    """The features that an intrinsic needs, in words: ``avx512vl and avx512vnni, or avxvnni``, or ``sm_70``."""
    return ", or ".join(" and ".join(needed) for needed in intrinsic.needs)


def target_features(target: Target) -> frozenset[str] | None:
    """What a target says of its CPU's features; None where it does not say, or is of a CPU that nothing is known of.

    ``mattr`` adds to what ``mcpu`` has and takes away from it. Of a GPU of NVIDIA's, its architecture and those before:
    none where it does not say, since what a compiler takes then depends on where it runs.
    """
    options = {option.name: str(option.value) for option in target.options}
    if target.kind == "cuda":
        return architectures(options.get("arch", ""))
    if target.kind != "llvm" or not (arch_of(target) or "x86").startswith(("x86", "i386", "i686")):
        return frozenset()
    found = features_of(options["mcpu"]) if "mcpu" in options else None
    if found is None:
        return None
    for text in options.get("mattr", "").split(","):
        found = found | {text[1:]} if text.startswith("+") else found - {text[1:]}
    return found


def architectures(arch: str) -> frozenset[str]:
    """Of those that an intrinsic asks for, the ones that code for ``sm_80`` may count on; none for an unknown text."""
    number = capability(arch) or 0
    return frozenset(known for known in _WMMA.values() if (capability(known) or 0) <= number)
