"""Writes the reference pages from the code, so that they cannot say anything else than what it does.

``python docs/generate.py`` rewrites ``docs/reference/``; a test fails while a page lags.
"""

# ruff: noqa: E501 - tables of text read better unbroken

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import millpond

REFERENCE = Path(__file__).parent / "reference"
_NOTE = "<!-- Written by docs/generate.py. -->"


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([_NOTE, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("``", "`").replace("|", "\\|")


def _table(heads: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(_cell(value) for value in row)} |" for row in rows)])


# Commands


def commands() -> dict[str, Any]:
    """Give every command that can be typed, by its words after ``millpond``."""
    from typer.main import get_command

    from millpond.cli.main import app

    return dict(_commands(get_command(app), ()))


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(words), command
        return
    for name, found in inner.items():
        yield from _commands(found, (*words, name))


def _commands_page() -> str:
    intro = (
        "`millpond COMMAND --help` says the same on the screen. Everywhere: `--project` names the project's folder (else it is found from here "
        "upwards), `--env` the environment, `--as` the principal, `--json` prints JSON for programs, `--dry-run` says what would happen. "
        "How a command ends: [exit codes](exit-codes.md)."
    )
    parts = [intro]
    for name, command in commands().items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and "--help" not in p.opts]
        usage = " ".join(["millpond", name, *(_usage(argument) for argument in arguments)])
        rows: list[tuple[object, ...]] = [(f"`{_metavar(a)}`", a.help or "") for a in arguments]
        rows += [(", ".join(f"`{opt}`" for opt in option.opts), option.help or "") for option in options]
        parts += [f"## {name}", inspect.cleandoc(command.help or ""), f"```\n{usage} [OPTIONS]\n```"]
        parts.append(_table(("", ""), rows))
    return _page("Commands", *parts)


def _metavar(argument: Any) -> str:
    return str(argument.name).upper().rstrip("_")


def _usage(argument: Any) -> str:
    name = _metavar(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


# Exit codes

_EXITS = {
    0: "Done.",
    1: "Something outside the project's definitions went wrong: storage, files, the ledger, the engine. A stack trace means a bug of Millpond.",
    2: "The command or the definitions are wrong; nothing was done. Wrong options end so too.",
    3: "The files and the environment differ, or a change breaks readers. `plan --fail-on` ends so where its condition holds.",
    4: "A run published nothing because data or a step failed. `test` ends so when a model's test fails.",
    5: "Somebody else is publishing. Try again, or use `--wait`.",
    6: "The reading door refused.",
    7: "`audit verify` found a chain that is not whole.",
    130: "Stopped by the user.",
    141: "Whoever read the output went away.",
}


def _by_exit(kind: Any) -> tuple[int, str, str]:
    return kind.exit_code, kind.code, f"{kind.__module__}.{kind.__name__}"


def errors() -> list[Any]:
    """Give every error class that users can meet."""
    from millpond.kernel import MillpondError

    for module in pkgutil.walk_packages(millpond.__path__, "millpond."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: set[Any] = set()
    waiting = [MillpondError]
    while waiting:
        below = [kind for kind in waiting.pop().__subclasses__() if kind.__module__.startswith("millpond.")]
        found.update(below)
        waiting.extend(below)
    return sorted((kind for kind in found if not kind.__name__.startswith("_")), key=_by_exit)


def _exits_page() -> str:
    kinds = errors()
    unknown = {kind.exit_code for kind in kinds} - set(_EXITS)
    assert not unknown, f"exit codes without a meaning in docs/generate.py: {unknown}"
    rows = [
        (kind.exit_code, f"`{kind.code}`", inspect.getdoc(kind).partition("\n")[0], "yes" if kind.transient else "")
        for kind in kinds
    ]
    return _page(
        "Exit codes",
        _table(("exit code", "means"), [(f"`{code}`", text) for code, text in _EXITS.items()]),
        "## Errors",
        'An error says what went wrong, where, and what to do next. With `--json` it is `{"error": {"code", "message", "hint", "at", '
        '"transient"}}`. *Transient*: the same command can succeed later without anybody changing anything.',
        _table(("exit code", "code", "what happened", "transient"), list(dict.fromkeys(rows))),
    )  # fmt: skip


# Events


def _events_page() -> str:
    from millpond.ledger.kinds import EVENT_KINDS

    rows: list[tuple[object, ...]] = [
        (f"`{name}`", kind.doc, ", ".join(f"`{f}`" for f in kind.fields), ", ".join(f"`{k}`" for k in kind.payload))
        for name, kind in EVENT_KINDS.items()
    ]
    return _page(
        "Events",
        "Whatever happens is one event, appended to the ledger's chain: each record holds the SHA-256 of the one before and of itself, over canonical "
        "JSON. An event has a kind, an actor, and where they apply an environment, a subject (the dataset), a run and a payload. Read them with "
        "`millpond audit list`, export them with `millpond audit export`.",
        _table(("kind", "what happened", "always has", "payload always has"), rows),
    )


# Settings


def documented(kind: type) -> list[tuple[str, str, str]]:
    """Give a dataclass's fields: name, default, and the text below each."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    fields: list[tuple[str, str, str]] = []
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            fields.append((node.target.id, ast.unparse(node.value) if node.value is not None else "", ""))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and fields:
            fields[-1] = (*fields[-1][:2], str(node.value.value))
        elif isinstance(node, ast.FunctionDef):
            break
    return fields


_SETTINGS = {
    "name": ("name", "The project's name; else the folder's."),
    "environments": ("environments", "Each environment by name, with its `variables`."),
    "default_environment": ("default_environment", "Used where `--env` is not given."),
    "lake": ("lake, storage", "Where the tables are: a folder or `s3://bucket/prefix`; `storage` holds the object store's options."),
    "ledger_url": ("ledger", "A file for SQLite, or a `postgresql://` URL."),
    "memory_bytes_max": ("engine.memory", ""),
    "threads": ("engine.threads", "Of the engine; all cores where not given."),
    "steps_at_once": ("runs.steps_at_once", "How many steps of a run may work side by side."),
    "identity": ("identity.default", ""),
    "openlineage": ("openlineage.file, openlineage.url, openlineage.namespace", "Where lineage events go; nowhere by default."),
    "time_travel_s": ("time_travel", ""),
    "state_dir": ("", ""),
}  # fmt: skip
_DEFAULTS = {
    "lake": "`.millpond/lake`", "ledger_url": "`.millpond/ledger.db`", "memory_bytes_max": "1 GiB", "time_travel_s": "7 days",
    "environments": "`{prod: {}}`", "default_environment": "the first", "openlineage": "", "name": "",
}  # fmt: skip
_RENAMED = {"exempt": "except"}


def _settings_rows() -> list[tuple[object, ...]]:
    from millpond.flow.settings import _KEYS, Settings

    rows: list[tuple[object, ...]] = []
    for name, default, text in documented(Settings):
        key, said = _SETTINGS[name]
        if key:
            keys = ", ".join(f"`{one}`" for one in key.split(", "))
            rows.append((keys, _DEFAULTS.get(name, _default(default)), said or text))
    told = {key.strip().partition(".")[0] for keys, _ in _SETTINGS.values() for key in keys.split(",") if key}
    assert told == _KEYS, f"keys of millpond.yaml that docs/generate.py does not describe: {told ^ _KEYS}"
    return rows


_SHOWN = {
    "None": "", "()": "", "frozenset()": "", "field(default_factory=dict, hash=False)": "", "Audience()": "nobody",
    "Audience(everyone=True)": "everyone", "16 * MiB": "16 MiB", "('',)": '`[""]`', "True": "`true`",
}  # fmt: skip


def _default(text: str) -> str:
    """Write a default as a file would say it."""
    return _SHOWN.get(text, f"`{text.removeprefix(chr(39)).removesuffix(chr(39))}`" if text else "")


def _dataclass_table(kind: type, *, without: tuple[str, ...] = (), said: Mapping[str, str] | None = None) -> str:
    rows: list[tuple[object, ...]] = [
        (f"`{_RENAMED.get(name, name)}`", _default(default), text or (said or {}).get(name, ""))
        for name, default, text in documented(kind)
        if name not in without
    ]
    return _table(("key", "default", ""), rows)


_SOURCE_SAID = {
    "format": "csv, ndjson or parquet.", "delimiter": "One character, or `tab`.", "quote": "Empty: nothing is quoted.",
    "escape": "Inside quotes.", "header": "Whether the first line names the columns.", "encoding": "Of the text.",
    "null_values": "Texts that mean no value. In NDJSON none, unless given.", "timestamp_format": "As strftime writes it; ISO where not given.",
    "date_format": "As strftime writes it; ISO where not given.", "decimal_separator": "`.` or `,`.",
    "row_bytes_max": "A longer row is quarantined, with its beginning.",
}  # fmt: skip
_MODEL_SAID = {
    "materialize": "full, by time, by key or scd2.", "description": "For readers of the file.",
}  # fmt: skip
_POLICY_SAID = {
    "id": "Unique among policies; named in explanations and events.", "to": "Whom it is about: `everyone`, or principals, groups, kinds, purposes.",
    "on": "What it is about; see below.", "exempt": "Whom it is not about.", "mask": "How; see below.", "datasets": "Names, with `*` for any text.",
    "kind": "One of null, constant, partial, hash, year, month, band, expression.", "columns": "Names.", "envs": "Only in these environments; empty: in all.",
    "classification": "As in the contract, or brought by lineage.", "tags": "As in the contract, or brought by lineage.",
}  # fmt: skip


_PRINCIPAL_SAID = {"id": "What `--as` names.", "groups": "What policies name.", "kind": "person or service."}


def _settings_page() -> str:
    from millpond.access import spec as access
    from millpond.ingest.spec import FileSource
    from millpond.models.spec import ModelSpec

    policies = []
    for title, kind, more in (
        ("principals", access.Principal, _PRINCIPAL_SAID), ("grants", access.Grant, {}), ("denies", access.Deny, {}),
        ("masks", access.Mask, {}), ("filters", access.Filter, {}), ("on", access.Target, {}), ("mask", access.MaskSpec, {}),
    ):  # fmt: skip
        policies += [
            f"### {title}",
            inspect.getdoc(kind).partition("\n")[0],
            _dataclass_table(kind, said=_POLICY_SAID | more),
        ]
    return _page(
        "Settings",
        "An unknown key is an error that names the nearest one. A value `{env: NAME}` or `{file: path}` is a secret, read when needed and never printed.",
        "## millpond.yaml",
        _table(("key", "default", ""), _settings_rows()),
        "In `openlineage`, `namespace` is `millpond` unless given. The folder `.millpond/` in the project holds spill and caches beside what is kept there by default.",
        "## &lt;dataset&gt;.source.yaml",
        _dataclass_table(FileSource, without=("dataset", "at"), said=_SOURCE_SAID),
        "## The header of a model",
        "YAML in the first `/* */` comment of `<dataset>.sql`.",
        _dataclass_table(ModelSpec, without=("dataset", "path", "sql", "sql_line"), said=_MODEL_SAID),
        "## policies/*.yaml",
        "All files together are one set. Besides the sections below, `groups` and `attributes` declare names that no principal here carries. `purposes` may stand in a grant or deny "
        "itself; `envs` limits a policy to environments.",
        *policies,
    )  # fmt: skip


# Contracts

_ODCS: Mapping[str, Mapping[str, str]] = {
    "OpenDataContractStandard": {
        "apiVersion": "Decides which published schema judges the document.",
        "kind": "`DataContract`.",
        "id": "Shown in the catalog.",
        "version": "Shown in the catalog; kept with every deployment.",
        "status": "Shown in the catalog.",
        "dataProduct": "The product: the first half of `product.dataset` in SQL. The folder's name where it is not given.",
        "domain": "Shown in the catalog.",
        "team": "The member with the role `owner` (who has no `dateOut`) is the owner, else the team: shown in the catalog, found by search, named to whoever is refused.",
        "customProperties": "`owner` is the owner where no team says so.",
        "schema": "The datasets.",
        "slaProperties": "Read and kept. Nothing measures them yet.",
        "price": "Read and kept.",
    },
    "SchemaObject": {
        "name": "The dataset: the second half of `product.dataset`.",
        "description": "Shown and searched in the catalog.",
        "tags": "Shown and searched in the catalog.",
        "deprecated": "Becomes the tag `deprecated`.",
        "properties": "The columns. A model must give exactly these; a file is read by these.",
        "relationships": "References: rows without a partner are counted at each run, as warnings unless said otherwise.",
        "quality": "Rules of the whole table, checked at each run before anything is published.",
        "customProperties": "Kept. `severity` in a relationship's decides what a broken reference does.",
    },
    "SchemaProperty": {
        "name": "The column.",
        "physicalName": "Its name in the source's files, where that differs.",
        "description": "Shown and searched in the catalog.",
        "logicalType": "The type, where `physicalType` does not say it: string VARCHAR, integer BIGINT, number DOUBLE, date DATE, timestamp TIMESTAMP, time TIME, boolean BOOLEAN.",
        "physicalType": "The exact type. A value that does not fit is quarantined, never rounded; a model whose SELECT gives another type is refused by `check`.",
        "logicalTypeOptions": "`minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `minLength`, `maxLength`, `pattern`, `format`, ... become rules that each row must keep. "
        "`format` of integers and numbers chooses the width; `timezone` a type with time zone.",
        "required": "A row without it is quarantined; a model's table with such a row is not published.",
        "unique": "A repeated value stops the publication.",
        "primaryKey": "Required and unique together; what `merge`, `by key` and `scd2` go by.",
        "primaryKeyPosition": "Orders the key.",
        "partitioned": "The table is partitioned by it; files are pruned.",
        "partitionKeyPosition": "Orders the partitioning.",
        "classification": "What policies pick columns by. Follows the lineage to every column that shows values of this one.",
        "tags": "As classification.",
        "criticalDataElement": "Kept with the column.",
        "enum": "A value that is not listed is quarantined.",
        "examples": "Kept.",
        "semanticType": "A `measure` is not a stored column.",
        "quality": "Rules of the column.",
        "properties": "Fields of an object: a STRUCT.",
        "items": "Of an array: a list.",
        "map": "Key and value types of a MAP.",
    },
    "DataQuality": {
        "type": "`library`, `sql` or `custom`; `text` is for people and is listed as not run.",
        "metric": "nullValues, missingValues, invalidValues, duplicateValues, rowCount.",
        "rule": "What 3.0 called a metric; its names are read.",
        "arguments": "`validValues`, `pattern`, `missingValues`, `properties`, by metric.",
        "query": "sql: one SELECT with one number as its answer. `${object}` is the table, `${property}` the column.",
        "engine": "custom: `millpond`. A rule for another engine is listed as not run.",
        "implementation": "custom: a DuckDB expression that is true for every good row.",
        "severity": "`info` is recorded; `warning` is recorded and shown; `error` quarantines the row where it comes in, and stops the publication elsewhere; `critical` stops the load or run. "
        "Without one: `error`.",
        "unit": "`rows` or `percent`.",
        "dimension": "Kept with the result.",
        "description": "Shown with the result.",
        "name": "Read; `id` names the rule in results where it is given.",
        "id": "Names the rule in results, quarantine and events.",
        **dict.fromkeys(
            (
                "mustBe", "mustNotBe", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeLessThan", "mustBeLessOrEqualTo", "mustBeBetween", "mustNotBeBetween",
            ),
            "What the measure is compared with. The ends of a range belong to it.",
        ),
    },
}  # fmt: skip
_TITLES = {
    "OpenDataContractStandard": "The contract", "SchemaObject": "A dataset: an entry of `schema`",
    "SchemaProperty": "A column: an entry of `properties`", "DataQuality": "A rule: an entry of `quality`",
}  # fmt: skip


def _contracts_page() -> str:
    from open_data_contract_standard import model

    from millpond.contracts.shape import VERSIONS

    intro = (
        f"A contract is a file `*.odcs.yaml` in the Open Data Contract Standard; versions {', '.join(VERSIONS)} are read. Everything in it is checked against the standard's published "
        "schema, and every problem is told at once, with file, line and fix. Below is what each field makes Millpond do."
    )
    parts = [intro]
    for name, said in _ODCS.items():
        fields = [field.alias or key for key, field in getattr(model, name).model_fields.items()]
        assert set(said) <= set(fields), f"ODCS {name} has no {set(said) - set(fields)}"
        rest = sorted(set(fields) - set(said))
        parts += [f"## {_TITLES[name]}", _table(("field", "what it does"), [(f"`{f}`", t) for f, t in said.items()])]
        parts.append(f"Allowed, and without effect: {', '.join(f'`{field}`' for field in rest)}.")
    return _page("Contracts", *parts)


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": _commands_page,
    "contracts.md": _contracts_page,
    "events.md": _events_page,
    "exit-codes.md": _exits_page,
    "settings.md": _settings_page,
}


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        text = write()
        assert not re.search(r"<(?:millpond|class) ", text), f"{name} holds a printed object"
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
