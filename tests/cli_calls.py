"""Calling the command line in a test: the commands, the folder they work in, what measures in place of this machine."""

from __future__ import annotations

import functools
import shutil
import textwrap
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from autosched.cli import main
from autosched.search import evolution, tuner
from pretended_bench import PretendedBench
from shared_spaces import shared_space

if TYPE_CHECKING:
    from pathlib import Path

GEMM = ["gemm", "N=16", "K=8", "M=24"]


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> PretendedBench:
    """What measures in place of this machine."""
    return pretended(monkeypatch)


def pretended(patch: pytest.MonkeyPatch) -> PretendedBench:
    bench = PretendedBench()
    patch.setattr(tuner, "tune", functools.partial(tuner.tune, bench=bench))
    patch.setattr(tuner, "Space", shared_space)
    return bench


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches begin with 32 candidates drawn instead of 256: enough for whoever makes a few trials."""
    monkeypatch.setattr(evolution, "POOL", 32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the store in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOSCHED_STORE", str(tmp_path / "store"))
    return tmp_path


@pytest.fixture(scope="session")
def tuned_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and a spec file of one search, made once and copied for each test."""
    made = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        bench = pretended(patch)
        patch.setenv("AUTOSCHED_STORE", str(made / "store"))
        assert call("tune", *GEMM, "--trials", 3, "-q", "-o", made / "best.json").exit_code == 0
        assert bench.measured
    return made


@pytest.fixture
def spec_file(folder: Path, bench: PretendedBench, tuned_folder: Path) -> Path:
    shutil.copytree(tuned_folder, folder, dirs_exist_ok=True)
    return folder / "best.json"


FUNCTIONS = """
    from __future__ import annotations
    import dataclasses, sys
    from tvm import te
    class OwnError(Exception): pass
    @dataclasses.dataclass
    class Size: n: int
    def gemm(N, K, M):
        A, B = te.placeholder((N, K), name="A"), te.placeholder((K, M), name="B")
        k = te.reduce_axis((0, K), name="k")
        return [A, B, te.compute((N, M), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k), name="C")]
    def func(*args):
        return te.create_prim_func(gemm(*args))
    def three(): return 3
    def broken(n): return n // 0
    def refused(): raise OwnError("not today")
    def ended(): sys.exit()
    primfunc = func(16, 8, 24)
    number = 3
"""


@pytest.fixture
def functions(folder: Path) -> Path:
    path = folder / "mine.py"
    path.write_text(textwrap.dedent(FUNCTIONS))
    return path
