"""A shared server behind the own store: asked where that knows nothing, told what was found, and done without."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import autosched as at
from autosched.store.layers import SERVER, USER, Layers
from autosched.store.machine import this_machine
from autosched.store.records import CLAIMED, MEASURED
from autosched.store.server import Server
from autosched.store.store import Store
from cli_calls import GEMM, call
from real_server import RealServer
from store_cases import gemm, numbered, record, timed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autosched.store.records import Record
    from pretended_bench import PretendedBench


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealServer]:
    (tmp_path / "server").mkdir()
    running = RealServer(tmp_path / "server")
    yield running
    running.close()


def found_here(number: int = 1, latency_s: float = 0.001) -> Record:
    """What a search on this machine ends with."""
    session = timed(latency_s, latency_s, baseline_s=(0.01, 0.01))
    return record(session, schedule=numbered(number).schedule, machine=this_machine())


def test_what_one_store_found_another_has_by_way_of_the_server(tmp_path: Path, real: RealServer) -> None:
    Layers(store=Store(tmp_path / "ours"), server=real.url).share(found_here())
    theirs = Layers(store=Store(tmp_path / "theirs"), server=real.url)
    found = theirs.best(gemm("XYZuvw"))
    assert found is not None
    assert (found.layer, found.record.origin) == (SERVER, CLAIMED)
    real.kill()
    kept = theirs.best(gemm())
    assert kept is not None, "it was kept in their store"
    assert (kept.layer, kept.record.origin) == (USER, CLAIMED)


def test_what_was_measured_here_is_not_asked_for(tmp_path: Path, real: RealServer) -> None:
    store = Store(tmp_path / "ours")
    store.put(found_here(1, latency_s=0.005))
    Server.of(real.url).put(found_here(2, latency_s=0.001))
    found = Layers(store=store, server=real.url).best(gemm())
    assert found is not None
    assert (found.layer, found.record.origin, found.record.latency_s) == (USER, MEASURED, 0.005)


def test_a_search_begins_with_what_other_machines_shared(tmp_path: Path, real: RealServer) -> None:
    shared = record(timed(0.001, baseline_s=(0.01,)), schedule=numbered(3).schedule)
    Server.of(real.url).put(shared)
    assert Layers(store=Store(tmp_path / "ours"), server=real.url).starts(gemm()) == (shared.schedule,)


def test_without_a_server_there_is_no_such_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "ours")
    monkeypatch.setenv("AUTOSCHED_SERVER", "redis://127.0.0.1:1")
    assert SERVER in [layer.name for layer in Layers(store=store).all()]
    assert SERVER not in [layer.name for layer in Layers(store=store, server="").all()]
    monkeypatch.delenv("AUTOSCHED_SERVER")
    assert SERVER not in [layer.name for layer in Layers(store=store).all()]


def test_a_store_that_cannot_be_written_hinders_no_answer(tmp_path: Path, real: RealServer) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    Server.of(real.url).put(found_here())
    found = Layers(store=Store(tmp_path / "file" / "store"), server=real.url).best(gemm())
    assert found is not None
    assert found.layer == SERVER


def test_the_commands_ask_and_tell(folder: Path, bench: PretendedBench, real: RealServer) -> None:
    done = call("tune", *GEMM, "--trials", 3, "-q", "--server", real.url)
    assert done.exit_code == 0, done.output
    assert bench.measured
    assert call("lookup", *GEMM, "--store", "theirs").exit_code == 3
    done = call("lookup", *GEMM, "--store", "theirs", "--server", real.url, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["layer"] == SERVER
    real.kill()
    done = call("lookup", *GEMM, "--store", "others", "--server", real.url)
    assert done.exit_code == 3, "an outage is a miss"
    done = call("lookup", *GEMM, "--server", "nowhere")
    assert done.exit_code == 2
    assert "is no URL of a server" in done.stderr


def test_the_functions_ask_too(tmp_path: Path, real: RealServer) -> None:
    Server.of(real.url).put(found_here())
    result = at.lookup(gemm(), tmp_path / "store", server=real.url)
    assert result is not None
    assert result.layer == SERVER
    assert at.lookup(gemm(), tmp_path / "other", server="") is None
