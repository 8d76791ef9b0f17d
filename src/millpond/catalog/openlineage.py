"""A run as OpenLineage tells it: events as plain JSON, for whoever writes or sends them.

Pure: no clock, no I/O, and no values of anybody's data. Needs the extra ``openlineage``, so that nothing imports this
module before lineage is asked for; the package itself does not export it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    InputDatasetFacet,
    JobFacet,
    OutputDatasetFacet,
    RunFacet,
    column_lineage_dataset,
    data_quality_assertions_dataset,
    dataset_version_dataset,
    datasource_dataset,
    documentation_dataset,
    documentation_job,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    ownership_dataset,
    ownership_job,
    parent_run,
    processing_engine_run,
    schema_dataset,
    sql_job,
    symlinks_dataset,
    tags_dataset,
    tags_run,
)
from openlineage.client.generated import base_subset_dataset
from openlineage.client.serde import Serde

from millpond import __version__
from millpond.catalog.spec import ColumnRef, Entry
from millpond.catalog.told import FilesTold, RunTold, StepEnd, StepTold, TableTold
from millpond.kernel import Json, to_iso

PRODUCER: Final = f"urn:millpond:{__version__}"
_RUNS: Final = uuid5(NAMESPACE_URL, "urn:millpond:run")
_INDIRECT: Final = {"filter": "FILTER", "join": "JOIN", "group": "GROUP_BY", "sort": "SORT", "window": "WINDOW"}
_FILES_MAX: Final = 1_000
"""So many files of a load are named; the count is always whole."""

_ENDS: Final[Mapping[StepEnd, RunState]] = {
    "complete": RunState.COMPLETE,
    "fail": RunState.FAIL,
    "abort": RunState.ABORT,
}


def run_uuid(run_id: str, job: str) -> UUID:
    """Give the UUID of one job in one run: the same for the same, so that an event sent twice is one run."""
    return uuid5(_RUNS, f"{run_id}/{job}")


def run_events(run: RunTold, steps: Sequence[StepTold]) -> tuple[dict[str, Json], ...]:
    """Tell a run as RunEvents by time: for the run, each step and each audit one START and one end.

    Checks are told as a job of their own, ``<dataset>.checks``, that reads the dataset: OpenLineage knows assertions of
    inputs only. Cost: about 1 ms per event of 20 columns; all events are held at once.
    """
    events = [*_whole(run)]
    for step in steps:
        events.extend(_step(run, step))
        if step.checks:
            events.extend(_audit(run, step))
    written = (cast("dict[str, Json]", Serde.to_dict(event)) for event in events)
    return tuple(sorted(written, key=lambda event: str(event["eventTime"])))


def _event(
    run: Run, job: Job, state: RunState, at_us: int, **data: list[InputDataset] | list[OutputDataset]
) -> RunEvent:
    return RunEvent(
        eventType=state,
        eventTime=to_iso(at_us),
        run=run,
        job=job,
        inputs=cast("list[InputDataset]", data.get("inputs", [])),
        outputs=cast("list[OutputDataset]", data.get("outputs", [])),
        producer=PRODUCER,
    )


def _whole(run: RunTold) -> Iterator[RunEvent]:
    job = Job(run.namespace, run.project, {"jobType": _job_type("RUN")})
    facets = _run_facets(run, run.started_us)
    yield _event(Run(str(run_uuid(run.run_id, run.project)), facets), job, RunState.START, run.started_us)
    ended = Run(str(run_uuid(run.run_id, run.project)), {**facets, **_error(run.error)})
    yield _event(ended, job, _ENDS[run.state], run.finished_us)


def _step(run: RunTold, step: StepTold) -> Iterator[RunEvent]:
    entry = step.entry
    job = Job(run.namespace, entry.dataset.name, _job_facets(entry))
    facets = {**_run_facets(run, step.started_us), **_parent(run)}
    run_id = str(run_uuid(run.run_id, entry.dataset.name))
    yield _event(
        Run(run_id, facets),
        job,
        RunState.START,
        step.started_us,
        inputs=[
            *([InputDataset(step.files.at.namespace, step.files.at.name)] if step.files else []),
            *(InputDataset(run.namespace, table.entry.dataset.name) for table in step.reads),
        ],
        outputs=[OutputDataset(run.namespace, table.entry.dataset.name) for table in step.writes],
    )
    yield _event(
        Run(run_id, {**facets, **_error(step.error)}),
        job,
        _ENDS[step.state],
        step.finished_us,
        inputs=[*([_files(step.files)] if step.files else []), *(_input(run, table) for table in step.reads)],
        outputs=[_output(run, step, table) for table in step.writes],
    )


def _audit(run: RunTold, step: StepTold) -> Iterator[RunEvent]:
    """The audit ends COMPLETE whatever it found: it is the step that fails of it."""
    name = f"{step.entry.dataset.name}.checks"
    job = Job(run.namespace, name, {"jobType": _job_type("CHECK"), **_job_owner(step.entry)})
    told = Run(str(run_uuid(run.run_id, name)), {**_run_facets(run, step.started_us), **_parent(run)})
    judged = step.writes[0]
    bare = InputDataset(run.namespace, step.entry.dataset.name)
    yield _event(told, job, RunState.START, step.started_us, inputs=[bare])
    facet = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
        [
            data_quality_assertions_dataset.Assertion(
                assertion=check.rule,
                success=check.passed,
                column=check.column,
                severity="error" if check.stops else "warn",
                expected=check.wanted,
                actual=None if check.measured is None else f"{check.measured:g}",
                params=None,
            )
            for check in step.checks
        ],
        producer=PRODUCER,
    )
    full = InputDataset(
        run.namespace, step.entry.dataset.name, inputFacets={"dataQualityAssertions": facet}, facets=_facets(judged)
    )
    yield _event(told, job, RunState.COMPLETE, step.finished_us, inputs=[full])


def _run_facets(run: RunTold, nominal_us: int) -> dict[str, RunFacet]:
    tags = [tags_run.TagsRunFacetFields(key, value, "MILLPOND") for key, value in _tags(run)]
    return {
        "nominalTime": nominal_time_run.NominalTimeRunFacet(to_iso(nominal_us), producer=PRODUCER),
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(__version__, "Millpond", producer=PRODUCER),
        "tags": tags_run.TagsRunFacet(tags, producer=PRODUCER),
    }


def _tags(run: RunTold) -> tuple[tuple[str, str], ...]:
    return (("environment", run.env), ("actor", run.actor), ("run", run.run_id))


def _parent(run: RunTold) -> dict[str, RunFacet]:
    return {
        "parent": parent_run.ParentRunFacet(
            parent_run.Run(str(run_uuid(run.run_id, run.project)), None),
            parent_run.Job(run.namespace, run.project, None),
            producer=PRODUCER,
        )
    }


def _error(message: str | None) -> dict[str, RunFacet]:
    if message is None:
        return {}
    return {"errorMessage": error_message_run.ErrorMessageRunFacet(message, "SQL", producer=PRODUCER)}


def _job_type(kind: str) -> JobFacet:
    return job_type_job.JobTypeJobFacet("BATCH", "MILLPOND", kind, producer=PRODUCER)


def _job_owner(entry: Entry) -> dict[str, JobFacet]:
    if entry.owner is None:
        return {}
    owner = ownership_job.Owner(entry.owner, "OWNER")
    return {"ownership": ownership_job.OwnershipJobFacet([owner], producer=PRODUCER)}


def _job_facets(entry: Entry) -> dict[str, JobFacet]:
    facets = {"jobType": _job_type("MODEL" if entry.kind == "model" else "LOAD"), **_job_owner(entry)}
    if entry.kind == "model":
        facets["sql"] = sql_job.SQLJobFacet(entry.code, "duckdb", producer=PRODUCER)
    if entry.dataset.description:
        facets["documentation"] = documentation_job.DocumentationJobFacet(
            f"Makes {entry.dataset.name}: {entry.dataset.description}", "text/markdown", producer=PRODUCER
        )
    return facets


def _files(files: FilesTold) -> InputDataset:
    facets: dict[str, InputDatasetFacet] = {}
    if files.files:
        facets["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            files.rows, files.bytes, len(files.files), producer=PRODUCER
        )
        named = base_subset_dataset.LocationSubsetCondition(list(files.files[:_FILES_MAX]))
        facets["subset"] = base_subset_dataset.InputSubsetInputDatasetFacet(named, producer=PRODUCER)
    source = datasource_dataset.DatasourceDatasetFacet(files.at.namespace, files.at.uri, producer=PRODUCER)
    return InputDataset(files.at.namespace, files.at.name, inputFacets=facets, facets={"dataSource": source})


def _input(run: RunTold, table: TableTold) -> InputDataset:
    return InputDataset(run.namespace, table.entry.dataset.name, facets=_facets(table))


def _output(run: RunTold, step: StepTold, table: TableTold) -> OutputDataset:
    facets = _facets(table)
    lineage = _column_lineage(run, step, table.entry)
    if lineage is not None:
        facets["columnLineage"] = lineage
    statistics: dict[str, OutputDatasetFacet] = {}
    if table.rows is not None:
        statistics["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            table.rows, table.bytes, table.files, producer=PRODUCER
        )
    return OutputDataset(run.namespace, table.entry.dataset.name, outputFacets=statistics, facets=facets)


def _facets(table: TableTold) -> dict[str, DatasetFacet]:
    entry, dataset = table.entry, table.entry.dataset
    fields = [
        schema_dataset.SchemaDatasetFacetFields(column.name, column.type, column.description, place, None)
        for place, column in enumerate(dataset.columns, start=1)
    ]
    there = symlinks_dataset.Identifier(table.at.namespace, table.at.name, "LOCATION")
    facets: dict[str, DatasetFacet] = {
        "schema": schema_dataset.SchemaDatasetFacet(fields, producer=PRODUCER),
        "dataSource": datasource_dataset.DatasourceDatasetFacet(table.at.namespace, table.at.uri, producer=PRODUCER),
        "symlinks": symlinks_dataset.SymlinksDatasetFacet([there], producer=PRODUCER),
    }
    if table.version is not None:
        version = str(table.version)
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(version, producer=PRODUCER)
    if entry.owner is not None:
        owner = ownership_dataset.Owner(entry.owner, "OWNER")
        facets["ownership"] = ownership_dataset.OwnershipDatasetFacet([owner], producer=PRODUCER)
    if dataset.description:
        facets["documentation"] = documentation_dataset.DocumentationDatasetFacet(
            dataset.description, "text/markdown", producer=PRODUCER
        )
    tags = [
        *(tags_dataset.TagsDatasetFacetFields(tag, "true", "MILLPOND") for tag in dataset.tags),
        *(
            tags_dataset.TagsDatasetFacetFields(tag, "true", "MILLPOND", column)
            for column, words in entry.column_tags.items()
            for tag in words
        ),
    ]
    if tags:
        facets["tags"] = tags_dataset.TagsDatasetFacet(tags, producer=PRODUCER)
    return facets


def _column_lineage(run: RunTold, step: StepTold, entry: Entry) -> DatasetFacet | None:
    """Say where the columns of *entry* come from; a column that is made of nothing (``count(*)``) is left out."""

    def field(
        ref: ColumnRef, flows: Sequence[column_lineage_dataset.Transformation]
    ) -> column_lineage_dataset.InputField:
        namespace, name = run.namespace, ref.dataset
        if entry.kind == "source" and step.files is not None:
            namespace, name = step.files.at.namespace, step.files.at.name
        return column_lineage_dataset.InputField(namespace, name, ref.column, list(flows))

    def direct(masked: bool) -> column_lineage_dataset.Transformation:  # noqa: FBT001 - the one fact it carries
        return column_lineage_dataset.Transformation("DIRECT", masking=masked)

    fields = {
        column.column: column_lineage_dataset.Fields([field(ref, [direct(column.masked)]) for ref in column.direct])
        for column in entry.lineage.columns
        if column.direct
    }
    bearing: dict[ColumnRef, list[column_lineage_dataset.Transformation]] = defaultdict(list)
    for how, ref in entry.lineage.indirect:
        bearing[ref].append(column_lineage_dataset.Transformation("INDIRECT", _INDIRECT[how], masking=False))
    if not fields and not bearing:
        return None
    whole = [field(ref, flows) for ref, flows in bearing.items()]
    return column_lineage_dataset.ColumnLineageDatasetFacet(fields, whole, producer=PRODUCER)
