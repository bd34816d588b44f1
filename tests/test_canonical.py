"""Identity: the same for workloads that differ in names and order only, another for any other change."""

from __future__ import annotations

import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec import builder as b
from autosched.spec.canonical import canonical, canonical_names, canonical_text, identity, renamed, stage_order
from autosched.spec.check_workload import check_workload
from autosched.spec.errors import SpecError
from autosched.spec.expr import Axis, Binary, Cast, Compare, Const, Load, const, index, rename, transform
from autosched.spec.workload import IterAxis, Output, Stage, Workload
from strategies import workloads


def gemm(M=4, N=6, K=8, dtype="float32"):
    A, B = b.placeholder((M, K), dtype, "A"), b.placeholder((K, N), dtype, "B")
    k = b.reduce_axis(K, "k")
    return b.build([A, B, b.compute((M, N), lambda i, j: b.sum(A[i, k] * B[k, j], k), "C")])


def renamed_apart(workload, suffix):
    """The same workload with all names changed, by code that shares nothing with `canonical`."""
    buffers = {name: f"{name}{suffix}" for name in workload.buffers}
    inputs = tuple(attrs.evolve(i, name=buffers[i.name]) for i in workload.inputs)
    stages = []
    for stage in workload.stages:
        axes = {name: f"q{suffix}.{name}" for name in stage.extents}
        stages.append(
            attrs.evolve(
                stage,
                name=f"{stage.name}{suffix}",
                axes=tuple(attrs.evolve(a, name=axes[a.name]) for a in stage.axes),
                reduce=tuple(attrs.evolve(a, name=axes[a.name]) for a in stage.reduce),
                outputs=tuple(attrs.evolve(o, name=buffers[o.name]) for o in stage.outputs),
                body=tuple(rename(body, axes, buffers) for body in stage.body),
            )
        )
    params = tuple(buffers[name] for name in workload.params)
    return attrs.evolve(workload, inputs=inputs, stages=tuple(stages), params=params)


@given(workloads())
def test_canonical_is_idempotent_and_well_formed(workload):
    form = canonical(workload)
    check_workload(form)
    assert canonical(form) == form
    assert identity(form) == identity(workload)


@given(workloads())
def test_other_names_are_the_same_workload(workload):
    other = renamed_apart(workload, "_x")
    check_workload(other)
    assert canonical(other) == canonical(workload)
    assert identity(other) == identity(workload)


@given(workloads(), st.randoms(use_true_random=False))
def test_the_order_of_stages_and_inputs_means_nothing(workload, random):
    stages, inputs = list(workload.stages), list(workload.inputs)
    random.shuffle(stages)
    random.shuffle(inputs)
    other = attrs.evolve(workload, stages=tuple(stages), inputs=tuple(inputs))
    assert canonical(other) == canonical(workload)


@given(workloads())
def test_names_lead_there_and_back(workload):
    names = canonical_names(workload)
    form = canonical(workload)
    back = renamed(form, names.inverted)
    assert {s.name: s for s in back.stages} == {s.name: s for s in workload.stages}
    assert back.params == workload.params


@given(workloads())
def test_producers_stand_before_their_readers(workload):
    seen = {buffer.name for buffer in workload.inputs}
    for stage in stage_order(workload):
        assert set(stage.reads) <= seen
        seen |= {output.name for output in stage.outputs}


@given(workloads())
def test_the_identity_is_a_sha256_of_plain_text(workload):
    assert re.fullmatch(r"[0-9a-f]{64}", identity(workload))
    text = canonical_text(workload)
    assert text.isascii()
    names = {name for stage in workload.stages for name in (stage.name, *stage.extents)} | set(workload.buffers)
    assert not {name for name in names if re.search(rf"\b{re.escape(name)}\b", text)}


# --- every change of content shows ----------------------------------------------------------------------------------


def other_constants(node):
    """The tree with its first constant changed, None where it has none."""
    done = False

    def change(n):
        nonlocal done
        if not done and isinstance(n, Const) and n.dtype != "bool":
            done = True
            return const(n.dtype, 5 if n.text != "5" else 6)
        return n

    changed = transform(node, change)
    return changed if done else None


def mutations(workload):
    """Workloads that differ from this one in one place each (well formed or not: identity must not care)."""
    yield "index dtype", attrs.evolve(workload, index_dtype="int64" if workload.index_dtype == "int32" else "int32")
    if len(workload.params) > 1:
        yield "order of parameters", attrs.evolve(workload, params=(*workload.params[1:], workload.params[0]))
    for number, buffer in enumerate(workload.inputs):
        for what, new in (
            ("dtype", attrs.evolve(buffer, dtype="uint16")),
            ("rank", attrs.evolve(buffer, shape=(*buffer.shape, 1))),
            *(
                ("shape", attrs.evolve(buffer, shape=(buffer.shape[0] + 1, *buffer.shape[1:])))
                for _ in buffer.shape[:1]
            ),
        ):
            inputs = (*workload.inputs[:number], new, *workload.inputs[number + 1 :])
            yield f"{what} of {buffer.name}", attrs.evolve(workload, inputs=inputs)
    for number, stage in enumerate(workload.stages):
        for what, new in stage_mutations(stage):
            stages = (*workload.stages[:number], new, *workload.stages[number + 1 :])
            yield f"{what} of {stage.name}", attrs.evolve(workload, stages=stages)


