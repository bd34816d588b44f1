"""A matrix product for GPUs, made here without one: tiles in shared memory, sums in registers, CUDA source printed."""

import autosched as at
from autosched.spec.schedule import Accumulate, At, BindFused, BindLoop, Nest, Reindex, Schedule, Split
from autosched.spec.tvm_build import compile_module, device_source, tvm_target


def fetched(name, axis):
    """A tile of 16 by 64 in shared memory, filled by 64 threads with vectors of 4, a step before it is needed."""
    return Nest(
        stage=name,
        at=At(stage="C.acc", loop="ko"),
        splits=(
            Split(axis="k", into=("ka", "kt"), factors=(4, 4)),
            Split(axis=axis, into=("xt", "xl"), factors=(16, 4)),
        ),
        order=("ka", "kt", "xt", "xl"),
        bind=(BindFused(fuse=("kt", "xt"), as_="t", to="threadIdx.x"), BindLoop(loop="xl", to="vectorize")),
        scope="shared",
        ahead=1,
    )


def tiled_product():
    """Blocks of 64 by 64 outputs, 8 by 8 threads, each with 8 by 8 sums in registers."""
    sums = Nest(
        stage="C.acc",
        splits=(
            Split(axis="i", into=("ib", "it", "ii"), factors=(16, 8, 8)),
            Split(axis="j", into=("jb", "jt", "ji"), factors=(16, 8, 8)),
            Split(axis="k", into=("ko", "ki"), factors=(64, 16)),
        ),
        order=("ib", "jb", "it", "jt", "ko", "ki", "ii", "ji"),
        bind=(
            BindLoop(loop="ib", to="blockIdx.y"),
            BindLoop(loop="jb", to="blockIdx.x"),
            BindFused(fuse=("it", "jt"), as_="t", to="threadIdx.x"),
        ),
        start="ko",
        scope="local",
        unroll_limit=64,
    )
    return Schedule(
        stagings=(
            Accumulate(stage="C", as_="C.acc", order=("i", "j")),
            Reindex(stage="C.acc", reads="A", as_="A.sh", order=("k", "i")),
            Reindex(stage="C.acc", reads="B", as_="B.sh", order=("k", "j")),
        ),
        nests=(sums, fetched("A.sh", "i"), fetched("B.sh", "j"), Nest(stage="C", at=At(stage="C.acc", loop="t"))),
    )


def main():
    schedule = tiled_product()
    for arch in ("sm_80", "sm_90"):
        task = at.get_task("gemm", N=1024, K=1024, M=1024, target={"kind": "cuda", "arch": arch})
        source = device_source(compile_module(at.lower(schedule, task).mod, tvm_target(task.target, 1)))
        print(f"{arch}: {source.count('__syncthreads()')} barriers, {len(source.splitlines())} lines")
    print(source[source.index('extern "C" __global__') :])


if __name__ == "__main__":
    main()
