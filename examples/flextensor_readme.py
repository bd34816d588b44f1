"""FlexTensor's own first example: a product registered as a task, searched, and built by TVM. Only TVM's names changed.

The budget is short here; the seed's ``op_trial=100, op_stop=30`` finds a faster one.
"""

import numpy as np
import tvm
from tvm import te

from autosched.nn.tasks import Task, register_task, schedule, schedule_with_config


def gemm(A, B):
    k = te.reduce_axis((0, B.shape[0]))
    return te.compute((A.shape[0], B.shape[1]), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k))


def wrap_gemm(N, K, M):
    A = te.placeholder((N, K))
    B = te.placeholder((K, M))
    Output = gemm(A, B)
    return [Output.op], [A, B, Output]


def main():
    task = Task("gemm", "gemm", wrap_gemm, (1024, 1024, 1024), "llvm", 0)
    register_task(task)

    s, _bufs, configs = schedule(
        task.key, slevel=4, rlevel=3, op_trial=8, graph_trial=0, timeout=10, op_stop=30, method="searching", parallel=8
    )
    func = tvm.compile(s.mod, target=task.target)  # was tvm.build(s, bufs, task.target)

    s, bufs = schedule_with_config(task.key, configs)
    func = tvm.compile(s.mod, target=task.target)

    shapes = [[int(extent) for extent in buf.shape] for buf in bufs]
    a, b = (np.random.default_rng(seed).random(shape, dtype="float32") for seed, shape in enumerate(shapes[:2]))
    arrays = [tvm.runtime.tensor(array) for array in (a, b, np.zeros(shapes[2], "float32"))]
    module = func.jit()
    module["main"](*arrays)
    np.testing.assert_allclose(arrays[2].numpy(), a @ b, rtol=1e-3)
    seconds = module.time_evaluator("main", tvm.cpu(), number=5)(*arrays).median
    print(f"{2 * 1024**3 / seconds / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
