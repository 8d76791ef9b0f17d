"""A folder of files on local disk or in an object store, behind one small interface.

Owns how bytes are listed, read, written and deleted. Never knows what they mean. A file is whole or absent for every
reader, and what was written is on stable storage when the call returns.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from millpond.kernel.errors import MillpondError
from millpond.kernel.secret import Secret
from millpond.kernel.units import KiB, MiB

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Store
    from typing_extensions import Buffer

_PART_BYTES = 8 * MiB
_READ_AHEAD_BYTES = 64 * KiB
_DELETE_BATCH = 1000


class StorageUnreachable(MillpondError):
    """The storage did not answer, or could not do what was asked. Transient."""

    code = "storage-unreachable"
    transient = True

    def __init__(self, uri: str, reason: str) -> None:
        """Keep *uri* (never with credentials) and *reason*."""
        self.uri = uri
        self.reason = reason
        super().__init__(
            f"The storage at {uri} failed: {reason}",
            hint="Check the endpoint, the bucket, the network and free space, then try again.",
        )


class StorageDenied(MillpondError):
    """The storage refused the credentials, or what they may do."""

    code = "storage-denied"

    def __init__(self, uri: str, reason: str) -> None:
        """Keep *uri* (never with credentials) and *reason*."""
        self.uri = uri
        self.reason = reason
        super().__init__(
            f"The storage at {uri} refused access: {reason}",
            hint="Check the access key, its rights on this bucket, or the folder's owner and mode.",
        )


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as a listing shows it."""

    path: str
    """Relative to the store's root, with forward slashes."""
    size: int
    """Bytes."""
    modified_us: int
    etag: str | None = None
    """Given by object stores; changes with the content."""


