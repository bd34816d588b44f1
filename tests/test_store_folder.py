"""Where a store cannot be: one line that says what was found and what to do."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from diskcache import Timeout

from autosched.spec.errors import StoreError
from autosched.spec.schedule import Nest, Schedule
from autosched.store import folder as store_folder_module
from autosched.store.folder import check_local, locked, mounts, store_error
from autosched.store.privacy import MAX_DETAIL, scrubbed
from autosched.store.store import Store
from store_cases import MACHINE, failed, gemm, record, timed

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="permissions and limits of POSIX")
NOBODY = 65534


def one_line(error: pytest.ExceptionInfo[StoreError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_file_in_its_place(tmp_path: Path) -> None:
    place = tmp_path / "store"
    place.write_text("not a folder")
    for use in (lambda: Store(place).best(gemm()), lambda: list(Store(place).records())):
        with pytest.raises(StoreError) as error:
            use()
        assert one_line(error) == (
            f"store {place}: found a file, need a folder; name another folder with --store or AUTOSCHED_STORE"
        )
    for path in (place, place / "deeper"):
        with pytest.raises(StoreError) as error:
            Store(path).put(record(timed(0.1)))
        assert one_line(error) == (
            f"store {path}: {place} is a file, need a folder; name another folder with --store or AUTOSCHED_STORE"
        )
    assert place.read_text() == "not a folder"


def as_nobody(code: str) -> str:
    """What `code` prints in a process without root's rights, which would not notice permissions."""
    drop = f"import os\nos.geteuid() == 0 and (os.setgid({NOBODY}), os.setuid({NOBODY}))\n"
    head = "import sys\nsys.path[:0] = [sys.argv[1]]\nimport store_cases\nfrom autosched.store.store import Store\n"
    done = subprocess.run(
        [sys.executable, "-c", head + drop + code, str(Path(__file__).parent)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PUT = """
try:
    Store({path!r}).put(store_cases.record(store_cases.timed(0.1)))
except Exception as error:
    print(type(error).__name__, error)
"""
BEST = "print(Store({path!r}).best(store_cases.gemm(), store_cases.MACHINE))"


@POSIX
def test_a_folder_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        place = Path(name)
        place.chmod(0o555)
        assert as_nobody(PUT.format(path=name)) == (
            f"StoreError store {name}: not writable for this user; make it writable, or name another folder with "
            f"--store or AUTOSCHED_STORE"
        )
        assert as_nobody(PUT.format(path=f"{name}/new")) == (
            f"StoreError store {name}/new: cannot be made (Permission denied); name another folder with --store or "
            f"AUTOSCHED_STORE"
        )
        assert as_nobody(BEST.format(path=name)) == "None", "there is no store, and reading makes none"
        place.chmod(0o755)


@POSIX
def test_a_folder_that_may_not_be_entered() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o000)
        best = PUT.replace(
            "put(store_cases.record(store_cases.timed(0.1)))", "best(store_cases.gemm(), store_cases.MACHINE)"
        )
        for use, failed_to in ((PUT, "be made"), (best, "be looked into")):
            assert as_nobody(use.format(path=f"{name}/new")) == (
                f"StoreError store {name}/new: cannot {failed_to} (Permission denied); name another folder with "
                f"--store or AUTOSCHED_STORE"
            )
        Path(name).chmod(0o755)


@POSIX
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("~nobody-is-called-this/store", "no home folder is known for it; name another folder with --store or "),
        ("/" + "a" * 300, "cannot be looked into (File name too long); name another folder with --store or "),
    ],
)
def test_a_path_that_cannot_be(path: str, says: str) -> None:
    with pytest.raises(StoreError) as error:
        Store(path).best(gemm(), MACHINE)
    assert one_line(error) == f"store {path}: {says}AUTOSCHED_STORE"


@POSIX
def test_a_store_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:
        with Store(name) as store:
            store.put(record(timed(0.1)))
        for path in (*Path(name).iterdir(), Path(name)):
            path.chmod(0o555)
        assert as_nobody(PUT.format(path=name)).startswith(f"StoreError store {name}: not writable for this user; make")
        Path(name).chmod(0o755)


