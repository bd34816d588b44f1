"""How many floating-point operations a workload asks for: the count behind every GFLOP/s."""

from .expr import Binary, Compare, Expr, If, Load, Logic, Select, children
from .linear import is_index
from .workload import Stage, Workload


def flop_count(workload: Workload) -> int | None:
    """Operations of a call, by convention; None where nothing is multiplied, as a rate would then say nothing.

    A sum of products counts 2 for each of its points, the multiply-add, however many factors a product has and
    whether or not it falls on padding: ``C[i, j] += A[i, k] * B[k, j]`` counts ``2 * M * N * K``. In other stages
    each multiplication counts 1 a point. Additions alone, comparisons, divisions and index arithmetic count nothing.
    The count belongs to the task: it is taken from the reference workload, never from a rewritten one.
    """
    total = sum(stage.points * _operations(stage) for stage in workload.stages)
    return total or None


def _operations(stage: Stage) -> int:
    multiplications = sum(_multiplications(body) for body in stage.body)
    op = stage.reducer.op if stage.reducer is not None else ""
    if op == "prod":
        return multiplications + 1
    return 2 if op == "sum" and multiplications else multiplications


def _multiplications(node: Expr) -> int:
    """Multiplications of values in a tree, not those in indices and conditions."""
    match node:
        case Load() | Compare() | Logic():
            return 0
        case If(_, then, otherwise) | Select(_, then, otherwise):
            return max(_multiplications(then), _multiplications(otherwise))
        case Binary() if is_index(node):
            return 0
        case Binary("mul", a, b):
            return 1 + _multiplications(a) + _multiplications(b)
        case _:
            return sum(_multiplications(child) for child in children(node))
