"""What ``millpond.yaml`` may say: where things are kept, which environments there are, what one run may use."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millpond.kernel import (
    GiB,
    Json,
    MillpondError,
    Problem,
    ProblemsFound,
    Secret,
    Store,
    parse_bytes,
    read_document,
    unknown_keys,
)
from millpond.kernel.document import Document

SETTINGS_FILE = "millpond.yaml"
_KEYS = {
    "name", "default_environment", "environments", "lake", "ledger", "storage", "engine", "identity", "openlineage",
    "runs", "time_travel",
}  # fmt: skip
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ProjectNotFound(MillpondError):
    """No ``millpond.yaml`` in this folder or above it."""

    code = "project-not-found"
    exit_code = 2

    def __init__(self, folder: Path) -> None:
        """Keep *folder*, where the search began."""
        self.folder = str(folder)
        super().__init__(
            f"There is no {SETTINGS_FILE} in {folder} or above it.",
            hint="Go to a project's folder, name it with --project, or begin one: millpond init my-project",
        )


class SecretMissing(MillpondError):
    """A secret that the project names is not set here."""

    code = "secret-missing"
    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One environment of the project."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What ``${name}`` stands for in source locations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLineageSettings:
    """Where lineage events go."""

    file: Path | None = None
    url: str | None = None
    namespace: str = "millpond"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole of ``millpond.yaml``, validated."""

    name: str
    environments: Mapping[str, Environment] = field(hash=False)
    default_environment: str
    lake: Store
    ledger_url: Secret
    memory_bytes_max: int = GiB
    """For one run or one query, all its steps together."""
    threads: int | None = None
    steps_at_once: int = 2
    identity: str = "owner"
    """The principal that commands act as unless told otherwise with --as."""
    openlineage: OpenLineageSettings = OpenLineageSettings()
    time_travel_s: int = 7 * 86_400
    """How long replaced versions stay readable; vacuum keeps what is younger."""
    state_dir: Path
    """Spill and caches; safe to delete between commands."""


def find_root(start: Path) -> Path:
    """Find the project that *start* is in.

    Raises:
        ProjectNotFound: no ``millpond.yaml`` there or above.
    """
    for folder in (start, *start.parents):
        if (folder / SETTINGS_FILE).is_file():
            return folder
    raise ProjectNotFound(start)


def load_settings(root: Path) -> Settings:
    """Read ``millpond.yaml``.

    Raises:
        ProblemsFound: every wrong key and value, with its place.
        SecretMissing: a secret it names is not set.
    """
    document = read_document(root / SETTINGS_FILE, root=root)
    if not isinstance(document.value, Mapping):
        raise ProblemsFound([document.problem("the file must be a mapping", fix="Begin with: name: my-project")])
    return _Reader(document, document.value, root).settings()


def substitute(text: str, environment: Environment, document: str) -> str:
    """Put the environment's variables into *text*.

    Raises:
        SecretMissing: never; MillpondError: a variable is not set in this environment.
    """

    def value(match: re.Match[str]) -> str:
        found = environment.variables.get(match[1])
        if found is None:
            raise MillpondError(
                f"{document} uses ${{{match[1]}}}, which environment {environment.name} does not set.",
                hint=f"Add it to {SETTINGS_FILE}: environments.{environment.name}.variables.{match[1]}",
            )
        return found

    return _VARIABLE.sub(value, text)


