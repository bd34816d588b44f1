"""The text of scheduled workloads: what a reader must find in it."""

from __future__ import annotations

import pytest

from autosched.nn.registry import get_task
from autosched.spec.builder import build, compute, placeholder, reduce_axis
from autosched.spec.builder import max as max_over
from autosched.spec.errors import SpecError
from autosched.spec.schedule import Accumulate, At, BindFused, BindLoop, Nest, Pack, Schedule, Split
from autosched.spec.show import text_from_schedule
from autosched.spec.task import Target, TargetOption, Task

TASK = get_task("gemm", N=64, K=100, M=64, threads=2)

PLAIN = """\
gemm N=64 K=100 M=64 transposeA=False transposeB=False dtype=float32
for llvm, 2 threads
  A  float32[64, 100]  in
  B  float32[100, 64]  in
  C  float32[64, 64]  out

# C: float32[64, 64]; from 0.0
for i in 64:
  for j in 64:
    for k in 100:
      C[i, j] += A[i, k] * B[k, j]"""

TILED = """\
# B.pack: float32[2, 100, 32]; temporary
for bo in 2:
  for a in 100:
    vectorize bi in 32:
      B.pack[bo, a, bi] = B[a, bo * 32 + bi]

# C.acc: float32[2, 8, 8, 32]; temporary; k = ko * 8 + kt
parallel par in 16:  # jo, io
  C.acc[jo, io, ii, ji] = 0.0
  for ko in 13:
    for kt in 8:
      unroll ii in 8:
        vectorize ji in 32:
          if k < 100:
            C.acc[jo, io, ii, ji] += A[io * 8 + ii, k] * B.pack[jo, k, ji]
  # C: float32[64, 64]; here i: 8, j: 32; unrolled up to 16 steps
  for i in 8:
    for j in 32:
      C[i, j] = C.acc[j // 32, i // 8, i % 8, j % 32]"""


def test_plain_loops() -> None:
    assert text_from_schedule(Schedule(), TASK) == PLAIN


def test_stagings_splits_bindings_and_what_is_inside() -> None:
    halves = Split(axis="j", into=("jo", "ji"), factors=(2, 32))
    schedule = Schedule(
        stagings=(
            Accumulate(
                stage="C", as_="C.acc", order=("jo", "io", "ii", "ji"),
                splits=(halves, Split(axis="i", into=("io", "ii"), factors=(8, 8))),
            ),
            Pack(
                stage="C.acc", reads="B", as_="B.pack", dims=("a", "b"), order=("bo", "a", "bi"),
                splits=(Split(axis="b", into=("bo", "bi"), factors=(2, 32)),),
            ),
        ),
        nests=(
            Nest(stage="B.pack", bind=(BindLoop(loop="bi", to="vectorize"),)),
            Nest(
                stage="C.acc",
                splits=(Split(axis="k", into=("ko", "kt"), factors=(13, 8), tail="predicate"),),
                order=("jo", "io", "ko", "kt", "ii", "ji"),
                bind=(
                    BindFused(fuse=("jo", "io"), as_="par", to="parallel"), BindLoop(loop="ii", to="unroll"),
                    BindLoop(loop="ji", to="vectorize"),
                ),
                start="ko",
            ),
            Nest(stage="C", at=At(stage="C.acc", loop="par"), unroll_limit=16),
        ),
    )  # fmt: skip
    shown = text_from_schedule(schedule, TASK).split("\n\n", 1)[1]
    assert shown == TILED


def test_a_reduction_that_is_no_sum_and_a_constant() -> None:
    X = placeholder((8, 4), name="X")
    k = reduce_axis(4, name="k")
    workload = build([X, compute((8,), lambda i: max_over(X[i, k], axis=k), name="Y")])
    target = Target(options=(TargetOption(name="mcpu", value="znver5"),))
    task = Task(workload=workload, threads=1, constants=("X",), target=target)
    shown = text_from_schedule(Schedule(), task).splitlines()
    assert shown[:2] == ["for llvm mcpu=znver5, 1 thread", "  X  float32[8, 4]  constant"]
    assert shown[-1] == "    Y[i] = max(Y[i], X[i, k])"
    assert shown[-4] == "# Y: float32[8]; from -inf"


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(SpecError, match=r"schedule.nests\[0\].stage: no stage 'D'"):
        text_from_schedule(Schedule(nests=(Nest(stage="D"),)), TASK)
