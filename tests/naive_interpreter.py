"""An interpreter of workloads in plain Python loops: slow, and written without a look at the evaluator it checks.

Values are pairs of dtype and Python number; floats are computed in float64 and never rounded; integers wrap.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from autosched.spec.dtypes import INDEX, integer_bounds, is_float
from autosched.spec.expr import (
    Acc,
    Axis,
    Binary,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    If,
    Load,
    Logic,
    Select,
    const_value,
)
from autosched.spec.workload import Stage, Workload

COMPARE = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip
ARITHMETIC = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "floordiv": lambda a, b: a // b, "floormod": lambda a, b: a % b,
    "truncdiv": lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),
    "truncmod": lambda a, b: abs(a) % abs(b) * (-1 if a < 0 else 1),
    "min": min, "max": max, "bitand": lambda a, b: a & b, "bitor": lambda a, b: a | b, "bitxor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b, "shr": lambda a, b: a >> b,
}  # fmt: skip
CALLS = {"tanh": math.tanh, "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "abs": abs, "round": round, "erf": math.erf}
REDUCE = {"sum": "add", "prod": "mul", "min": "min", "max": "max"}


def wrapped(dtype: str, value):
    """The number that `dtype` holds for `value`: whole numbers modulo the dtype's range."""
    if dtype == INDEX or is_float(dtype):
        return value
    if dtype == "bool":
        return bool(value)
    low, high = integer_bounds(dtype)
    return (int(value) - low) % (high - low + 1) + low


class Interpreter:
    def __init__(self, workload: Workload, inputs) -> None:
        self.workload = workload
        self.buffers = {
            buffer.name: {
                place: inputs[buffer.name][place].item()
                if buffer.dtype != "bfloat16"
                else float(inputs[buffer.name][place])
                for place in np.ndindex(buffer.shape)
            }
            for buffer in workload.inputs
        }
        for stage in workload.stages:
            self.run(stage)

    def array(self, name: str):
        """A computed buffer as an array, floats in float64."""
        buffer = self.workload.buffers[name]
        array = np.zeros(buffer.shape, np.float64 if is_float(buffer.dtype) else buffer.dtype)
        for place, value in self.buffers[name].items():
            array[place] = value
        return array

    def run(self, stage: Stage) -> None:
        for output in stage.outputs:
            self.buffers[output.name] = {}
        for place in itertools.product(*(range(axis.extent) for axis in stage.axes)):
            axes = {axis.name: value for axis, value in zip(stage.axes, place, strict=True)}
            for output, value in zip(stage.outputs, self.point(stage, axes), strict=True):
                self.buffers[output.name][place] = value

    def point(self, stage: Stage, axes: dict[str, int]) -> list:
        if stage.reducer is None:
            return [self.of(body, axes, [])[1] for body in stage.body]
        dtypes = [output.dtype for output in stage.outputs]
        totals = [(c.dtype, const_value(c)) for c in stage.reducer.init]
        for steps in itertools.product(*(range(axis.extent) for axis in stage.reduce)):
            here = {**axes, **{axis.name: value for axis, value in zip(stage.reduce, steps, strict=True)}}
            values = [self.of(body, here, totals) for body in stage.body]
            if stage.reducer.op != "custom":
                combined = ARITHMETIC[REDUCE[stage.reducer.op]](totals[0][1], values[0][1])
                values = [(dtypes[0], wrapped(dtypes[0], combined))]
            totals = values
        return [value for _, value in totals]

    def of(self, node: Expr, axes, totals) -> tuple:
        match node:
            case Axis(name):
                return INDEX, axes[name]
            case Const(dtype, _):
                return dtype, const_value(node)
            case Acc(slot):
                return totals[slot]
            case Load(buffer, indices):
                place = tuple(self.of(i, axes, totals)[1] for i in indices)
                return self.workload.buffers[buffer].dtype, self.buffers[buffer][place]
            case Cast(dtype, value):
                number = self.of(value, axes, totals)[1]
                return dtype, float(number) if is_float(dtype) else wrapped(dtype, number)
            case Select(cond, a, b) | If(cond, a, b):
                return self.of(a if self.of(cond, axes, totals)[1] else b, axes, totals)
            case Logic("not", (a,)):
                return "bool", not self.of(a, axes, totals)[1]
            case Logic(op, (a, b)):
                both = self.of(a, axes, totals)[1], self.of(b, axes, totals)[1]
                return "bool", all(both) if op == "and" else any(both)
            case Call(name, args):
                dtype, value = self.of(args[0], axes, totals)
                return dtype, wrapped(dtype, CALLS[name](value))
        (left, a), (right, b) = self.of(node.a, axes, totals), self.of(node.b, axes, totals)
        if isinstance(node, Compare):
            return "bool", COMPARE[node.op](a, b)
        assert isinstance(node, Binary)
        dtype = left if left == right else self.workload.index_dtype
        return dtype, wrapped(dtype, ARITHMETIC[node.op](a, b))


def value_of(node: Expr, axes: dict[str, int]) -> int:
    """The value of index arithmetic at one point."""
    return Interpreter(Workload(inputs=(), stages=(), params=()), {}).of(node, axes, [])[1]
