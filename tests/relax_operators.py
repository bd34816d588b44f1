"""Relax's operators as its legalisation writes them: name → the operator, its inputs, and what they may hold."""

from __future__ import annotations

from collections.abc import Callable  # attrs resolves the types of fields
from typing import Any

import attrs
import tvm
from tvm import relax, tirx

Input = tuple[tuple[int, ...], str]

op, nn = relax.op, relax.op.nn


@attrs.frozen
class Case:
    """One row of the table: the functions of `make` on `inputs`, fused or not.

    `ranges` are the values of integer inputs, least and greatest. `refused` is a part of the message where a function
    cannot be read, and empty where all can. `positive` inputs are for roots of what is computed from them.
    """

    make: Callable[..., Any]
    inputs: tuple[Input, ...]
    fused: bool = False
    ranges: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    refused: str = ""
    positive: bool = False


def case(make: Callable[..., Any], *shapes: tuple[int, ...], dtype: str = "float32", **options: Any) -> Case:
    """A case of inputs of one dtype."""
    return Case(make, tuple((shape, dtype) for shape in shapes), **options)


def mixed(make: Callable[..., Any], *inputs: Input, **options: Any) -> Case:
    """A case of inputs of several dtypes."""
    return Case(make, inputs, **options)


def functions_of(case: Case) -> dict[str, tirx.PrimFunc]:
    """The TensorIR functions that Relax makes, by name."""
    builder = relax.BlockBuilder()
    variables = [relax.Var(f"x{n}", relax.TensorType(shape, dtype)) for n, (shape, dtype) in enumerate(case.inputs)]
    with builder.function("main", variables):
        with builder.dataflow():
            output = builder.emit_output(case.make(*variables))
        builder.emit_func_output(output)
    with tvm.target.Target("llvm"):
        mod = relax.transform.LegalizeOps()(relax.backend.DispatchSortScan()(builder.get()))
    if case.fused:
        for change in ("AnnotateTIROpPattern", "FuseOps", "FuseTIR"):
            mod = getattr(relax.transform, change)()(mod)
    return {name.name_hint: func for name, func in mod.functions.items() if isinstance(func, tirx.PrimFunc)}


F32, F16, I64 = "float32", "float16", "int64"
IMAGE, ROWS, CHANNEL = (1, 4, 8, 8), (4, 8), (4,)
ONE, ZERO = (relax.prim_value(tvm.tirx.FloatImm(F32, value)) for value in (1.0, 0.0))


def attention(q: Any, k: Any, v: Any) -> Any:
    scores = op.multiply(op.matmul(q, op.permute_dims(k, [0, 2, 1])), relax.const(0.5, F32))
    return op.matmul(nn.softmax(scores), v)


def convolved(x: Any, w: Any, *norm: Any) -> Any:
    return nn.relu(nn.batch_norm(nn.conv2d(x, w, padding=1), *norm, axis=1, training=False)[0])


def product_of_halves(halves: Any) -> Any:
    """Of a tuple of Relax, which has no end when it is iterated over."""
    return op.multiply(halves[0], halves[1])


