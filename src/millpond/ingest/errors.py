"""What can stop a load; where one of these is raised, nothing of the load is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millpond.kernel import Location, MillpondError


class SourceMissing(MillpondError):
    """A source's location names one file, package or store, and there is none."""

    code = "source-missing"

    def __init__(self, dataset: str, location: str, reason: str, *, at: Location | None = None) -> None:
        """Keep *dataset*, *location* and *reason*."""
        self.dataset = dataset
        self.location = location
        self.reason = reason
        super().__init__(
            f"{dataset}: nothing at {location}: {reason}",
            hint="Put the file there, or correct `location`; with a wildcard in it, no file is no error.",
            at=at,
        )


class SourceUnreadable(MillpondError):
    """A file is not what the source says: not gzip, not Parquet, an encrypted archive, too large when unpacked."""

    code = "source-unreadable"

    def __init__(self, uri: str, reason: str) -> None:
        """Keep *uri* and *reason*."""
        self.uri = uri
        self.reason = reason
        super().__init__(
            f"{uri} cannot be read: {reason}", hint="Check the file, and the source's format and encoding."
        )


class ColumnMissing(MillpondError):
    """A file lacks columns that the contract requires, or has one of them twice."""

    code = "column-missing"

    def __init__(self, dataset: str, uri: str, problems: Sequence[str], found: Sequence[str]) -> None:
        """Keep what is wrong with each column, and the columns that were *found*."""
        self.dataset = dataset
        self.uri = uri
        self.problems = tuple(problems)
        self.found = tuple(found)
        super().__init__(
            f"{dataset}: {uri}: {'; '.join(problems)}",
            hint=f"The file has: {', '.join(found) or 'no columns'}. Correct the file, `physicalName` in the contract, "
            "or the source's delimiter and header.",
        )


class SourceFileChanged(MillpondError):
    """A file whose rows were appended already has changed: taking it in again would double rows."""

    code = "source-file-changed"

    def __init__(self, uris: Sequence[str]) -> None:
        """Keep the files that changed."""
        self.uris = tuple(uris)
        more = f" and {len(uris) - 3} more" if len(uris) > 3 else ""
        super().__init__(
            f"{', '.join(uris[:3])}{more}: changed after its rows were appended",
            hint="Give new content a new file name, or declare `mode: replace` (the files are the table) or "
            "`mode: merge` (rows replace those of the same key).",
        )


class TooManyBadRows(MillpondError):
    """More rows are bad than the source tolerates: something is wrong with the file, not with a few rows."""

    code = "too-many-bad-rows"
    exit_code = 4

    def __init__(
        self, dataset: str, *, read: int, bad: int, share_max: float, reasons: Mapping[str, int], example: str | None
    ) -> None:
        """Keep the counts, how many rows broke each rule, and one reason in words."""
        self.dataset = dataset
        self.read = read
        self.bad = bad
        self.share_max = share_max
        self.reasons = dict(reasons)
        self.example = example
        top = ", ".join(f"{rule} ×{count:,}" for rule, count in list(reasons.items())[:5])
        shown = f" For example: {example}." if example else ""
        super().__init__(
            f"{dataset}: {bad:,} of {read:,} rows are bad ({bad / max(read, 1):.1%}, tolerated {share_max:.1%}). "
            f"Nothing was stored. Broken: {top}.{shown}",
            hint="Correct the file or the contract, or raise `bad_share_max` in the source to quarantine them.",
        )


class LoadStopped(MillpondError):
    """A row broke a rule of severity critical."""

    code = "load-stopped"
    exit_code = 4

    def __init__(self, dataset: str, broken: Mapping[str, int], example: str | None) -> None:
        """Keep the critical rules that were *broken*, with the number of rows."""
        self.dataset = dataset
        self.broken = dict(broken)
        self.example = example
        rules = ", ".join(f"{rule} ×{count:,}" for rule, count in broken.items())
        shown = f" For example: {example}." if example else ""
        super().__init__(
            f"{dataset}: rows break critical rules, so nothing was stored: {rules}.{shown}",
            hint="Correct the file; with severity error instead of critical such rows go to the quarantine.",
        )


class LoadMiscounted(MillpondError):
    """Accepted and quarantined rows are not the rows that were read: a defect of Millpond, caught before a commit."""

    code = "load-miscounted"

    def __init__(self, dataset: str, *, read: int, accepted: int, quarantined: int) -> None:
        """Keep the three counts."""
        self.dataset = dataset
        self.read = read
        self.accepted = accepted
        self.quarantined = quarantined
        super().__init__(
            f"{dataset}: {read:,} records were read, but {accepted:,} accepted and {quarantined:,} quarantined;"
            " nothing was stored",
            hint="Please report this with the file: no row may be lost or doubled.",
        )
