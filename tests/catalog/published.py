"""OpenLineage's published schemas (spec 2-0-2), as far as the events use them.

``rebuilt`` puts an event through openlineage-python's generated classes, which are made from the schemas: unknown keys,
missing ones, wrong types and wrong facets do not pass. Places, names and required fields in ``REQUIRED`` were compared
with the published documents; for symlinks, inputStatistics and subset with the generated classes only.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import attr
from openlineage.client import event_v2
from openlineage.client import facet_v2 as f
from openlineage.client.generated import base

EVENT: tuple[str, ...] = ("eventTime", "producer", "schemaURL", "run", "job")
# where a facet stands → its name there → its class and the fields that its schema requires
REQUIRED: Mapping[str, Mapping[str, tuple[type, tuple[str, ...]]]] = {
    "run": {
        "nominalTime": (f.nominal_time_run.NominalTimeRunFacet, ("nominalStartTime",)),
        "parent": (f.parent_run.ParentRunFacet, ("run", "job")),
        "processing_engine": (f.processing_engine_run.ProcessingEngineRunFacet, ("version",)),
        "errorMessage": (f.error_message_run.ErrorMessageRunFacet, ("message", "programmingLanguage")),
        "tags": (f.tags_run.TagsRunFacet, ()),
    },
    "job": {
        "jobType": (f.job_type_job.JobTypeJobFacet, ("processingType", "integration")),
        "sql": (f.sql_job.SQLJobFacet, ("query",)),
        "ownership": (f.ownership_job.OwnershipJobFacet, ()),
        "documentation": (f.documentation_job.DocumentationJobFacet, ("description",)),
    },
    "facets": {
        "schema": (f.schema_dataset.SchemaDatasetFacet, ()),
        "dataSource": (f.datasource_dataset.DatasourceDatasetFacet, ()),
        "symlinks": (f.symlinks_dataset.SymlinksDatasetFacet, ()),
        "version": (f.dataset_version_dataset.DatasetVersionDatasetFacet, ("datasetVersion",)),
        "ownership": (f.ownership_dataset.OwnershipDatasetFacet, ()),
        "documentation": (f.documentation_dataset.DocumentationDatasetFacet, ("description",)),
        "tags": (f.tags_dataset.TagsDatasetFacet, ()),
        "columnLineage": (f.column_lineage_dataset.ColumnLineageDatasetFacet, ("fields",)),
    },
    "inputFacets": {
        "inputStatistics": (f.input_statistics_input_dataset.InputStatisticsInputDatasetFacet, ()),
        "dataQualityAssertions": (
            f.data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
            ("assertions",),
        ),
        "subset": (f.base_subset_dataset.InputSubsetInputDatasetFacet, ("inputCondition",)),
    },
    "outputFacets": {
        "outputStatistics": (f.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet, ()),
    },
}


def rebuilt(event: Mapping[str, Any]) -> event_v2.RunEvent:
    """Build *event* with the generated classes; fails on whatever the schemas do not know."""
    for key in EVENT:
        assert key in event, f"{key} is missing"
    UUID(event["run"]["runId"])
    assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    run = event_v2.Run(event["run"]["runId"], _facets(event["run"], "facets", "run"))
    job = event_v2.Job(event["job"]["namespace"], event["job"]["name"], _facets(event["job"], "facets", "job"))
    return event_v2.RunEvent(
        eventType=event_v2.RunState(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=run,
        job=job,
        inputs=[
            event_v2.InputDataset(
                one["namespace"],
                one["name"],
                inputFacets=_facets(one, "inputFacets"),
                facets=_facets(one, "facets"),
            )
            for one in event["inputs"]
        ],
        outputs=[
            event_v2.OutputDataset(
                one["namespace"],
                one["name"],
                outputFacets=_facets(one, "outputFacets"),
                facets=_facets(one, "facets"),
            )
            for one in event["outputs"]
        ],
    )


def _facets(holder: Mapping[str, Any], key: str, place: str | None = None) -> dict[str, Any]:
    return {name: _facet(name, body, place or key) for name, body in holder.get(key, {}).items()}


def _facet(name: str, body: Mapping[str, Any], place: str) -> Any:
    assert name in REQUIRED[place], f"{name} is no facet of {place}"
    kind, required = REQUIRED[place][name]
    for key in ("_producer", "_schemaURL", *required):
        assert key in body, f"{name} has no {key}"
    schema = typing.cast("type[base.BaseFacet]", kind)._get_schema()
    assert body["_schemaURL"] == schema
    assert schema.startswith("https://openlineage.io/spec/facets/")
    assert schema.endswith(f".json#/$defs/{kind.__name__}")
    return _structured(kind, body)


def _structured(kind: Any, value: Any) -> Any:  # noqa: PLR0911 - by kind of type
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        if value is None:
            assert type(None) in parts
            return None
        return _one_of([part for part in parts if part is not type(None)], value)
    if origin is list:
        assert isinstance(value, list)
        return [_structured(parts[0], one) for one in value]
    if origin is dict:
        assert isinstance(value, dict)
        return {key: _structured(parts[1], one) for key, one in value.items()}
    if kind is Any:
        return value
    if attr.has(kind):
        assert isinstance(value, dict), f"{value!r} is no {kind.__name__}"
        hints = typing.get_type_hints(kind)
        known = {field.name: field for field in attr.fields(kind)}
        assert set(value) <= set(known), f"{kind.__name__} has no {set(value) - set(known)}"
        return kind(
            **{known[key].alias or key: _structured(hints[key], one) for key, one in value.items() if known[key].init},
            **{
                field.alias: None
                for field in known.values()
                if field.init and field.name not in value and _may_miss(hints[field.name])
            },
        )
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    assert type(value) is kind, f"{value!r} is no {kind.__name__}"
    return value


def _may_miss(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _one_of(kinds: list[Any], value: Any) -> Any:
    failures = []
    for kind in kinds:
        try:
            return _structured(kind, value)
        except (AssertionError, TypeError, ValueError) as error:
            failures.append(str(error))
    raise AssertionError("; ".join(failures))