CONVOLUTIONS = {
    "conv1d": case(lambda x, w: nn.conv1d(x, w, padding=1), (1, 4, 8), (6, 4, 3)),
    "conv2d": case(lambda x, w: nn.conv2d(x, w, padding=1), IMAGE, (6, 4, 3, 3)),
    "conv2d, strided and dilated": case(
        lambda x, w: nn.conv2d(x, w, strides=2, padding=2, dilation=2), IMAGE, (6, 4, 3, 3)
    ),
    "conv2d, groups": case(lambda x, w: nn.conv2d(x, w, padding=1, groups=2), IMAGE, (6, 2, 3, 3)),
    "conv2d, NHWC": case(
        lambda x, w: nn.conv2d(x, w, padding=1, data_layout="NHWC", kernel_layout="OHWI"), (1, 8, 8, 4), (6, 3, 3, 4)
    ),
    "conv2d, float16 into float32": case(
        lambda x, w: nn.conv2d(x, w, out_dtype=F32), IMAGE, (6, 4, 3, 3), dtype=F16
    ),
    "conv3d": case(lambda x, w: nn.conv3d(x, w, padding=1), (1, 2, 4, 4, 4), (3, 2, 3, 3, 3)),
    "conv1d_transpose": case(lambda x, w: nn.conv1d_transpose(x, w, strides=2, padding=1), (1, 4, 5), (4, 3, 3)),
    "conv2d_transpose": case(lambda x, w: nn.conv2d_transpose(x, w, strides=2, padding=1), (1, 4, 5, 5), (4, 3, 3, 3)),
}  # fmt: skip
PRODUCTS = {
    "matmul": case(op.matmul, ROWS, (8, 3)),
    "matmul, batched": case(op.matmul, (2, 4, 8), (2, 8, 3)),
    "matmul, broadcast": case(op.matmul, (2, 1, 4, 8), (3, 8, 3)),
    "matmul of vectors": case(op.matmul, (8,), (8,)),
    "matmul, float16 into float32": case(lambda a, b: op.matmul(a, b, out_dtype=F32), ROWS, (8, 3), dtype=F16),
    "matmul, int8 into int32": case(lambda a, b: op.matmul(a, b, out_dtype="int32"), ROWS, (8, 3), dtype="int8"),
    "linear": case(op.linear, ROWS, (3, 8), (3,)),
    "einsum": case(lambda a, b: op.einsum((a, b), "ik,kj->ij"), ROWS, (8, 3)),
    "attention": case(nn.attention, (1, 4, 2, 8), (1, 6, 2, 8), (1, 6, 2, 8)),
}
NORMS = {
    "softmax": case(nn.softmax, ROWS),
    "softmax, float16": case(nn.softmax, ROWS, dtype=F16),
    "log_softmax": case(nn.log_softmax, ROWS),
    "layer_norm": case(lambda x, g, b: nn.layer_norm(x, g, b, axes=[-1]), ROWS, (8,), (8,)),
    "rms_norm": case(lambda x, g: nn.rms_norm(x, g, axes=[-1]), ROWS, (8,)),
    "group_norm": case(
        lambda x, g, b: nn.group_norm(x, g, b, num_groups=2, channel_axis=1, axes=[2, 3]), IMAGE, CHANNEL, CHANNEL
    ),
    "instance_norm": case(
        lambda x, g, b: nn.instance_norm(x, g, b, channel_axis=1, axes=[2, 3]), IMAGE, CHANNEL, CHANNEL
    ),
    "batch_norm": case(
        lambda x, g, b, m, v: nn.batch_norm(x, g, b, m, v, axis=1, training=False)[0],
        IMAGE,
        *[CHANNEL] * 4,
        positive=True,
    ),
}
POOLS = {
    "max_pool1d": case(lambda x: nn.max_pool1d(x, 2, 2), (1, 4, 8)),
    "max_pool2d": case(lambda x: nn.max_pool2d(x, (3, 3), (2, 2), (1, 1)), IMAGE),
    "max_pool3d": case(lambda x: nn.max_pool3d(x, (2, 2, 2), (2, 2, 2)), (1, 2, 4, 4, 4)),
    "avg_pool1d": case(lambda x: nn.avg_pool1d(x, 2, 2), (1, 4, 8)),
    "avg_pool2d": case(lambda x: nn.avg_pool2d(x, (3, 3), (2, 2), (1, 1)), IMAGE),
    "avg_pool3d": case(lambda x: nn.avg_pool3d(x, (2, 2, 2), (2, 2, 2)), (1, 2, 4, 4, 4)),
    "adaptive_avg_pool2d, windows of one size": case(lambda x: nn.adaptive_avg_pool2d(x, (4, 4)), IMAGE),
    "resize2d": case(lambda x: op.image.resize2d(x, (6, 6), method="linear"), IMAGE),
}
REDUCTIONS = {
    name: case(lambda x, name=name: getattr(op, name)(x, axis=1), ROWS)
    for name in ("sum", "mean", "max", "min", "prod", "variance", "std", "argmax", "argmin")
}
MOVES = {
    "take": mixed(lambda x, i: op.take(x, i, axis=0), (ROWS, F32), ((3,), I64), ranges={"x1": (0, 3)}),
    "take, clipped": mixed(lambda x, i: op.take(x, i, axis=0, mode="clip"), (ROWS, F32), ((3,), I64)),
    "take, wrapped": mixed(lambda x, i: op.take(x, i, axis=0, mode="wrap"), (ROWS, F32), ((3,), I64)),
    "gather_elements": mixed(
        lambda x, i: op.gather_elements(x, i, axis=1), (ROWS, F32), ((4, 3), I64), ranges={"x1": (0, 7)}
    ),
    "gather_nd": mixed(op.gather_nd, (ROWS, F32), ((3, 2), I64), ranges={"x1": (0, 3)}),
    "one_hot": mixed(lambda i: op.one_hot(i, ONE, ZERO, 5, -1), ((6,), I64)),
    "strided_slice": case(lambda x: op.strided_slice(x, [0, 1], [0, 1], [4, 8], [1, 2]), ROWS),
    "concat": case(lambda x, y: op.concat([x, y], axis=1), ROWS, (4, 3)),
    "split": case(lambda x: op.split(x, 2, axis=1), ROWS),
    "stack": case(lambda x, y: op.stack([x, y], axis=1), ROWS, ROWS),
    "permute_dims": case(lambda x: op.permute_dims(x, [2, 0, 1]), (2, 3, 4)),
    "reshape": case(lambda x: op.reshape(x, (6, 4)), (2, 3, 4)),
    "flatten": case(op.flatten, (2, 3, 4)),
    "broadcast_to": case(lambda x: op.broadcast_to(x, ROWS), (1, 8)),
    "expand_dims": case(lambda x: op.expand_dims(x, 1), ROWS),
    "squeeze": case(lambda x: op.squeeze(x, 1), (4, 1, 8)),
    "repeat": case(lambda x: op.repeat(x, 2, 1), ROWS),
    "tile": case(lambda x: op.tile(x, (2, 3)), ROWS),
    "flip": case(lambda x: op.flip(x, 1), ROWS),
    "pad": case(lambda x: nn.pad(x, [1, 1, 2, 2]), ROWS),
    "pad, reflected": case(lambda x: nn.pad(x, [1, 1, 2, 2], pad_mode="reflect"), ROWS),
    "where": mixed(op.where, (ROWS, "bool"), (ROWS, F32), ((8,), F32)),
    "tril": case(op.tril, (4, 4)),
    "triu": case(lambda x: op.triu(x, 1), (4, 4)),
}
ELEMENTWISE = {
    "add": case(op.add, ROWS, (8,)),
    "clip": case(lambda x: op.clip(x, -0.5, 0.5), ROWS),
    "astype": case(lambda x: op.astype(x, "bfloat16"), ROWS),
    "logical_and": case(op.logical_and, ROWS, (8,), dtype="bool"),
    "left_shift": case(op.left_shift, ROWS, (8,), dtype="int32", ranges={"x1": (0, 7)}),
    "gelu": case(nn.gelu, ROWS),
    "silu": case(nn.silu, ROWS),
    "leakyrelu": case(nn.leakyrelu, ROWS),
    "erf": case(op.erf, ROWS),
}
FUSED = {
    "conv2d, bias, ReLU": case(
        lambda x, w, b: nn.relu(op.add(nn.conv2d(x, w, padding=1), b)),
        IMAGE, (6, 4, 3, 3), (1, 6, 1, 1), fused=True,
    ),
    "conv2d, batch_norm, ReLU": case(convolved, IMAGE, (6, 4, 3, 3), *[(6,)] * 4, fused=True, positive=True),
    "matmul, bias, GELU": case(
        lambda x, w, b: nn.gelu(op.add(op.matmul(x, w), b)), ROWS, (8, 3), (3,), fused=True
    ),
    "a chain of elements": case(lambda x, y: op.exp(op.multiply(op.add(x, y), x)), ROWS, ROWS, fused=True),
    "softmax between products": case(
        lambda x, y: op.multiply(nn.softmax(op.multiply(x, y)), y), ROWS, ROWS, fused=True
    ),
    "attention, fused": case(attention, (2, 4, 8), (2, 6, 8), (2, 6, 8), fused=True),
    "layer_norm, GELU": case(
        lambda x, g, b: nn.gelu(nn.layer_norm(x, g, b, axes=[-1])), ROWS, (8,), (8,), fused=True
    ),
    "split, multiply": case(lambda x: product_of_halves(op.split(x, 2, axis=1)), ROWS, fused=True),
}  # fmt: skip

