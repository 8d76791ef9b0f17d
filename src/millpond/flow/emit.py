"""Telling other systems how a run ended: OpenLineage events to a file, to a server, or to both.

Happens after the fact and never decides anything: what goes wrong here is a warning, and the run is what it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from millpond.catalog import CheckTold, DataPlace, FilesTold, RunTold, StepTold, TableTold
from millpond.contracts import Severity
from millpond.flow.definitions import Definitions
from millpond.flow.settings import OpenLineageSettings, Settings
from millpond.flow.staging import Staged
from millpond.flow.workspace import Workspace
from millpond.kernel import Json, MillpondError, now_us
from millpond.ledger import Event, Pointer
from millpond.quality import CheckResult

if TYPE_CHECKING:
    from millpond.flow.run import StepReport

_PATH = "api/v1/lineage"
_WAIT_S = 5.0
_TRIES = 3
_KEY = "OPENLINEAGE_API_KEY"
"""Where the server's key is read from, as OpenLineage's own client does."""


class LineageUnavailable(MillpondError):
    """The project asks for lineage events, and what writes them is not installed."""

    code = "lineage-unavailable"

    def __init__(self) -> None:
        """Say what to install."""
        super().__init__(
            "millpond.yaml asks for OpenLineage events, and openlineage-python is not installed.",
            hint='Install it: pip install "millpond[openlineage]"',
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that is over, as far as lineage wants to know."""

    run_id: str
    actor: str
    started_us: int
    steps: Sequence[StepReport]
    staged: Mapping[str, Staged] = field(hash=False)
    """By dataset: the steps that did what they should."""
    before: Mapping[str, Pointer] = field(hash=False)
    """What the environment showed when the run began."""
    failed: Mapping[str, MillpondError] = field(hash=False)
    """Empty: everything was published."""


@dataclass(slots=True)
class _Delivery:
    """What became of the events."""

    events: int = 0
    written: int | None = None
    """To the file; None where there is none, as with *sent*."""
    sent: int | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Events that one of the places they were meant for does not have."""
        return self.events - min(n for n in (self.written, self.sent, self.events) if n is not None)


def emit_run(workspace: Workspace, definitions: Definitions, ended: Ended) -> str | None:
    """Write and send a finished run's lineage, where ``millpond.yaml`` asks for it; gives a warning where that failed.

    Costs nothing where it is not asked for. An unreachable server costs a few seconds: it is tried three times, for the
    first event.
    """
    wanted = workspace.settings.openlineage
    if wanted.file is None and wanted.url is None:
        return None
    delivery = _Delivery()
    try:
        events = _events(workspace, definitions, ended)
        delivery.events = len(events)
        _deliver(events, wanted, delivery)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run has ended as it has
        delivery.problems.append(_said(error))
    problem = "; ".join(delivery.problems)
    payload: Mapping[str, Json] = {
        "events": delivery.events,
        "failed": delivery.failed,
        "written": delivery.written,
        "sent": delivery.sent,
        "problem": problem or None,
    }
    emitted = Event(
        kind="lineage.emitted", actor=ended.actor, env=definitions.env, run_id=ended.run_id, payload=payload
    )
    try:
        workspace.ledger.append([emitted])
    except MillpondError as error:
        problem = "; ".join(filter(None, (problem, _said(error))))
    return f"Lineage was not delivered whole: {problem}" if problem else None


def _said(error: Exception) -> str:
    if isinstance(error, MillpondError):
        return str(error).replace("\n", " ")
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _deliver(events: Sequence[Mapping[str, Json]], wanted: OpenLineageSettings, delivery: _Delivery) -> None:
    if wanted.file is not None:
        delivery.written = 0
        try:
            _append(events, wanted.file)
            delivery.written = len(events)
        except OSError as error:
            delivery.problems.append(f"{wanted.file}: {error.strerror or error}")
    if wanted.url is not None:
        delivery.sent = 0
        _send(events, wanted.url, delivery)


def _append(events: Sequence[Mapping[str, Json]], file: Path) -> None:
    """One line per event, all in one write, so that the lines of two runs do not mix."""
    lines = "".join(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n" for event in events)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:
        out.write(lines.encode())
        out.flush()
        os.fsync(out.fileno())


def _send(events: Sequence[Mapping[str, Json]], url: str, delivery: _Delivery) -> None:
    from openlineage.client.transport.http import HttpConfig, HttpTransport
    from requests import HTTPError, RequestException

    key = os.environ.get(_KEY)
    settings: dict[str, Any] = {
        "url": url.rstrip("/").removesuffix(f"/{_PATH}") + "/",
        "endpoint": _PATH,
        "timeout": _WAIT_S,
        "retry": {"total": _TRIES - 1},
        "auth": {"type": "api_key", "apiKey": key} if key else {},
    }
    transport = HttpTransport(HttpConfig.from_dict(settings))
    refused: list[str] = []
    try:
        for event in events:
            try:
                transport.emit(cast("Any", event))
            except HTTPError as error:  # this event is refused; the next one may not be
                answer = error.response
                refused.append(f"{answer.status_code} {answer.reason}" if answer is not None else str(error))
            else:
                delivery.sent = (delivery.sent or 0) + 1
    except RequestException as error:
        delivery.problems.append(f"{_host(url)} does not answer ({type(error).__name__})")
    finally:
        transport.close()
    if refused:
        delivery.problems.append(f"{_host(url)} refused {len(refused)} of {len(events)} events ({refused[0]})")


def _host(url: str) -> str:
    """Name the server without what may be secret in its address."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2].partition("?")[0] or "the server"


