"""A project opened for work: its settings, ledger, lake and engine, each once."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from millpond.access import Door, PolicySet, Visible
from millpond.catalog import Catalog
from millpond.engines import DuckDBEngine, Engine, EngineLimits
from millpond.flow.definitions import Definitions, define
from millpond.flow.project import Project, load_project
from millpond.flow.remembered import Remembered
from millpond.flow.settings import Environment, Settings, load_settings
from millpond.kernel import MillpondError, Secret, suggest
from millpond.lake import Lake, Snapshot
from millpond.ledger import Ledger, Pointer


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Make many objects that all stay without looking for garbage among them again and again: a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class EnvironmentUnknown(MillpondError):
    """The project has no environment of that name."""

    code = "environment-unknown"
    exit_code = 2


@dataclass(slots=False)
class Workspace:
    """One open project; use as a context manager."""

    root: Path
    settings: Settings
    _doors: list[Door] = field(default_factory=list)

    @classmethod
    def open(cls, root: Path) -> Self:
        """Open the project at *root*; nothing but ``millpond.yaml`` is read yet."""
        return cls(root, load_settings(root))

    def __enter__(self) -> Self:
        """Use until the end of the block."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the doors and the ledger, where they were opened."""
        for door in self._doors:
            door.close()
        if "ledger" in self.__dict__:
            self.ledger.close()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; created at first use."""
        url = self.settings.ledger_url.reveal()
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        return Ledger.open(Secret(url))

    @cached_property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(self.settings.lake)

    @cached_property
    def engine(self) -> Engine:
        """Where SQL runs."""
        return DuckDBEngine()

    @cached_property
    def project(self) -> Project:
        """All definitions.

        Raises:
            ProblemsFound: some cannot be used.
        """
        return load_project(self.root, self.remembered)

    @cached_property
    def remembered(self) -> Remembered:
        """What was worked out from the same files before."""
        return Remembered(self.settings.state_dir / "cache" / "definitions.db")

    def environment(self, name: str | None) -> Environment:
        """Give an environment by name, or the default one.

        Raises:
            EnvironmentUnknown: no such environment.
        """
        wanted = name or self.settings.default_environment
        found = self.settings.environments.get(wanted)
        if found is None:
            raise EnvironmentUnknown(
                f"There is no environment {wanted} in millpond.yaml.", hint=suggest(wanted, self.settings.environments)
            )
        return found

    def definitions(self, env: Environment, applied: Catalog | None = None) -> Definitions:
        """Bind the project for *env*; *applied* is what it runs now, where that is known."""
        with _collecting_later():
            return define(self.project, env, applied or Catalog.load(self.ledger, env.name), self.remembered)

    def limits(self, *, share: int = 1) -> EngineLimits:
        """What a session may use when *share* of them work at once."""
        return EngineLimits(
            memory_bytes_max=self.settings.memory_bytes_max // share,
            threads=self.settings.threads,
            spill_dir=str(self.settings.state_dir / "spill"),
            cache_dir=str(self.settings.state_dir / "cache"),
        )

    def snapshot(self, pointer: Pointer) -> Snapshot:
        """Read a table at the version that *pointer* names."""
        return self.lake.table(pointer.table).snapshot(pointer.version)

    def policies(self, env: str) -> PolicySet:
        """Give the policies as they were applied to *env*; none were: nobody may read."""
        applied = self.ledger.policies(env)
        return PolicySet.from_json(applied) if applied is not None else PolicySet.empty()

    def door(self, env: str, *, staged: Mapping[str, Snapshot] | None = None) -> Door:
        """Open the reading door on *env*; it shows one publication, the newest at this moment.

        *staged* shows some datasets as a failed run left them, to whoever may read them.
        """
        instead = staged or {}
        catalog = Catalog.load(self.ledger, env)
        pointers = self.ledger.pointers(env)

        def resolve(name: str) -> Visible | None:
            entry, pointer = catalog.entries.get(name), pointers.get(name)
            if entry is None or (pointer is None and name not in instead):
                return None
            snapshot = instead[name] if pointer is None or name in instead else self.snapshot(pointer)
            return Visible(dataset=entry.dataset, snapshot=snapshot, tags=entry.column_tags, owner=entry.owner)

        door = Door(
            engine=self.engine,
            policies=self.policies(env),
            record=self.ledger.append,
            env=env,
            resolve=resolve,
            names=lambda: [name for name in {**pointers, **instead} if name in catalog.entries],
            limits=self.limits(),
        )
        self._doors.append(door)
        return door