OPAQUE = "is opaque: it holds"
OFFSET = "has strides or an offset of its own"
BOUNDS = "clamp it with min and max, or give the task ranges"
OUTSIDE = "which is not in the language"
REFUSED = {
    "cumsum": case(lambda x: op.cumsum(x, 1), ROWS, refused=OPAQUE),
    "cumprod": case(lambda x: op.cumprod(x, 1), ROWS, refused=OPAQUE),
    "sort": case(op.sort, ROWS, refused=OPAQUE),
    "argsort": case(op.argsort, ROWS, refused=OPAQUE),
    "topk": case(lambda x: op.topk(x, 2), ROWS, refused=OPAQUE),
    "scatter_elements": mixed(op.scatter_elements, (ROWS, F32), ((2, 8), I64), ((2, 8), F32), refused=OPAQUE),
    "scatter_nd": mixed(op.scatter_nd, (ROWS, F32), ((2, 1), I64), ((2, 8), F32), refused=OFFSET),
    "bucketize": case(op.bucketize, (4,), (5,), refused=OPAQUE),
    "take, indices unknown": mixed(lambda x, i: op.take(x, i, axis=0), (ROWS, F32), ((3,), I64), refused=BOUNDS),
    "grid_sample": case(op.image.grid_sample, IMAGE, (1, 2, 6, 6), refused=BOUNDS),
    "adaptive_avg_pool2d, windows of several sizes": case(
        lambda x: nn.adaptive_avg_pool2d(x, (3, 3)), IMAGE, refused="has loops as long as its axes say"
    ),
    "layout_transform": case(
        lambda x: op.layout_transform(x, lambda n, c, h, w: (n, c // 2, h, w, c % 2)), IMAGE, refused="no arithmetic"
    ),
    "acosh": case(op.acosh, ROWS, refused=OUTSIDE),
    "asinh": case(op.asinh, ROWS, refused=OUTSIDE),
    "atanh": case(op.atanh, ROWS, refused=OUTSIDE),
    "isnan": case(op.isnan, ROWS, refused=OUTSIDE),
    "isinf": case(op.isinf, ROWS, refused=OUTSIDE),
    "isfinite": case(op.isfinite, ROWS, refused=OUTSIDE),
}

GROUPS: dict[str, dict[str, Case]] = {
    "Convolutions": CONVOLUTIONS,
    "Products": PRODUCTS,
    "Softmax and norms": NORMS,
    "Pools, resizing": POOLS,
    "Reductions": REDUCTIONS,
    "Moving elements": MOVES,
    "Element by element": ELEMENTWISE,
    "Fused by FuseOps and FuseTIR": FUSED,
}
READ = {name: found for group in GROUPS.values() for name, found in group.items()}
