"""Run a network of Relax with schedules from the store: what is known is put in, what is not is searched for, once.

The weights are bound, so they are constants, and what a schedule packs of them is packed before the network runs.
"""

import numpy as np
import tvm
from tvm import relax

import autosched as at
from autosched.nn.relax import schedule_module


def network():
    shapes = {"x": (64, 128), "w1": (128, 256), "b1": (256,), "w2": (256, 16)}
    x, w1, b1, w2 = params = [relax.Var(name, relax.TensorType(s, "float32")) for name, s in shapes.items()]
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            hidden = builder.emit(relax.op.nn.relu(relax.op.add(relax.op.matmul(x, w1), b1)))
            output = builder.emit_output(relax.op.nn.softmax(relax.op.matmul(hidden, w2)))
        builder.emit_func_output(output)
    rng = np.random.default_rng(1)
    weights = {name: rng.standard_normal(shapes.pop(name), dtype="float32") for name in ("w1", "b1", "w2")}
    mod = relax.transform.BindParams("main", weights)(builder.get())
    steps = ["LegalizeOps", "AnnotateTIROpPattern", "FuseOps", "FuseTIR"]
    return tvm.transform.Sequential([getattr(relax.transform, step)() for step in steps])(mod), shapes


def run(mod, target, arrays):
    machine = relax.VirtualMachine(tvm.compile(mod, target=target), tvm.cpu())
    return machine["main"](*map(tvm.runtime.tensor, arrays)).numpy()


def main():
    mod, shapes = network()
    store = at.Store()
    print(schedule_module(mod, store), "\n")  # an empty store: nothing is replaced, and nothing is measured
    scheduled = schedule_module(mod, store, trials=4)  # what is missing is searched for
    print(scheduled)

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape, dtype="float32") for shape in shapes.values()]
    before, after = run(mod, "llvm", arrays), run(scheduled.mod, scheduled.target, arrays)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
