"""Other ways to compute operators: each gives what the operator gives, for whatever arguments it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn import algorithms as registry
from autosched.nn.algorithms import algorithms_of, algorithms_of_operator, register_algorithm
from autosched.nn.registry import get_task
from autosched.search.agreement import check_agrees
from autosched.spec import builder as te
from autosched.spec.algorithm import Algorithm
from autosched.spec.check_algorithm import check_algorithm
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate, random_inputs
from autosched.spec.flops import flop_count
from autosched.spec.task import Argument, OperatorCall
from autosched.spec.tolerance import tolerance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autosched.spec.builder import Tensor
    from autosched.spec.task import Task

EVERY = ("exact", "reassociated", "winograd")
SIZES = {1: "L", 2: "HW", 3: "DHW"}
TAPS = {1: "R", 2: "RS", 3: "TRS"}
small = st.integers(1, 4)


@st.composite
def transposed_calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A transposed convolution of any rank, and arguments that it takes."""
    rank = draw(st.integers(1, 3))
    each = st.tuples(*[st.integers(1, 3)] * rank)
    stride, kernel, size = draw(each), draw(st.tuples(*[st.integers(1, 5 - rank)] * rank)), draw(each)
    padding = tuple(draw(st.integers(0, taps // 2)) for taps in kernel)
    more = tuple(draw(st.integers(0, apart - 1)) for apart in stride)
    for d in range(rank):  # some point is left
        short = 1 - ((size[d] - 1) * stride[d] - 2 * padding[d] + kernel[d] + more[d])
        size = tuple(extent + max(0, short) if d == place else extent for place, extent in enumerate(size))
    groups = draw(st.sampled_from([1, 1, 2]))
    args: dict[str, Any] = {"N": draw(st.integers(1, 2)), "C": 2 * groups, "K": groups * draw(small)}
    args |= dict(zip(SIZES[rank], size, strict=True)) | dict(zip(TAPS[rank], kernel, strict=True))
    spelled = {"stride": stride, "padding": padding, "output_padding": more}
    args |= {name: value if rank > 1 else value[0] for name, value in spelled.items()}
    args |= {"groups": groups, "bias": draw(st.booleans()), "relu": draw(st.booleans())}
    return f"conv_transpose{rank}d", args


def assert_all_agree(task: Task) -> list[str]:
    """Raises AssertionError unless every algorithm of a task computes what it asks for; gives their names."""
    found = algorithms_of(task, EVERY)
    inputs = random_inputs(task.workload, 0)
    wanted = evaluate(task.workload, inputs, precise=True)
    for algorithm in found:
        check_algorithm(algorithm, task.workload)
        for name, values in evaluate(algorithm.workload, inputs, precise=True).items():
            rtol, atol = tolerance(task.workload, name, algorithm.accuracy)
            np.testing.assert_allclose(values, wanted[name], rtol=rtol, atol=atol, err_msg=algorithm.name)
    return [algorithm.name for algorithm in found]


@given(transposed_calls())
def test_transposed_convolutions_without_inserted_zeros(call: tuple[str, dict[str, Any]]) -> None:
    op, args = call
    kernel = [args[tap] for tap in TAPS[int(op[-2])]]
    strides = args["stride"] if isinstance(args["stride"], tuple) else (args["stride"],)
    wanted = ["phases"] * (max(strides) > 1) + ["columns"] * (max(kernel) > 1)
    assert assert_all_agree(get_task(op, threads=2, **args)) == wanted


@given(st.fixed_dictionaries(dict.fromkeys(("N", "K1", "K2", "M"), small)), st.booleans())
def test_products_of_three_in_two_steps(sizes: dict[str, int], bias: bool) -> None:
    assert assert_all_agree(get_task("mttkrp", threads=2, **sizes)) == ["factored"]
    assert assert_all_agree(get_task("bilinear", threads=2, **sizes, bias=bias)) == ["factored"]


@given(
    st.fixed_dictionaries(
        {"N": st.integers(1, 2), "C": small, "K": small, "H": st.integers(3, 9), "W": st.integers(3, 9)}
    )
)
def test_winograd_of_images_of_any_size(sizes: dict[str, int]) -> None:
    task = get_task("conv2d", threads=2, **sizes, R=3, S=3, padding=1, bias=True, relu=True)
    assert assert_all_agree(task) == ["winograd2", "winograd4"]


def test_winograd_is_for_who_allows_it_and_for_kernels_of_3_by_3() -> None:
    args = {"N": 1, "C": 2, "H": 9, "W": 9, "K": 2}
    assert algorithms_of(get_task("conv2d", threads=2, **args, R=3, S=3), ("exact", "reassociated")) == ()
    for other in ({"R": 5, "S": 5}, {"R": 3, "S": 3, "stride": 2}, {"R": 3, "S": 3, "dilation": 2}):
        assert algorithms_of(get_task("conv2d", threads=2, **args, **other), EVERY) == ()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [3, 64])
def test_the_rounding_of_winograd_is_within_its_tolerance(dtype: str, channels: int) -> None:
    task = get_task("conv2d", threads=2, N=1, C=channels, H=9, W=9, K=8, R=3, S=3, padding=1, dtype=dtype)
    inputs = random_inputs(task.workload, 1)
    wanted = evaluate(task.workload, inputs, precise=True)["conv"]
    for algorithm in algorithms_of(task, EVERY):
        rtol, atol = tolerance(task.workload, "conv", "winograd")
        found = evaluate(algorithm.workload, inputs)["conv"].astype(np.float64)
        assert np.all(np.abs(found - wanted) <= 0.25 * (atol + rtol * np.abs(wanted)))


def test_dilated_transposed_convolutions_have_none() -> None:
    args = {"N": 1, "C": 2, "H": 5, "W": 5, "K": 2, "R": 3, "S": 3, "stride": 2, "dilation": 2}
    assert algorithms_of(get_task("conv_transpose2d", threads=2, **args), EVERY) == ()


def test_phases_multiply_no_inserted_zeros() -> None:
    args = {"N": 1, "C": 8, "H": 16, "W": 16, "K": 8, "R": 4, "S": 4, "stride": 2, "padding": 1}
    task = get_task("conv_transpose2d", threads=2, **args)
    phases, columns = algorithms_of(task, EVERY)
    whole = flop_count(task.workload)
    assert whole is not None
    assert flop_count(phases.workload) == pytest.approx(whole / 4, rel=0.2)
    assert flop_count(columns.workload) == pytest.approx(whole / 4, rel=0.2)


# --- the registry -----------------------------------------------------------------------------------------------------


def test_a_task_without_a_name_or_with_a_wrong_one_has_none() -> None:
    task = get_task("mttkrp", threads=2, N=2, K1=3, K2=4, M=5)
    assert [algorithm.name for algorithm in algorithms_of(task, EVERY)] == ["factored"]
    assert algorithms_of(attrs.evolve(task, op=None), EVERY) == ()
    wrong = OperatorCall(name="mttkrp", args=(Argument(name="N", value=3), *task.op.args[1:]))  # type: ignore[union-attr] # it has one
    assert algorithms_of(attrs.evolve(task, op=wrong), EVERY) == ()
    assert algorithms_of(get_task("gemm", threads=2, N=2, K=3, M=4), EVERY) == ()


def test_an_algorithm_has_the_names_of_its_task() -> None:
    task = get_task("mttkrp", threads=2, N=2, K1=3, K2=4, M=5)
    (found,) = algorithms_of(task, EVERY)
    assert found.workload.params == task.workload.params == ("A", "B", "C", "D")


def test_who_registers_an_algorithm_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {"gemm": {}})

    @register_algorithm("gemm", name="turned", accuracy="winograd")
    def turned(*, N: int, K: int, M: int, dtype: str, **_: bool) -> Sequence[Tensor] | None:
        if M == 1:
            return None
        A, B = te.placeholder((N, K), dtype, name="left"), te.placeholder((K, M), dtype, name="right")
        k = te.reduce_axis(K, name="k")
        T = te.compute((M, N), lambda j, i: te.sum(A[i, k] * B[k, j], axis=k), name="A")
        return A, B, te.compute((N, M), lambda i, j: T[j, i], name="out")

    task = get_task("gemm", threads=2, N=3, K=4, M=5)
    assert algorithms_of(task, ("exact", "reassociated")) == ()
    (found,) = algorithms_of(task, EVERY)
    assert found.workload.params == ("A", "B", "C")
    assert found.is_loose
    assert algorithms_of(get_task("gemm", threads=2, N=3, K=4, M=1), EVERY) == ()
    assert [each.name for each in algorithms_of_operator("gemm")] == ["turned"]


def test_a_name_is_taken_once() -> None:
    assert algorithms_of_operator("mttkrp")
    with pytest.raises(SpecError) as caught:
        register_algorithm("mttkrp", name="factored")(lambda: None)
    assert str(caught.value) == "algorithm 'factored' of 'mttkrp' is already there; choose another name"


# --- agreement --------------------------------------------------------------------------------------------------------


def test_an_algorithm_that_computes_something_else_is_found_without_building_it() -> None:
    task = get_task("mttkrp", threads=2, N=2, K1=3, K2=4, M=5)
    (good,) = algorithms_of(task, EVERY)
    check_agrees(good, task)
    wrong = get_task("mttkrp", threads=2, N=2, K1=3, K2=4, M=5).workload
    first = attrs.evolve(wrong.stages[0], body=(te_body(),))
    with pytest.raises(SpecError) as caught:
        check_agrees(Algorithm(name="half", workload=attrs.evolve(wrong, stages=(first,))), task)
    assert str(caught.value).startswith("schedule.algorithm: 'half' computes another result than the task: D[0, 0] is ")


def te_body() -> Any:
    """A body of mttkrp's that leaves C out, but for what it takes to be read."""
    from autosched.spec.expr_text import expr_from_text

    return expr_from_text("A[i, k, l] * B[k, j] + C[l, j] * float32(0.0)")
