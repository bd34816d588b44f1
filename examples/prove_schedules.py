"""Prove schedules of a computation of one's own: random ones by hypothesis, and one written by hand."""

from hypothesis import given, settings

from autosched.spec import builder
from autosched.spec.schedule import Accumulate, BindLoop, Nest, Schedule, Split
from autosched.spec.task import Task
from autosched.spec.testing import assert_lowers_correctly, schedules


def smoothed_product(M, N, K):
    """``D[i, j] = tanh(sum over k of A[i, k] * B[k, j])``."""
    A = builder.placeholder((M, K), name="A")
    B = builder.placeholder((K, N), name="B")
    k = builder.reduce_axis(K, name="k")
    C = builder.compute((M, N), lambda i, j: builder.sum(A[i, k] * B[k, j], axis=k), name="C")
    D = builder.compute((M, N), lambda i, j: builder.call("tanh", C[i, j]), name="D")
    return builder.build([A, B, D])


# Small and odd extents find more than large ones, and faster.
TASK = Task(workload=smoothed_product(7, 12, 5), threads=2)


@settings(max_examples=25, deadline=None, database=None)
@given(schedules(TASK))
def test_every_schedule_computes_the_task(schedule):
    """Each is checked, lowered, built, run and compared with NumPy; a failure is shrunk to a small schedule."""
    assert_lowers_correctly(schedule, TASK)


def test_mine():
    vectors = Split(axis="j", into=("jo", "ji"), factors=(3, 4))
    mine = Schedule(
        stagings=(Accumulate(stage="C", as_="C.acc", splits=(vectors,), order=("jo", "i", "ji")),),
        nests=(
            Nest(
                stage="C.acc",
                order=("jo", "i", "k", "ji"),
                bind=(BindLoop(loop="jo", to="parallel"), BindLoop(loop="ji", to="vectorize")),
                start="k",
            ),
        ),
    )
    assert_lowers_correctly(mine, TASK)


if __name__ == "__main__":  # or run pytest on this file
    test_every_schedule_computes_the_task()
    test_mine()
    print("25 random schedules and mine compute the task")
