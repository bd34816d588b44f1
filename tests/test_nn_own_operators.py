"""Operators of one's own: registered in a process, or brought by an installed package."""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from autosched.cli import main
from autosched.nn import registry
from autosched.nn.arguments import GREATEST, Size, Switch
from autosched.nn.claimed_operator import contradiction
from autosched.nn.registry import (
    get_operator,
    get_task,
    is_operator,
    operators,
    register_operator,
)
from autosched.spec import builder
from autosched.spec.builder import Tensor
from autosched.spec.errors import SpecError
from autosched.spec.flops import flop_count
from autosched.spec.task import Argument

WHOLE = f"a whole number from 1 to {GREATEST}"


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))


def scaled(*, N: Size, twice: Switch = False) -> Sequence[Tensor]:
    """A vector times a number."""
    x = builder.placeholder((N,), name="x")
    return x, builder.compute((N,), lambda i: x[i] * (2.0 if twice else 3.0), name="y")


@pytest.mark.usefixtures("own_registry")
def test_an_operator_of_ones_own() -> None:
    assert register_operator(scaled) is scaled
    assert "scaled" in operators()
    assert get_operator("scaled").summary == "A vector times a number."
    task = get_task("scaled", N=7)
    assert task.op is not None
    assert task.op.args == (Argument(name="N", value=7), Argument(name="twice", value=False))
    assert flop_count(task.workload) == 7
    register_operator(scaled)  # a module that is loaded again


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str, module: str, dist: str = "gram") -> None:
    """A distribution with a module, which names operator `gram` as an entry point."""
    info = folder / f"{dist}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[autosched.operators]\ngram = {value}\n")
    (folder / f"{value.partition(':')[0]}.py").write_text(textwrap.dedent(module))
    monkeypatch.syspath_prepend(str(folder))


GRAM = """
    from autosched.nn.arguments import Size
    from autosched.nn.registry import register_operator
    from autosched.spec import builder as te

    @register_operator
    def gram(*, N: Size, M: Size):
        "The Gram matrix."
        X, n = te.placeholder((N, M), name="X"), te.reduce_axis(N, name="n")
        return X, te.compute((M, M), lambda i, j: te.sum(X[n, i] * X[n, j], axis=n), name="G")
"""


@pytest.mark.parametrize("module", [GRAM, GRAM.replace("@register_operator", "")])
@pytest.mark.usefixtures("own_registry")
def test_an_operator_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    installed(tmp_path, monkeypatch, "gram_ops:gram", module)
    monkeypatch.delitem(sys.modules, "gram_ops", raising=False)
    assert "gram" in operators()
    assert is_operator("gram")
    get_operator("gemm")
    assert "gram_ops" not in sys.modules
    task = get_task("gram", N=4, M=3)
    assert "gram_ops" in sys.modules
    assert flop_count(task.workload) == 2 * 4 * 9
    assert contradiction(task) is None
    liar = attrs.evolve(get_task("gemm", N=2, K=2, M=2), op=task.op)
    assert contradiction(liar) == "gram N=4 M=3 is another computation than its workload"
    assert CliRunner().invoke(main, ["tasks", "--op", "gram"]).stdout.startswith("gram  N, M\n    The Gram matrix.\n")


@pytest.mark.parametrize(
    ("value", "module", "message"),
    [
        (
            "gram_fails:gram",
            "raise OSError('no such disk')",
            "operator 'gram', entry point gram_fails:gram, cannot be loaded: OSError: no such disk",
        ),
        (
            "gram_number:gram",
            "gram = 3",
            "operator 'gram', entry point gram_number:gram, is 3; name the entry point as its function",
        ),
        (
            "gram_plain:gram",
            "def gram(n): pass",
            "gram.n: found a positional or keyword argument; put * before it",
        ),
    ],
)
@pytest.mark.usefixtures("own_registry")
def test_an_installed_package_that_has_no_operator_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, module: str, message: str
) -> None:
    installed(tmp_path, monkeypatch, value, module)
    with pytest.raises(SpecError) as caught:
        get_operator("gram")
    assert str(caught.value) == message


@pytest.mark.usefixtures("own_registry")
def test_two_installed_packages_with_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, "gram_one:gram", "")
    installed(tmp_path, monkeypatch, "gram_two:gram", "", dist="other")
    with pytest.raises(SpecError, match=r"^several installed packages name operator .gram.: gram_.*; keep one"):
        get_operator("gram")


@pytest.mark.usefixtures("own_registry")
def test_a_name_that_is_taken() -> None:
    def gemm(*, N: Size) -> Sequence[Tensor]:
        raise NotImplementedError

    with pytest.raises(SpecError) as caught:
        register_operator(gemm)
    assert str(caught.value) == "operator 'gemm' is already there, from autosched.nn.matmul; choose another name"


def positional(N: Size) -> Sequence[Tensor]:
    raise NotImplementedError


def plain(*, N: int) -> Sequence[Tensor]:
    raise NotImplementedError


def wrong_default(*, N: Size = 0) -> Sequence[Tensor]:
    raise NotImplementedError


def bare(*, N) -> Sequence[Tensor]:  # type: ignore[no-untyped-def] # that is what is wrong with it
    raise NotImplementedError


def taken(*, threads: Size) -> Sequence[Tensor]:
    raise NotImplementedError


KINDS = "allowed: Size, Switch, FloatDtype or another kind of autosched.nn.arguments"


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(
    ("define", "message"),
    [
        (positional, "positional.N: found a positional or keyword argument; put * before it"),
        (plain, f"plain.N: found annotation int; {KINDS}"),
        (bare, f"bare.N: found no annotation; {KINDS}"),
        (taken, "taken.threads: found an argument that get_task has itself; taken: target, threads, constants"),
        (wrong_default, f"wrong_default.N: found 0; allowed: {WHOLE}"),
    ],
)
def test_functions_that_are_no_operators(define: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        register_operator(define)
    assert str(caught.value) == message