class _Reader:
    """Turns the document into settings, collecting every problem on the way."""

    def __init__(self, document: Document, value: Mapping[str, Json], root: Path) -> None:
        self.document = document
        self.value = value
        self.root = root
        self.problems: list[Problem] = unknown_keys(document, value, _KEYS)

    def settings(self) -> Settings:
        """Read all; raise all problems together."""
        environments = self._environments()
        default = self._text("default_environment", next(iter(environments), "prod"))
        if default not in environments:
            self.problems.append(
                self.document.problem(
                    f"default_environment is {default!r}, which is not an environment", "default_environment",
                    fix=f"One of: {', '.join(environments)}.",
                )
            )  # fmt: skip
        engine = self._mapping("engine", {"memory", "threads"})
        runs = self._mapping("runs", {"steps_at_once"})
        identity = self._mapping("identity", {"default"})
        lineage = self._mapping("openlineage", {"file", "url", "namespace"})
        lake, ledger = self._lake(), self._ledger()
        memory = self._bytes(engine.get("memory", "1 GiB"), "engine", "memory")
        time_travel_s = self._days(self.value.get("time_travel", "7 days"))
        if self.problems:
            raise ProblemsFound(self.problems)
        threads = engine.get("threads")
        file = lineage.get("file")
        url = lineage.get("url")
        return Settings(
            name=self._text("name", self.root.name),
            environments=environments,
            default_environment=default,
            lake=lake,
            ledger_url=ledger,
            memory_bytes_max=memory,
            threads=int(str(threads)) if threads is not None else None,
            steps_at_once=int(str(runs.get("steps_at_once", 2))),
            identity=str(identity.get("default", "owner")),
            openlineage=OpenLineageSettings(
                file=self.root / str(file) if file else None,
                url=str(url) if url else None,
                namespace=str(lineage.get("namespace", "millpond")),
            ),
            time_travel_s=time_travel_s,
            state_dir=self.root / ".millpond",
        )

    def _text(self, key: str, default: str) -> str:
        found = self.value.get(key, default)
        if not isinstance(found, str):
            self.problems.append(self.document.problem(f"{key} must be text", key))
            return default
        return found

    def _mapping(self, key: str, known: set[str]) -> Mapping[str, Json]:
        found = self.value.get(key, {})
        if not isinstance(found, Mapping):
            self.problems.append(self.document.problem(f"{key} must be a mapping of {', '.join(sorted(known))}", key))
            return {}
        self.problems.extend(unknown_keys(self.document, found, known, key))
        return found

    def _environments(self) -> dict[str, Environment]:
        found = self.value.get("environments", {"prod": {}})
        if not isinstance(found, Mapping) or not found:
            self.problems.append(
                self.document.problem("environments must be a mapping", "environments", fix="environments: {prod: {}}")
            )
            return {"prod": Environment(name="prod")}
        read = {}
        for name, body in found.items():
            body = body or {}  # noqa: PLW2901 - `dev:` with nothing after it means no settings
            if not isinstance(body, Mapping):
                self.problems.append(
                    self.document.problem(f"environments.{name} must be a mapping", "environments", name)
                )
                continue
            self.problems.extend(unknown_keys(self.document, body, {"variables"}, "environments", name))
            variables = body.get("variables", {})
            pairs = variables.items() if isinstance(variables, Mapping) else ()
            read[name] = Environment(name=name, variables={key: str(value) for key, value in pairs})
        return read

    def _lake(self) -> Store:
        options = self._mapping("storage", set(self._storage_keys()))
        location = self._text("lake", ".millpond/lake")
        uri = location.rstrip("/") if "://" in location else str((self.root / location).resolve())
        return Store(uri, {key: self._secret(value, "storage", key) for key, value in options.items()})

    def _storage_keys(self) -> list[str]:
        # Object stores have dozens of options and add more; they are checked by the library that uses them.
        found = self.value.get("storage", {})
        return [str(key) for key in found] if isinstance(found, Mapping) else []

    def _ledger(self) -> Secret:
        found = self._secret(self.value.get("ledger", ".millpond/ledger.db"), "ledger")
        text = found.reveal() if isinstance(found, Secret) else found
        if "://" not in text:
            text = f"sqlite:///{(self.root / text).resolve()}"
        return Secret(text)

    def _secret(self, value: Json, *steps: str) -> str | Secret:
        if isinstance(value, Mapping):
            source, name = next(iter(value.items()), ("", ""))
            if source == "env":
                text = os.environ.get(str(name))
                if text is None:
                    raise SecretMissing(
                        f"{'.'.join(steps)} is kept in the environment variable {name}, which is not set.",
                        hint=f"Set it before the command: export {name}=...",
                        at=self.document.at(*steps),
                    )
                return Secret(text)
            if source == "file":
                path = self.root / str(name)
                if not path.is_file():
                    raise SecretMissing(
                        f"{'.'.join(steps)} is kept in the file {name}, which does not exist.",
                        at=self.document.at(*steps),
                    )
                return Secret(path.read_text(encoding="utf-8").strip())
            fix = f"{steps[-1]}: {{env: NAME}} or {steps[-1]}: {{file: path}}"
            self.problems.append(self.document.problem(f"{'.'.join(steps)} names no secret", *steps, fix=fix))
            return ""
        return str(value)

    def _bytes(self, value: Json, *steps: str) -> int:
        try:
            return parse_bytes(value if isinstance(value, int) else str(value))
        except ValueError as error:
            self.problems.append(self.document.problem(f"{'.'.join(steps)}: {error}", *steps, fix="For example: 2 GiB"))
            return GiB

    def _days(self, value: Json) -> int:
        match = re.fullmatch(r"\s*(\d+)\s*(second|minute|hour|day)s?\s*", str(value))
        if match is None:
            fix = "For example: 7 days"
            self.problems.append(self.document.problem(f"time_travel is {value!r}", "time_travel", fix=fix))
            return 0
        return int(match[1]) * {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}[match[2]]