@dataclass(frozen=True, slots=True)
class Store:
    """A folder on local disk or in an object store (``s3://bucket/prefix``).

    All methods raise StorageUnreachable (transient) or StorageDenied where the storage fails. Paths are relative,
    with forward slashes, taken literally: nothing in them is encoded or decoded.
    """

    uri: str
    """An absolute local path, or ``s3://bucket/prefix``; no slash at the end."""
    options: Mapping[str, str | Secret] = field(default_factory=dict, hash=False)
    """Credentials and endpoint of an object store, by deltalake/obstore's names (``aws_endpoint``, ...)."""

    @property
    def is_local(self) -> bool:
        """True for a folder on local disk."""
        return "://" not in self.uri

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.uri.rsplit("/", 1)[-1]

    def child(self, path: str) -> Store:
        """Give the folder at *path* below this one."""
        return Store(self.uri_of(path), self.options)

    def uri_of(self, path: str) -> str:
        """Give the full name of a file below this folder, for libraries that open it themselves."""
        return f"{self.uri}/{_checked(path)}"

    def storage_options(self) -> dict[str, str]:
        """Give the options with their secrets revealed, for the library that connects; never log it."""
        return {key: value.reveal() if isinstance(value, Secret) else value for key, value in self.options.items()}

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Walk the files below the folder *prefix*, in order of path on local disk; a missing folder has none."""
        return self._backend().list(_checked(prefix) if prefix else "")

    def stat(self, path: str) -> StoredFile | None:
        """Look at one file; None where it does not exist."""
        return self._backend().stat(_checked(path))

    def read(self, path: str) -> bytes:
        """Read a whole file into memory.

        Raises:
            FileNotFoundError: there is none.
        """
        return self._backend().read(_checked(path))

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading at any offset, without fetching the whole.

        Raises:
            FileNotFoundError: there is none.
        """
        return self._backend().open(_checked(path))

    def write(self, path: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write a whole file durably; with *if_absent*, exactly one of many writers succeeds.

        Returns:
            False where *if_absent* and the file existed: it is untouched.
        """
        return self._backend().write(_checked(path), data, if_absent=if_absent)

    def delete(self, paths: Iterable[str]) -> int:
        """Delete files and, on local disk, folders left empty by that; missing files are fine.

        Returns:
            How many files were asked for in an object store, how many were there on local disk.
        """
        return self._backend().delete(_checked(path) for path in paths)

    def download(self, path: str, to: Path) -> None:
        """Copy a file to local disk in parts of bounded size; *to* is whole or untouched.

        Raises:
            FileNotFoundError: there is none.
        """
        _write_file(to, self._backend().chunks(_checked(path)), if_absent=False)

    def upload(self, from_: Path, path: str) -> None:
        """Copy a local file here in parts of bounded size."""
        self._backend().upload(from_, _checked(path))

    def remove_all(self) -> None:
        """Delete the whole folder with all in it; a missing one is fine."""
        self._backend().remove_all()

    def _backend(self) -> _Backend:
        if self.is_local:
            return _Disk(self.uri)
        return _bucket(self.uri, tuple(sorted(self.options.items(), key=lambda item: item[0])))


def _checked(path: str) -> str:
    if not path or any(part in {"", ".", ".."} for part in path.split("/")):
        msg = f"{path!r} is not a relative path below a store"
        raise ValueError(msg)
    return path


class _Backend(Protocol):
    def list(self, prefix: str) -> Iterator[StoredFile]: ...
    def stat(self, path: str) -> StoredFile | None: ...
    def read(self, path: str) -> bytes: ...
    def open(self, path: str) -> BinaryIO: ...
    def chunks(self, path: str) -> Iterator[bytes]: ...
    def write(self, path: str, data: bytes, *, if_absent: bool) -> bool: ...
    def upload(self, from_: Path, path: str) -> None: ...
    def delete(self, paths: Iterable[str]) -> int: ...
    def remove_all(self) -> None: ...


class _Disk:
    """Local disk."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        with _disk_errors(self.root):
            yield from self._walk(os.path.join(self.root, prefix) if prefix else str(self.root))  # noqa: PTH118 - hot

    def _walk(self, folder: str) -> Iterator[StoredFile]:
        start = len(str(self.root)) + 1
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path)
                continue
            with contextlib.suppress(FileNotFoundError):  # deleted since: as if it had not been listed
                status = entry.stat()
                yield StoredFile(entry.path[start:], status.st_size, status.st_mtime_ns // 1000)

    def stat(self, path: str) -> StoredFile | None:
        with _disk_errors(self.root):
            try:
                status = (self.root / path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return StoredFile(path, status.st_size, status.st_mtime_ns // 1000)

    def read(self, path: str) -> bytes:
        with _disk_errors(self.root):
            return (self.root / path).read_bytes()

    def open(self, path: str) -> BinaryIO:
        with _disk_errors(self.root):
            return (self.root / path).open("rb")

    def chunks(self, path: str) -> Iterator[bytes]:
        with _disk_errors(self.root), (self.root / path).open("rb") as file:
            while chunk := file.read(_PART_BYTES):
                yield chunk

    def write(self, path: str, data: bytes, *, if_absent: bool) -> bool:
        with _disk_errors(self.root):
            return _write_file(self.root / path, (data,), if_absent=if_absent)

    def upload(self, from_: Path, path: str) -> None:
        with _disk_errors(self.root), from_.open("rb") as file:
            _write_file(self.root / path, iter(lambda: file.read(_PART_BYTES), b""), if_absent=False)

    def delete(self, paths: Iterable[str]) -> int:
        count = 0
        folders: set[Path] = set()
        with _disk_errors(self.root):
            for path in paths:
                file = self.root / path
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    file.unlink()
                    count += 1
                    folders.add(file.parent)
            for folder in folders:
                self._prune(folder)
        return count

    def _prune(self, folder: Path) -> None:
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:  # not empty, or gone already: both are as they should be
                return
            folder = folder.parent

    def remove_all(self) -> None:
        with _disk_errors(self.root), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.root)


def _write_file(path: Path, chunks: Iterable[bytes], *, if_absent: bool) -> bool:
    """Write beside *path*, flush to the disk, then give it its name in one step, and flush the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if if_absent and path.exists():
        return False
    beside = path.with_name(f".{path.name[:180]}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if if_absent:
            try:
                os.link(beside, path)  # unlike a rename, fails where the name is taken
            except FileExistsError:
                return False
            except FileNotFoundError:  # swept away as the leftover of a loser, which this writer then is
                if path.exists():
                    return False
                raise
        else:
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise StorageDenied(str(error.filename or root), error.strerror or "permission denied") from error
    except OSError as error:
        raise StorageUnreachable(str(error.filename or root), error.strerror or type(error).__name__) from error


class _Bucket:
    """An object store."""

    def __init__(self, uri: str, store: S3Store) -> None:
        self.uri = uri
        self.store = store

    def list(self, prefix: str) -> Iterator[StoredFile]:
        with _bucket_errors(self.uri):
            for batch in self.store.list(prefix or None):
                for meta in batch:
                    yield _stored(meta)

    def stat(self, path: str) -> StoredFile | None:
        with _bucket_errors(self.uri):
            try:
                return _stored(self.store.head(path))
            except FileNotFoundError:
                return None

    def read(self, path: str) -> bytes:
        with _bucket_errors(self.uri):
            return bytes(self.store.get(path).bytes())

    def open(self, path: str) -> BinaryIO:
        with _bucket_errors(self.uri):
            size = self.store.head(path)["size"]
        return io.BufferedReader(_RangeFile(self, path, size), _READ_AHEAD_BYTES)

    def chunks(self, path: str) -> Iterator[bytes]:
        with _bucket_errors(self.uri):
            for chunk in self.store.get(path).stream(min_chunk_size=_PART_BYTES):
                yield bytes(chunk)

    def write(self, path: str, data: bytes, *, if_absent: bool) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with _bucket_errors(self.uri):
            try:
                self.store.put(path, data, mode="create" if if_absent else "overwrite", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def upload(self, from_: Path, path: str) -> None:
        with _bucket_errors(self.uri):
            self.store.put(path, from_, chunk_size=_PART_BYTES, max_concurrency=4)

    def delete(self, paths: Iterable[str]) -> int:
        todo = [*paths]
        with _bucket_errors(self.uri):
            for start in range(0, len(todo), _DELETE_BATCH):
                with contextlib.suppress(FileNotFoundError):
                    self.store.delete(todo[start : start + _DELETE_BATCH])
        return len(todo)

    def remove_all(self) -> None:
        self.delete([file.path for file in self.list("")])


class _RangeFile(io.RawIOBase):
    """A file of an object store that fetches what is read of it."""

    def __init__(self, bucket: _Bucket, path: str, size: int) -> None:
        self._bucket = bucket
        self._path = path
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        with _bucket_errors(self._bucket.uri):
            data = memoryview(self._bucket.store.get_range(self._path, start=self._at, end=end))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def _stored(meta: ObjectMeta) -> StoredFile:
    return StoredFile(meta["path"], meta["size"], int(meta["last_modified"].timestamp() * 1e6), meta["e_tag"])


@lru_cache(maxsize=64)
def _bucket(uri: str, options: tuple[tuple[str, str | Secret], ...]) -> _Bucket:
    """Connect once per folder: a connection keeps its pool of sockets."""
    from obstore.store import S3Store

    scheme, _, rest = uri.partition("://")
    if scheme not in {"s3", "s3a"}:
        raise StorageUnreachable(uri, f"{scheme}:// is not a kind of storage that Millpond knows; use a path or s3://")
    bucket, _, prefix = rest.partition("/")
    config = {key.lower(): value.reveal() if isinstance(value, Secret) else value for key, value in options}
    plain = config.pop("aws_allow_http", config.pop("allow_http", "false")).lower() == "true"
    timeout = config.pop("timeout", "120s")
    with _bucket_errors(uri):
        store = S3Store(
            bucket,
            prefix=prefix or None,
            config=cast("Any", config),
            client_options={"allow_http": plain, "timeout": timeout, "connect_timeout": "5s"},
            retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
        )
    return _Bucket(uri, store)


@contextlib.contextmanager
def _bucket_errors(uri: str) -> Iterator[None]:
    """Translate the library's errors; its messages hold requests' URLs and bodies, so only their kind is told."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as error:
        raise StorageDenied(uri, _kind_of(error)) from None
    except exceptions.BaseError as error:
        if any(word in str(error) for word in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")):
            raise StorageDenied(uri, _kind_of(error)) from None
        raise StorageUnreachable(uri, _kind_of(error)) from None


def _kind_of(error: BaseException) -> str:
    text = str(error)
    for code in ("NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "SlowDown"):
        if code in text:
            return code
    for sign, words in (
        ("Connection refused", "connection refused"),
        ("dns error", "the host's name was not found"),
        ("timed out", "it timed out"),
        ("URL scheme is not allowed", "plain http needs aws_allow_http: true"),
        ("403", "403 Forbidden"),
        ("401", "401 Unauthorized"),
    ):
        if sign in text:
            return words
    return type(error).__name__
