"""A found file as plain local files: fetched, unpacked and turned into UTF-8 where it is not, in bounded memory.

Owns the temporary copies; a local file that needs nothing is read in place.
"""

from __future__ import annotations

import codecs
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast

import pyarrow as pa

from millpond.ingest.errors import SourceUnreadable
from millpond.ingest.found import FoundFile
from millpond.ingest.spec import FileSource
from millpond.kernel import GiB, MiB, format_bytes, new_id

UNPACKED_BYTES_MAX: Final = 256 * GiB
"""A file that unpacks to more is refused: a bomb, or a case for several files."""
_CHUNK: Final = 4 * MiB
_DAMAGED: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, pa.ArrowException, NotImplementedError, OSError
)  # fmt: skip
_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_SUFFIXES: Final = {
    "csv": (".csv", ".tsv", ".txt", ".psv"),
    "ndjson": (".ndjson", ".jsonl", ".json"),
    "parquet": (".parquet", ".pq"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One plain file: a found one, or a member of an archive."""

    file: FoundFile
    uri: str
    """The file's, with ``!member`` where an archive has several."""
    path: Path
    is_temporary: bool
    surrogates: bool
    """True where it was transcoded: a byte without meaning stands as an encoded surrogate U+DC00 plus the byte."""

    def discard(self) -> None:
        """Remove a temporary copy."""
        if self.is_temporary:
            self.path.unlink(missing_ok=True)


def parts_of(file: FoundFile, source: FileSource, scratch: Path) -> Iterator[Part]:
    """Give the plain files that *file* stands for; temporary copies are made in *scratch*, one at a time.

    Raises:
        SourceUnreadable: damaged or encrypted archives, an archive without files of the format.
    """
    local, fetched = _local(file, scratch)
    keep = False
    try:
        with local.open("rb") as head:
            magic = head.read(4)
        if magic == _ZIP:
            yield from _members(file, source, local, scratch)
            return
        packed = source.format != "parquet" and magic.startswith((_GZIP, _ZSTD))
        if packed or _decoder(source) is not None:
            with _unpacking(file.uri), _stream(local, magic if packed else b"") as stream:
                path, surrogates = _copy(file.uri, stream, source, scratch)
            yield Part(file=file, uri=file.uri, path=path, is_temporary=True, surrogates=surrogates)
        else:
            keep = True
            yield Part(file=file, uri=file.uri, path=local, is_temporary=fetched, surrogates=False)
    finally:
        if fetched and not keep:
            local.unlink(missing_ok=True)


def _local(file: FoundFile, scratch: Path) -> tuple[Path, bool]:
    if file.store.is_local:
        return Path(file.store.uri) / file.path, False
    path = scratch / new_id("fetched")
    file.store.download(file.path, path)
    return path, True


def _members(file: FoundFile, source: FileSource, local: Path, scratch: Path) -> Iterator[Part]:
    with _unpacking(file.uri), zipfile.ZipFile(local) as archive:
        members = [item for item in archive.infolist() if not item.is_dir() and not _hidden(item.filename)]
        fitting = [item for item in members if item.filename.lower().endswith(_SUFFIXES[source.format])] or members
        if not fitting:
            raise SourceUnreadable(file.uri, "the archive holds no files")
        if any(item.flag_bits & 1 for item in fitting):
            raise SourceUnreadable(file.uri, "the archive is encrypted")
        for item in sorted(fitting, key=lambda item: item.filename):
            with archive.open(item) as stream:
                path, surrogates = _copy(file.uri, cast("BinaryIO", stream), source, scratch)
            uri = file.uri if len(fitting) == 1 else f"{file.uri}!{item.filename}"
            yield Part(file=file, uri=uri, path=path, is_temporary=True, surrogates=surrogates)


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


@contextmanager
def _unpacking(uri: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        if getattr(error, "errno", None) is not None:
            raise  # the disk's fault, not the file's
        raise SourceUnreadable(uri, str(error) or "the archive is damaged") from error


@contextmanager
def _stream(path: Path, magic: bytes) -> Iterator[BinaryIO]:
    if magic.startswith(_GZIP):
        with gzip.open(path, "rb") as stream:
            yield cast("BinaryIO", stream)
    elif magic.startswith(_ZSTD):
        with pa.input_stream(str(path), compression="zstd") as stream:
            yield cast("BinaryIO", stream)
    else:
        with path.open("rb") as stream:
            yield stream


def _copy(uri: str, stream: BinaryIO, source: FileSource, scratch: Path) -> tuple[Path, bool]:
    path = scratch / new_id("plain")
    decoder = _decoder(source)
    written = 0
    try:
        with path.open("wb") as out:
            while True:
                chunk = stream.read(_CHUNK)
                data = chunk
                if decoder is not None:
                    data = decoder.decode(chunk, not chunk).encode("utf-8", "surrogatepass")
                out.write(data)
                written += len(data)
                _bounded(uri, written)
                if not chunk:
                    return path, decoder is not None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _bounded(uri: str, written: int) -> None:
    if written > UNPACKED_BYTES_MAX:
        raise SourceUnreadable(uri, f"it unpacks to more than {format_bytes(UNPACKED_BYTES_MAX)}")


def _decoder(source: FileSource) -> codecs.IncrementalDecoder | None:
    """Give what turns the source's encoding into text; None where it is UTF-8 or means nothing."""
    if source.format == "parquet" or codecs.lookup(source.encoding).name in {"utf-8", "utf-8-sig", "ascii"}:
        return None
    return codecs.getincrementaldecoder(source.encoding)("millpond.kept")


def _kept(error: UnicodeError) -> tuple[str, int]:
    """Keep bytes without meaning as surrogates, so that the row, and not the file, is refused."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in wrong), error.end


codecs.register_error("millpond.kept", _kept)
