"""A shared server: what one machine measured another finds, as a claim; outages, garbage and hostility are misses."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import pickle
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.spec.convert import unstructure
from autosched.spec.errors import StoreError
from autosched.spec.json_text import compact_json
from autosched.spec.rename import schedule_digest
from autosched.spec.spec_file import SpecFile, text_from_spec
from autosched.store import link, server
from autosched.store.keys import machine_key, protocol_key, slot, task_key
from autosched.store.records import CLAIMED, Record
from autosched.store.server import Server
from real_server import RealServer
from store_cases import MACHINE, OTHER_MACHINE, OTHER_PROTOCOL, PROTOCOL, failed, gemm, numbered, record, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALLOW = ("exact", "reassociated")
KEY = f"{server.PREFIX}best:{slot(gemm(), MACHINE, PROTOCOL)}"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    running = RealServer(tmp_path_factory.mktemp("server"))
    yield running
    running.close()


@pytest.fixture
def real(process: RealServer) -> RealServer:
    process.client.flushall()
    return process


@pytest.fixture
def layer(real: RealServer) -> Server:
    return Server(real.url)


def shared(number: int = 1, latency_s: float = 0.001, **changes: object) -> Record:
    """A record worth sharing: verified here, and timed in turn with the default."""
    measurement = timed(latency_s, latency_s, latency_s, baseline_s=(0.01, 0.01, 0.01), **changes)
    return record(measurement, schedule=numbered(number).schedule)


def best(layer: Server, names: str = "ABCijk") -> Record | None:
    return layer.best(gemm(names), MACHINE, PROTOCOL, ALLOW)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_what_one_shares_another_finds_in_their_names_and_as_a_claim(layer: Server, real: RealServer) -> None:
    assert best(layer) is None
    layer.put(shared(3))
    found = Server(real.url).best(gemm("XYZuvw"), MACHINE, PROTOCOL, ALLOW)
    assert found is not None
    assert found.origin == CLAIMED
    assert [nest.stage for nest in found.schedule.nests] == ["Z"]
    assert found.latency_s == 0.001
    assert layer.status() == "2 entries"


def test_it_answers_for_one_machine_protocol_and_accuracy(layer: Server) -> None:
    layer.put(shared())
    assert layer.best(gemm(), OTHER_MACHINE, PROTOCOL, ALLOW) is None
    assert layer.best(gemm(), MACHINE, OTHER_PROTOCOL, ALLOW) is None
    assert layer.best(gemm(), MACHINE, PROTOCOL, ("exact",)) is None
    assert layer.machines(gemm(), PROTOCOL) == (MACHINE,)
    assert layer.machines(gemm(), OTHER_PROTOCOL) == ()
    assert [near.machine for near in layer.near(gemm(), OTHER_MACHINE, 3)] == [MACHINE]


def test_the_fastest_is_found_and_few_are_kept(layer: Server, real: RealServer) -> None:
    for number in range(server.KEPT + 4):
        layer.put(shared(number, latency_s=0.001 * (number % 5 + 1) + number * 1e-5))
    found = best(layer)
    assert found is not None
    assert found.schedule == numbered(0).schedule
    assert real.client.hlen(KEY) == server.KEPT


def test_sessions_are_united_whoever_shares_them(layer: Server) -> None:
    first, second = shared(date="2026-11-01"), shared(latency_s=0.002, date="2026-11-02")
    for each in (first, second, first):
        layer.put(each)
    found = best(layer)
    assert found is not None
    assert [m.date for m in found.measurements] == ["2026-11-01", "2026-11-02"]


@pytest.mark.parametrize(
    "what",
    [
        record(timed(0.001), schedule=numbered(1).schedule),
        shared(origin=CLAIMED),
        shared(verified=False),
        record(failed=failed(), schedule=numbered(1).schedule),
    ],
    ids=["a trial", "a claim of others", "not verified", "a failure"],
)
def test_other_things_are_not_shared(layer: Server, real: RealServer, what: Record) -> None:
    layer.put(what)
    assert real.client.dbsize() == 0


# --- outages ----------------------------------------------------------------------------------------------------------


def test_a_server_that_dies_is_one_warning_and_is_asked_again_later(
    layer: Server, real: RealServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer.put(shared())
    assert best(layer) is not None
    real.kill()
    for _ in range(3):
        assert best(layer) is None
        layer.put(shared(2))
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0].startswith(f"server 127.0.0.1:{real.port}: ")
    assert warnings(caplog)[0].endswith("; going on without it, it is asked again in 30 s")
    assert layer.status().startswith("cannot be asked: ")
    real.start()
    assert best(layer) is None, "it is spared for a while"
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + link.RETRY_S)
    assert best(layer) is not None, "what was written outlived the server"
    assert len(warnings(caplog)) == 1


def test_a_server_that_is_not_there_costs_nothing_after_the_first_question(caplog: pytest.LogCaptureFixture) -> None:
    layer = Server("redis://127.0.0.1:1")
    begin = time.perf_counter()
    assert [best(layer) for _ in range(1000)] == [None] * 1000
    assert time.perf_counter() - begin < 5
    assert len(warnings(caplog)) == 1


def test_a_name_that_is_not_resolved_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: held.wait(20))
    begin = time.perf_counter()
    assert best(Server("redis://somewhere.example")) is None
    assert time.perf_counter() - begin < 4 * link.LIMIT_S
    held.set()
    assert "no answer in 0.5 s" in warnings(caplog)[0]


# --- what is there may be anything ------------------------------------------------------------------------------------


def sealed(text: str, field: str, key: str = KEY) -> bytes:
    """A value with the right checksum."""
    checksum = hashlib.sha256(f"{key}\n{field}\n{text}".encode()).hexdigest()
    return f"{checksum}\n{text}".encode()


def claimed(of: Record) -> str:
    from autosched.store.claims import claims_from_record

    return text_from_spec(SpecFile(task=of.task, schedule=of.schedule, claims=claims_from_record(of)))


GOOD = shared(1)
OTHER_TASK = record(*GOOD.measurements, task=gemm(extent=32), schedule=GOOD.schedule)
DIGEST = schedule_digest(GOOD.schedule, gemm().names)
GARBAGE = {
    "nothing": (b"", "its checksum is wrong"),
    "bytes": (bytes(range(256)), "its checksum is wrong"),
    "pickle": (pickle.dumps({"format": "autosched/spec"}), "its checksum is wrong"),
    "no checksum": (claimed(GOOD).encode(), "its checksum is wrong"),
    "another key's": (sealed(claimed(GOOD), "0" * 64), "its checksum is wrong"),
    "too long": (b"x" * (server.MOST_BYTES + 1), "262145 bytes; at most 262144 are read"),
    "no JSON": (sealed("{", DIGEST), "not JSON"),
    "NaN": (sealed('{"format": NaN}', DIGEST), "NaN"),
    "too deep": (sealed("[" * 100_000, DIGEST), "passed over"),
    "another task": (sealed(claimed(OTHER_TASK), DIGEST), "another task"),
    "another schedule": (sealed(claimed(shared(2)), DIGEST), "another schedule than its field says"),
    "another machine": (
        sealed(claimed(record(*GOOD.measurements, machine=OTHER_MACHINE, schedule=GOOD.schedule)), DIGEST),
        "claims nothing of this machine",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_one_warning_and_a_miss_and_is_mended(
    layer: Server, real: RealServer, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    value, said = GARBAGE[name]
    real.client.hset(KEY, DIGEST, value)
    for _ in range(2):
        assert best(layer) is None
    assert len(warnings(caplog)) == 1
    assert said in warnings(caplog)[0]
    layer.put(shared(5, latency_s=0.5))
    found = best(layer)
    assert found is not None
    assert found.schedule == numbered(5).schedule
    assert real.client.hlen(KEY) == 1, "garbage is not kept"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.binary(max_size=80), value=st.binary(max_size=200))
def test_no_bytes_are_an_answer(real: RealServer, field: bytes, value: bytes) -> None:
    real.client.delete(KEY)
    real.client.hset(KEY, field, value)
    layer = Server(real.url)
    assert best(layer) is None
    assert layer.status() == "1 entries"


def test_a_key_of_another_type_is_refused_once_and_others_are_answered(
    layer: Server, real: RealServer, caplog: pytest.LogCaptureFixture
) -> None:
    real.client.set(KEY, "a text")
    assert best(layer) is None
    layer.put(shared())
    assert "refused: WRONGTYPE" in warnings(caplog)[0]
    assert len(warnings(caplog)) == 1
    assert layer.status() == "1 entries"


def test_machines_are_checked_too(layer: Server, real: RealServer, caplog: pytest.LogCaptureFixture) -> None:
    layer.put(shared())
    key = f"{server.PREFIX}machines:{task_key(gemm())}"
    field = f"{'0' * 64}/{protocol_key(PROTOCOL)}"
    real.client.hset(key, field, sealed(compact_json(unstructure(MACHINE)), field, key))
    assert layer.machines(gemm(), PROTOCOL) == (MACHINE,)
    assert machine_key(MACHINE) != "0" * 64
    assert "another machine than its key says" in warnings(caplog)[0]


# --- servers that mean ill --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def speaking(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that does `talk` with whoever connects."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(OSError):
                    talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()


def silent(connection: socket.socket) -> None:
    connection.recv(10**6)
    time.sleep(2)


def dripping(connection: socket.socket) -> None:
    connection.sendall(b"*1\r\n$1000000\r\n")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.05)


def endless(connection: socket.socket) -> None:
    connection.recv(10**6)
    connection.sendall(b"$4000000000\r\n")
    for _ in range(4000):
        connection.sendall(b"x" * 2**20)


def nested(connection: socket.socket) -> None:
    connection.recv(10**6)
    connection.sendall(b"*1\r\n" * 100_000)


def says(text: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        while connection.recv(10**6):
            connection.sendall(text)

    return talk


TALKS = {
    "silent": silent,
    "dripping": dripping,
    "endless": endless,
    "nested": nested,
    "HTTP": says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "closing": lambda connection: connection.close(),
    "no number": says(b"*x\r\n"),
    "a number": says(b":1\r\n"),
    "a text": says(b"+OK\r\n"),
    "pairs of pairs": says(b"*2\r\n*1\r\n:1\r\n*1\r\n:1\r\n"),
    "an error": says(b"-ERR \x1b[31mred\r\n"),
    "no password": says(b"-NOAUTH Authentication required.\r\n"),
}


@pytest.mark.parametrize("name", TALKS)
def test_whatever_a_server_says_nobody_waits_long(caplog: pytest.LogCaptureFixture, name: str) -> None:
    with speaking(TALKS[name]) as url:
        layer = Server(url)
        begin = time.perf_counter()
        assert best(layer) is None
        layer.put(shared())
        assert layer.machines(gemm(), PROTOCOL) == ()
        assert time.perf_counter() - begin < 3 * link.LIMIT_S
    assert len(warnings(caplog)) == 1
    assert "\x1b" not in warnings(caplog)[0]


# --- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:6379", "server 'localhost:6379' is no URL of a server; write redis://HOST:6379/0"),
        ("http://host", "server 'http://host' is no URL of a server"),
        ("redis://", "server 'redis://' is no URL of a server"),
        ("redis://me:secret@host/?socket_timeout=900", "server 'redis://host/?socket_timeout=900' has options"),
        ("redis://host:port", "server: the URL cannot be read"),
    ],
)
def test_urls_that_lead_nowhere(url: str, message: str) -> None:
    with pytest.raises(StoreError) as caught:
        Server(url)
    assert str(caught.value).startswith(message)
    assert "secret" not in str(caught.value)


def test_a_password_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    layer = Server("valkey://me:secret@127.0.0.1:1/3")
    assert layer.place == "127.0.0.1:1"
    assert best(layer) is None
    assert "secret" not in caplog.text


def test_without_the_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(
        StoreError, match=r"server host:6379: its client is not installed; pip install 'autosched\[server\]'"
    ):
        Server("redis://host")


def test_which_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOSCHED_SERVER", raising=False)
    assert link.server_url() is None
    monkeypatch.setenv("AUTOSCHED_SERVER", "redis://team")
    assert link.server_url() == "redis://team"
    assert link.server_url("redis://other") == "redis://other"
    assert link.server_url("") is None