@POSIX
def test_a_full_disk(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        store.put(record(timed(0.1)))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # Files may not grow any more: what SQLite sees is what it sees on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(StoreError) as error:
                fill(store)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert one_line(error).startswith(f"store {tmp_path}/store: ")
        assert store.best(gemm(), MACHINE) == record(timed(0.1)), "what was there is there"
        store.put(record(timed(0.05)))
        assert store.check() == (), "and the store goes on when there is space again"


def fill(store: Store) -> None:
    for number in range(100):
        schedule = Schedule(nests=(Nest(stage="C", unroll_limit=number),))
        store.put(record(failed=failed(detail="x" * 1900), schedule=schedule))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (sqlite3.OperationalError("database or disk is full"), "the disk is full"),
        (OSError(28, "No space left on device"), "the disk is full"),
        (sqlite3.DatabaseError("database disk image is malformed"), "cache.db is damaged, or no store's"),
        (sqlite3.DatabaseError("file is not a database"), "cache.db is damaged, or no store's"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "cache.db is damaged, or no store's"),
        (sqlite3.OperationalError("database is locked"), "another process has kept it locked for 60 s; wait for it"),
        (Timeout(), "another process has kept it locked for 60 s"),
        (sqlite3.OperationalError("disk I/O error"), "cache.db is damaged, or no store's"),
    ],
    ids=repr,
)
def test_what_sqlite_says_becomes_one_line(tmp_path: Path, error: sqlite3.Error | OSError, says: str) -> None:
    text = str(store_error(tmp_path, error))
    assert text.startswith(f"store {tmp_path}: ")
    assert says in text
    assert "\n" not in text


def test_the_first_cause_counts(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("cannot rollback - no transaction is active")
    error.__context__ = sqlite3.OperationalError("database or disk is full")
    assert "the disk is full (database or disk is full / cannot rollback" in str(store_error(tmp_path, error))


def test_an_error_after_another_one_of_the_store_says_it_once(tmp_path: Path) -> None:
    """As where the last words of a search cannot be written either."""
    full = sqlite3.OperationalError("database or disk is full")
    first, second = store_error(tmp_path, full), sqlite3.OperationalError("database or disk is full")
    second.__context__ = first
    assert str(store_error(tmp_path, second)) == str(first)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "lustre"])
def test_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(store_folder_module, "mounts", lambda: (("/", "ext4"), (str(tmp_path), kind)))
    with pytest.raises(StoreError) as error:
        Store(tmp_path / "deep" / "store").put(record(timed(0.1)))
    assert f"lies on a network file system ({kind})" in one_line(error)
    assert "name another folder with --store or AUTOSCHED_STORE on a local disk" in one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_the_innermost_mount_counts(tmp_path: Path) -> None:
    check_local(tmp_path, (("/", "nfs"), (str(tmp_path), "ext4")))
    check_local(tmp_path, (("/", "ext4"), (str(tmp_path / "other"), "nfs")))
    check_local(tmp_path, (("/", "ext4"), (str(tmp_path)[:-1], "nfs")))
    with pytest.raises(StoreError):
        check_local(tmp_path / "deep", (("/", "ext4"), (str(tmp_path), "ext4"), (str(tmp_path), "nfs")))


def test_a_link_is_followed_to_where_the_files_are(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far")
    with pytest.raises(StoreError, match="network file system"):
        check_local(tmp_path / "link", ((str(tmp_path / "far"), "nfs4"),))


@pytest.mark.skipif(not Path("/proc/self/mounts").exists(), reason="reads /proc")
def test_mounts_are_read() -> None:
    assert "/" in dict(mounts())


@POSIX
def test_a_lock_that_nobody_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_folder_module, "TIMEOUT_S", 0.05)
    with (
        locked(tmp_path),
        pytest.raises(StoreError, match=r"another process has kept it locked for .* wait for it"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


# --- privacy ----------------------------------------------------------------------------------------------------------


def test_details_do_not_say_who_and_where() -> None:
    code = (
        "import platform; platform.node = lambda: 'build-box7.example.org'\n"
        "from autosched.store.privacy import scrubbed\n"
        "print(scrubbed('/home/jane.doe/a.c:7: error in /scratch/run/x.o by jane.doe on build-box7: at /home/bob/y'))"
    )
    environment = {**os.environ, "HOME": "/home/jane.doe", "TMPDIR": "/scratch/run"}
    seen = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environment
    ).stdout
    for private in ("jane", "doe", "build-box7", "example", "bob"):
        assert private not in seen
    assert seen.startswith("~/a.c:7: error in ")
    assert "by USER on HOST: at ~/y" in seen


def test_common_words_stay() -> None:
    assert scrubbed("cannot find root of host function; user data") == "cannot find root of host function; user data"


def test_details_are_bounded() -> None:
    text = scrubbed("begin" + "x" * 10**6 + "end")
    assert len(text) <= MAX_DETAIL
    assert text.startswith("begin")
    assert text.endswith("end")


def test_nothing_stored_says_who_and_where(tmp_path: Path) -> None:
    home, host = str(Path.home()), os.uname().nodename
    with Store(tmp_path / "store") as store:
        store.put(record(timed(0.1)))
        store.put(
            record(
                failed=failed("build_error", f"{home}/kernel.c:1: error\n/home/somebody/x.h {tempfile.gettempdir()}/k")
            )
        )
        text = "".join(row[2] for _, row in store._entries._rows("") if isinstance(row[2], str))
    assert "/kernel.c:1: error" in text
    assert home not in text
    assert "somebody" not in text
    assert host not in text or len(host) <= 3