def _events(workspace: Workspace, definitions: Definitions, ended: Ended) -> tuple[dict[str, Json], ...]:
    try:
        from millpond.catalog.openlineage import run_events
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "openlineage":
            raise
        raise LineageUnavailable from error
    settings = workspace.settings
    reasons = [f"{name}: {_first_line(error)}" for name, error in ended.failed.items()]
    whole = RunTold(
        run_id=ended.run_id,
        project=settings.name,
        namespace=namespace_of(settings, definitions.env),
        env=definitions.env,
        actor=ended.actor,
        state="fail" if ended.failed else "complete",
        started_us=ended.started_us,
        finished_us=now_us(),
        error="; ".join(reasons) or None,
    )
    telling = _Telling(workspace, definitions, ended)
    return run_events(whole, [told for step in ended.steps if (told := telling.step(step)) is not None])


def namespace_of(settings: Settings, env: str) -> str:
    """Name the namespace of an environment's jobs and datasets: the default environment has the project's own."""
    namespace = settings.openlineage.namespace
    return namespace if env == settings.default_environment else f"{namespace}.{env}"


def _first_line(error: MillpondError) -> str:
    """What failed, without the rows and values that some errors go on to show."""
    return error.message.partition("\n")[0]


class _Telling:
    """Turns what a run knows of its steps into what lineage says of them."""

    def __init__(self, workspace: Workspace, definitions: Definitions, ended: Ended) -> None:
        self.workspace, self.definitions, self.ended = workspace, definitions, ended
        after = {name: pointer for staged in ended.staged.values() for name, pointer in staged.pointers.items()}
        self.pointers = {**ended.before, **after}

    def step(self, step: StepReport) -> StepTold | None:
        """Tell one step; None for one that did nothing."""
        if step.started_us is None or step.state not in {"done", "failed"}:
            return None
        name = step.dataset
        entry, staged = self.definitions.entries[name], self.ended.staged.get(name)
        failed = self.ended.failed.get(name)
        checks = step.checks if staged is None else staged.checks
        return StepTold(
            entry=entry,
            state="fail" if failed else "abort" if self.ended.failed else "complete",
            started_us=step.started_us,
            finished_us=step.started_us + round(step.seconds * 1e6),
            files=self._files(step) if entry.kind == "source" else None,
            reads=tuple(self._read(read) for read in entry.lineage.datasets),
            writes=self._writes(name, staged),
            checks=tuple(_check(check) for check in checks),
            error=_first_line(failed) if failed else None,
        )

    def _files(self, step: StepReport) -> FilesTold:
        location = self.definitions.sources[step.dataset].location
        files = step.decision.files if step.decision else ()
        return FilesTold(
            at=DataPlace.of(self._whole(location)),
            files=tuple(self._whole(file.uri) for file in files),
            rows=step.rows_read,
            bytes=sum(file.size for file in files),
        )

    def _whole(self, location: str) -> str:
        if location.startswith("package:") or "://" in location:
            return location
        return (self.workspace.root / Path(location).expanduser()).absolute().as_posix()

    def _table(self, name: str) -> TableTold:
        entry, pointer = self.definitions.entries[name], self.pointers.get(name)
        table = entry.table if pointer is None else pointer.table
        return TableTold(entry=entry, at=DataPlace.of(self.workspace.lake.table(table).store.uri))

    def _read(self, name: str) -> TableTold:
        pointer = self.pointers.get(name)
        return replace(self._table(name), version=pointer.version if pointer else None)

    def _writes(self, name: str, staged: Staged | None) -> tuple[TableTold, ...]:
        """What a step that did its work wrote; versions only where they were published."""
        if staged is None:
            entry = self.definitions.entries[name]
            return (TableTold(entry=entry, at=DataPlace.of(self.workspace.lake.table(entry.table).store.uri)),)
        commits = {commit.table: commit for commit in staged.commits}
        told = []
        for written, pointer in staged.pointers.items():
            adds = commits[pointer.table].adds if pointer.table in commits else ()
            told.append(
                replace(
                    self._table(written),
                    version=None if self.ended.failed else pointer.version,
                    rows=sum(file.rows for file in adds),
                    bytes=sum(file.size for file in adds),
                    files=len(adds),
                )
            )
        return tuple(sorted(told, key=lambda table: table.entry.dataset.name != name))


def _check(check: CheckResult) -> CheckTold:
    return CheckTold(
        rule=check.rule,
        column=check.column,
        passed=check.outcome == "passed",
        stops=check.severity in {Severity.ERROR, Severity.CRITICAL},
        wanted=check.wanted,
        measured=check.measured,
    )
