"""Which files there are, and which of them a table has not taken in yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from millpond.ingest.errors import SourceFileChanged, SourceMissing
from millpond.ingest.spec import FileSource
from millpond.kernel import Secret, Store, StoredFile
from millpond.ledger import SourceFile

PACKAGE: Final = "package:"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that a source names, as it is now."""

    uri: str
    """As the ledger keeps it: relative to the project where inside it, ``package:name/path``, or the full address."""
    size: int
    modified_us: int
    etag: str | None
    store: Store
    """The folder it is in."""
    path: str
    """Below *store*."""


def discover(
    source: FileSource,
    *,
    root: Path,
    stores: Mapping[str, Store] | None = None,
    options: Mapping[str, str | Secret] | None = None,
) -> tuple[FoundFile, ...]:
    """Find the files of *source*, sorted by address; no file is opened.

    *stores* gives a bucket's store by name, *options* the credentials of those not given. ``**`` crosses folders.

    Raises:
        SourceMissing: the location has no wildcard and there is no such file, or the package is not installed.
    """
    location = source.location
    if location.startswith(PACKAGE):
        found = tuple(_in_package(source))
    elif "://" in location:
        found = tuple(_in_bucket(source, stores or {}, options or {}))
    else:
        found = tuple(_on_disk(source, root))
    if not found and not has_magic(location):
        raise SourceMissing(source.dataset, location, "no such file", at=source.at)
    return tuple(sorted(found, key=lambda file: file.uri))


def unseen(
    found: Sequence[FoundFile],
    known: Sequence[SourceFile],
    *,
    mode: Literal["append", "replace", "merge"] | None = None,
) -> tuple[FoundFile, ...]:
    """Give the files that are new or changed: another size, etag, or, without etags, modification time.

    Raises:
        SourceFileChanged: *mode* is append and a known file changed.
    """
    taken = {file.uri: file for file in known}
    fresh = tuple(file for file in found if file.uri not in taken or _changed(file, taken[file.uri]))
    if mode == "append":
        changed = [file.uri for file in fresh if file.uri in taken]
        if changed:
            raise SourceFileChanged(changed)
    return fresh


def _changed(file: FoundFile, taken: SourceFile) -> bool:
    if file.size != taken.size:
        return True
    if file.etag is not None and taken.etag is not None:
        return file.etag != taken.etag
    return file.modified_us != taken.modified_us


def _on_disk(source: FileSource, root: Path) -> Iterator[FoundFile]:
    location = Path(source.location).expanduser()
    whole = location if location.is_absolute() else root / location
    base, pattern = _split(whole.as_posix())
    store = Store(str(Path(base).resolve()))
    shown = Path(base)
    for file in _matching(store, pattern):
        path = shown / file.path
        uri = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
        yield _found(uri, file, store)


def _in_bucket(
    source: FileSource, stores: Mapping[str, Store], options: Mapping[str, str | Secret]
) -> Iterator[FoundFile]:
    scheme, _, rest = source.location.partition("://")
    bucket = rest.split("/", 1)[0]
    base, pattern = _split(source.location)
    given = stores.get(bucket) or stores.get(f"{scheme}://{bucket}")
    store = Store(base, given.options if given is not None else options)
    for file in _matching(store, pattern):
        yield _found(store.uri_of(file.path), file, store)


def _in_package(source: FileSource) -> Iterator[FoundFile]:
    name, _, pattern = source.location.removeprefix(PACKAGE).partition("/")
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        reason = f"the package {name} is not installed"
        raise SourceMissing(source.dataset, source.location, reason, at=source.at) from error
    wanted = {pattern, f"{name}/{pattern}"}
    matches = [_glob(text) for text in sorted(wanted)]
    for file in distribution.files or ():
        if any(match.fullmatch(file.as_posix()) for match in matches):
            path = Path(str(distribution.locate_file(file))).resolve()
            store = Store(str(path.parent))
            stored = store.stat(path.name)
            if stored is not None:
                yield _found(f"{PACKAGE}{name}/{file.as_posix()}", stored, store)


def _found(uri: str, file: StoredFile, store: Store) -> FoundFile:
    return FoundFile(uri=uri, size=file.size, modified_us=file.modified_us, etag=file.etag, store=store, path=file.path)


def _split(location: str) -> tuple[str, str]:
    """Split into the folder before the first wildcard and the pattern below it."""
    parts = location.split("/")
    first = next((i for i, part in enumerate(parts) if has_magic(part)), len(parts) - 1)
    return "/".join(parts[:first]), "/".join(parts[first:])


def _matching(store: Store, pattern: str) -> Iterator[StoredFile]:
    if not has_magic(pattern):
        file = store.stat(pattern)
        if file is not None:
            yield file
        return
    match = _glob(pattern)
    for file in store.list():
        hidden = any(part.startswith((".", "_$")) for part in file.path.split("/"))
        if not hidden and match.fullmatch(file.path):
            yield file


def _glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob: ``*`` and ``?`` stay in one folder, ``**`` does not, ``[..]`` is a set."""
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|[^*?\[]+|\[", pattern)
    said = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}

    def meaning(token: str) -> str:
        if token in said:
            return said[token]
        if len(token) > 2 and token.startswith("["):
            inner = token[1:-1].replace("\\", "\\\\")
            return f"[{'^' + inner[1:] if inner.startswith('!') else inner}]"
        return re.escape(token)

    return re.compile("".join(meaning(token) for token in tokens), re.DOTALL)