def stage_mutations(stage):
    for place in ("axes", "reduce"):
        axes = getattr(stage, place)
        for n, axis in enumerate(axes):
            longer = attrs.evolve(axis, extent=axis.extent + 1)
            yield f"extent in {place}", attrs.evolve(stage, **{place: (*axes[:n], longer, *axes[n + 1 :])})
    if stage.axes:
        yield "kind of an axis", attrs.evolve(stage, axes=stage.axes[:-1], reduce=(stage.axes[-1], *stage.reduce))
    output = attrs.evolve(stage.outputs[0], dtype="uint16")
    yield "output dtype", attrs.evolve(stage, outputs=(output, *stage.outputs[1:]))
    if stage.reducer is not None:
        op = "min" if stage.reducer.op != "min" else "max"
        yield "reducer", attrs.evolve(stage, reducer=attrs.evolve(stage.reducer, op=op))
        start = stage.reducer.init[0]
        init = (const(start.dtype, 5 if start.text not in ("5", "5.0") else 6), *stage.reducer.init[1:])
        yield "start value", attrs.evolve(stage, reducer=attrs.evolve(stage.reducer, init=init))
        yield "presence of a reducer", attrs.evolve(stage, reducer=None)
    body = stage.body[0]
    yield "operator around the body", attrs.evolve(stage, body=(Binary("add", body, body), *stage.body[1:]))
    changed = other_constants(body)
    if changed is not None:
        yield "constant", attrs.evolve(stage, body=(changed, *stage.body[1:]))
    if isinstance(body, Binary) and body.a != body.b:
        yield "order of operands", attrs.evolve(stage, body=(Binary(body.op, body.b, body.a), *stage.body[1:]))


@given(workloads(max_stages=3))
def test_every_change_of_content_changes_the_identity(workload):
    base = identity(workload)
    count = 0
    for what, other in mutations(workload):
        assert identity(other) != base, what
        count += 1
    assert count >= 5


@pytest.mark.parametrize("other", [gemm(M=5), gemm(dtype="float64"), gemm(K=9)])
def test_other_sizes_and_dtypes(other):
    assert identity(other) != identity(gemm())


def test_floats_count_to_the_last_bit():
    def scaled(factor):
        A = b.placeholder((4,), "float64", "A")
        return b.build([A, b.compute((4,), lambda i: A[i] * factor, "B")])

    assert identity(scaled(0.1)) != identity(scaled(0.1 + 2**-56))
    assert identity(scaled(0.0)) != identity(scaled(-0.0))
    assert identity(scaled(1.0)) == identity(scaled(1))


def one(body, dtype="int32"):
    stage = Stage(
        name="Y", axes=(IterAxis(name="i", extent=2),), outputs=(Output(name="Y", dtype=dtype),), body=(body,)
    )
    return Workload(inputs=(), stages=(stage,), params=("Y",))


def test_dtypes_of_equal_numbers_count():
    same = {identity(one(Cast("int8", const(dtype, 1)), "int8")) for dtype in ("index", "int32")}
    others = {identity(one(Cast("int8", const(dtype, 1)), "int8")) for dtype in ("int64", "int16", "float32", "bool")}
    assert len(same) == 1, "the index dtype here is int32"
    assert len(others) == 4
    assert not same & others


def test_a_comparison_may_be_written_from_either_side():
    i = Axis("i")
    pairs = [("ge", "le"), ("gt", "lt")]
    for op, mirrored in pairs:
        assert identity(one(Compare(op, i, index(1)), "bool")) == identity(one(Compare(mirrored, index(1), i), "bool"))
        assert identity(one(Compare(op, i, index(1)), "bool")) != identity(one(Compare(op, index(1), i), "bool"))


def test_grouping_counts():
    """(a or b) and c against a or (b and c): their texts must differ."""
    A = b.placeholder((4,), name="A")

    def guarded(cond):
        return b.build([A, b.compute((4,), lambda i: b.select(cond(i < 1, i < 2, i < 3), A[i], 0.0), "B")])

    first = guarded(lambda p, q, r: b.all(b.any(p, q), r))
    second = guarded(lambda p, q, r: b.any(p, b.all(q, r)))
    assert identity(first) != identity(second)


def test_the_text_of_a_product():
    assert canonical_text(gemm()).splitlines() == [
        "workload 1 index int32 params p0 p1 p2",
        "input p0 float32 4x8",
        "input p1 float32 8x6",
        "stage p2 axes a0:4 a1:6 reduce a2:8 outputs p2:float32 sum float32(0x0.0p+0)",
        "p0[a0, a2] * p1[a2, a1]",
    ]


def test_the_identity_of_a_product_does_not_change():
    """It is written in stores: a change of the canonical form must raise IDENTITY_VERSION, and change this value."""
    assert identity(gemm()) == "b2673682d4ae36dceaacc68f75473b593c359e20f1f3aefff491f81da8910560"


def test_a_circle_is_refused():
    stages = tuple(
        Stage(name=name, axes=(), outputs=(Output(name=name, dtype="float32"),), body=(Load(other, ()),))
        for name, other in (("A", "B"), ("B", "A"))
    )
    with pytest.raises(SpecError, match="stages: stage 'A' depends on itself"):
        stage_order(Workload(inputs=(), stages=stages, params=("A",)))
