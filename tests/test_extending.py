"""The page on extending the search: every block of docs/extending.md is run, on a pretended bench."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from autosched.cli import main
from autosched.nn import algorithms, registry
from autosched.store.store import Store
from language_page import blocks
from pretended_bench import LARGE, PretendedBench

PAGE = Path(__file__).resolve().parent.parent / "docs" / "extending.md"


@pytest.mark.system
def test_all_that_the_page_shows_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: PretendedBench) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("my_search", "my_operators", "my_algorithms"):
        monkeypatch.setitem(sys.modules, module, None)
        del sys.modules[module]
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    monkeypatch.setattr(algorithms, "_REGISTERED", dict(algorithms._REGISTERED))
    namespace: dict[str, Any] = {"__name__": "page"}
    kinds = set()
    for block in blocks(PAGE.read_text(encoding="utf-8")):
        kinds.add(block.info)
        if block.info.startswith("python file "):
            Path(block.info.split()[-1]).write_text(block.text, encoding="utf-8")
        elif block.info == "python":
            exec(compile("\n" * block.line + block.text, str(PAGE), "exec"), namespace)  # noqa: S102 # our own page
        elif block.info == "console":
            for line in block.text.splitlines():
                found = CliRunner().invoke(main, shlex.split(line.removeprefix("$ autosched ")))
                assert found.exit_code == 0, found.output
    files = {f"python file {module}.py" for module in ("my_search", "my_operators", "my_algorithms")}
    assert kinds == {*files, "python", "toml", "console"}
    efforts = [m.effort for r in Store("store").records(LARGE) for m in r.measurements if m.effort is not None]
    assert {effort.strategy for effort in efforts} == {"my_search.Neighbours", "optuna", "auto"}
