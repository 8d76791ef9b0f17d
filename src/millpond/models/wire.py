"""A model's file and what binding found out, as plain JSON and back, for what is remembered of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, cast

from millpond.catalog import TimeSource, lineage_from_json, lineage_to_json
from millpond.kernel import Json
from millpond.models.spec import Model, ModelSpec

_SPEC: Final = tuple(item.name for item in fields(ModelSpec))


def spec_to_json(spec: ModelSpec) -> dict[str, Json]:
    """Write a model's file as JSON values."""
    return {**{name: getattr(spec, name) for name in _SPEC}, "key": list(spec.key)}


def spec_from_json(body: Mapping[str, Json]) -> ModelSpec:
    """Read what ``spec_to_json`` wrote.

    Raises:
        KeyError, TypeError: *body* was not written by it.
    """
    known = cast("Mapping[str, Any]", body)
    return ModelSpec(**{**known, "key": tuple(known["key"])})


def model_to_json(model: Model) -> dict[str, Json]:
    """Write what binding found out about a model; its file is left out."""
    return {
        "sql": model.sql,
        "normal": model.normal,
        "lineage": lineage_to_json(model.lineage),
        "times": [[source.dataset, source.column, source.unit] for source in model.time_sources],
    }


def model_from_json(body: Mapping[str, Json], spec: ModelSpec) -> Model:
    """Read what ``model_to_json`` wrote; about 0.1 ms.

    Raises:
        KeyError, TypeError, ValueError: *body* was not written by it.
    """
    known = cast("Mapping[str, Any]", body)
    lineage = lineage_from_json(known["lineage"])
    times = tuple(TimeSource(dataset=dataset, column=column, unit=unit) for dataset, column, unit in known["times"])
    return Model(
        spec=spec,
        upstream=lineage.datasets,
        sql=known["sql"],
        lineage=lineage,
        time_sources=times,
        normal=known["normal"],
    )
