"""The only way out for data: ``Door.read``.

Every call ends in an event: a decision is on record before the first byte leaves, a refusal before the asker hears of
it. The door parses, gates, decides, binds and streams; what each means is in the files of those names.
"""

from __future__ import annotations

import difflib
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import pyarrow as pa

from millpond.access.answer import Answer, Batches, Delivered
from millpond.access.deadline import Deadline
from millpond.access.decide import (
    Decision,
    decide,
    granted,
    refused,
    unknown_dataset,
    with_source,
)
from millpond.access.errors import AccessRefused, AnswerFailed, AnswerStopped, Reason, without_values
from millpond.access.gate import Admitted, GateRefused, admit
from millpond.access.policies import PolicySet
from millpond.access.sessions import CannotBind, SessionPool, Warm
from millpond.access.spec import Explanation, Principal, Visible, folded
from millpond.catalog import QUARANTINE_SUFFIX
from millpond.engines import Engine, EngineLimits, QueryInvalid, parse
from millpond.kernel import Json, MillpondError, Secret, digest, new_id
from millpond.ledger import Event

SQL_CHARACTERS_MAX: Final = 100_000
_DECISIONS_MAX: Final = 4_096
_POLICY_HINT: Final = "Ask those who keep policies/."


def secret_of_environment(name: str) -> Secret | None:
    """Read a secret from an environment variable."""
    text = os.environ.get(name)
    return Secret(text) if text else None


class _Ask:
    """One question on its way through the door."""

    def __init__(self, principal: Principal | str, purpose: str | None, sql: str) -> None:
        self.id = new_id("query")
        self.actor = principal if isinstance(principal, str) else principal.id
        self.purpose = purpose.strip() or None if purpose else None
        self.sql = sql

    def event(self, kind: str, env: str, tables: Collection[str], payload: Mapping[str, Json]) -> Event:
        subject = next(iter(tables)) if len(tables) == 1 else None
        said = {"query": self.id, "purpose": _recordable(self.purpose), **payload}
        return Event(kind=kind, actor=_recordable(self.actor) or "?", env=env, subject=subject, payload=said)


class Door:
    """The reading door on one environment as it stands; safe from any thread."""

    def __init__(
        self,
        *,
        engine: Engine,
        policies: PolicySet,
        record: Callable[[Sequence[Event]], object],
        env: str,
        resolve: Callable[[str], Visible | None],
        names: Callable[[], Collection[str]],
        limits: EngineLimits | None = None,
        timeout_s: float = 300.0,
        sessions_idle_max: int = 4,
        secret: Callable[[str], Secret | None] = secret_of_environment,
    ) -> None:
        """Open the door; nothing is read yet.

        *record* returns when the events are durable. *resolve* gives a dataset as the environment shows it, *names* all
        there are. A query may keep the engine busy for *timeout_s*, and use what *limits* say.
        """
        self._policies = policies
        self._record = record
        self._env = env
        self._resolve = resolve
        self._names = names
        self._timeout_s = timeout_s
        self._secret = secret
        self._pool = SessionPool(engine, limits, idle_max=sessions_idle_max)
        self._decisions: OrderedDict[str, Decision] = OrderedDict()

    def read(
        self,
        principal: Principal | str,
        purpose: str | None,
        sql: str,
        *,
        batch_rows: int = 65_536,
        row_limit: int | None = None,
    ) -> Answer:
        """Answer one SELECT as *principal* may see it, or refuse.

        Costs some milliseconds beyond the query itself; memory holds a few batches. With *row_limit*, the answer ends
        after so many rows.

        Raises:
            AccessRefused: the reason, the policy where there is one, and whom to ask. Recorded as ``query.refused``.
            AnswerFailed: the engine could not run it; the message holds no values. Recorded as ``query.refused``.
        """
        ask = _Ask(principal, purpose, sql)
        try:
            who = self._principal(principal)
            admitted = self._admit(who, sql)
            seen = [self._see(who, ask.purpose, name) for name in admitted.tables]
        except AccessRefused as refusal:
            raise self._recorded(ask, refusal, refusal.reason, refusal.datasets) from None
        warm = self._bind(ask, seen)
        return self._answer(ask, warm, seen, admitted, batch_rows=batch_rows, row_limit=row_limit)

    def explain(self, principal: Principal | str, dataset: str, purpose: str | None = None) -> Explanation:
        """Say which policy decides what *principal* sees of *dataset*, column by column.

        Raises:
            AccessRefused: no such principal.
        """
        who = self._principal(principal)
        true_name = {folded(name): name for name in self._names()}.get(folded(dataset))
        visible = self._resolve(true_name) if true_name is not None else None
        if visible is None:
            refusal = unknown_dataset(dataset)
            return Explanation(
                principal=who.id, dataset=dataset, purpose=purpose, readable=False, reason=refusal.message
            )
        decision = self._decide_with_source(who, purpose, visible)
        if decision.refusal is not None:
            reason = decision.refusal.message
            if decision.refusal.reason == "dataset":
                reason = f"No grant lets {who.id} read {visible.dataset.name}."
        else:
            hidden = "all of it" if decision.untouched else "what its policies leave"
            reason = f"{who.id} may read {hidden}, by {', '.join(decision.grants)}."
        return Explanation(
            principal=who.id,
            dataset=visible.dataset.name,
            purpose=purpose,
            readable=decision.refusal is None,
            reason=reason,
            grants=decision.grants,
            denies=decision.denies,
            filters=decision.filters,
            columns=decision.columns,
            ask=visible.owner,
        )

    def close(self) -> None:
        """Free the sessions that wait; answers under way end by themselves."""
        self._pool.close()

    def _principal(self, principal: Principal | str) -> Principal:
        if isinstance(principal, Principal):
            return principal
        known = self._policies.principals.get(principal)
        if known is None:
            raise AccessRefused(
                f"There is no principal {principal[:100]!r}.",
                reason="principal",
                principal=principal,
                hint=_POLICY_HINT,
            )
        return known

    def _admit(self, who: Principal, sql: str) -> Admitted:
        if len(sql) > SQL_CHARACTERS_MAX:
            raise AccessRefused(
                f"A query has at most {SQL_CHARACTERS_MAX:,} characters.", reason="limit", principal=who.id
            )
        if "\0" in sql or _recordable(sql) != sql:
            raise AccessRefused("The query holds characters that are not text.", reason="statement", principal=who.id)
        names = {folded(name): name for name in self._names()}

        def dataset(name: str) -> str | None:
            true_name = names.get(name)
            known = true_name is not None and granted(self._policies, who, self._env, true_name)
            return true_name if known else None

        try:
            parsed = parse(sql)
            if parsed.kind != "SELECT":
                raise AccessRefused(
                    f"Only SELECT is answered here, not {parsed.kind.replace('_', ' ')}.", reason="statement",
                    principal=who.id, hint="Write one SELECT.",
                )  # fmt: skip
            return admit(parsed.tree, dataset=dataset)
        except GateRefused as stop:
            hint = stop.hint or _near(stop, [name for low, name in names.items() if dataset(low)])
            raise AccessRefused(stop.message, reason=stop.reason, hint=hint, principal=who.id) from None
        except QueryInvalid as error:
            raise AccessRefused(error.message, reason="statement", hint=error.hint, principal=who.id) from None
        except RecursionError:
            raise AccessRefused("The query is nested too deeply.", reason="limit", principal=who.id) from None

    def _see(self, who: Principal, purpose: str | None, name: str) -> tuple[Visible, Decision]:
        visible = self._resolve(name)
        if visible is None:
            raise refused(unknown_dataset(name), principal=who.id, dataset=name, owner=None)
        decision = self._decide_with_source(who, purpose, visible)
        if decision.refusal is not None:
            raise refused(decision.refusal, principal=who.id, dataset=name, owner=visible.owner)
        return visible, decision

    def _decide_with_source(self, who: Principal, purpose: str | None, visible: Visible) -> Decision:
        own = self._decide(who, purpose, visible)
        name = visible.dataset.name.removesuffix(QUARANTINE_SUFFIX)
        if name == visible.dataset.name:
            return own
        source = self._resolve(name)
        above = None if source is None else self._decide(who, purpose, source)
        return with_source(self._policies, who, purpose, self._env, own, above)

    def _decide(self, who: Principal, purpose: str | None, visible: Visible) -> Decision:
        """Decide, or remember the decision for exactly these facts."""
        key = digest(
            who.id, sorted(who.groups), sorted(who.attributes.items()), who.kind, purpose, visible.owner,
            visible.dataset.name, list(visible.dataset.tags), visible.snapshot.schema.columns,
            [(column.name, column.classification, column.tags) for column in visible.dataset.columns],
            sorted((column, sorted(tags)) for column, tags in visible.tags.items()),
        )  # fmt: skip
        decision = self._decisions.get(key)
        if decision is None:
            decision = decide(self._policies, who, purpose, self._env, visible, secret=self._secret)
            self._decisions[key] = decision
            while len(self._decisions) > _DECISIONS_MAX:
                self._decisions.popitem(last=False)
        return decision

    def _bind(self, ask: _Ask, seen: Sequence[tuple[Visible, Decision]]) -> Warm:
        try:
            return self._pool.take(seen)
        except CannotBind:
            datasets = tuple(visible.dataset.name for visible, _ in seen)
        policies = sorted({policy for _, decision in seen for policy in decision.policies})
        message = (
            f"What you may see of {', '.join(datasets)} cannot be shown: a policy or the stored data does not fit."
        )
        owner = seen[0][0].owner if seen else None
        refusal = AccessRefused(
            message, reason="policy", principal=ask.actor, datasets=datasets, ask=owner,
            hint=f"Policies: {', '.join(policies)}. Ask {owner or 'those who keep policies/'}.",
        )  # fmt: skip
        raise self._recorded(ask, refusal, "policy", datasets)

    def _answer(
        self,
        ask: _Ask,
        warm: Warm,
        seen: Sequence[tuple[Visible, Decision]],
        admitted: Admitted,
        *,
        batch_rows: int,
        row_limit: int | None,
    ) -> Answer:
        deadline = Deadline(warm.session, self._timeout_s)
        problem: Exception | None = None
        reader: pa.RecordBatchReader | None = None
        try:
            with deadline:
                reader = warm.session.stream(ask.sql, batch_rows=batch_rows)
        except Exception as error:  # noqa: BLE001 - whatever the engine raises may hold data
            problem = error
        if problem is not None or reader is None:
            self._pool.give_back(warm, healthy=False)
            failure = _stopped() if deadline.passed else self._failure(problem, ask, seen)
            raise self._recorded(ask, failure, "engine", admitted.tables)
        versions = {visible.dataset.name: visible.snapshot.version for visible, _ in seen}
        masked, columns = _columns_read(seen, admitted)
        policies = tuple(dict.fromkeys(policy for _, decision in seen for policy in decision.policies))
        filtered = tuple(visible.dataset.name for visible, decision in seen if decision.filters)
        decided: dict[str, Json] = {
            "part": "decision", "sql": ask.sql, "tables": versions, "columns": columns, "masked": list(masked),
            "filtered": list(filtered), "policies": list(policies), "policies_digest": self._policies.digest,
        }  # fmt: skip
        try:
            self._record([ask.event("query.answered", self._env, versions, decided)])
        except BaseException:
            reader.close()
            self._pool.give_back(warm, healthy=False)
            raise

        def finished(delivered: Delivered) -> None:
            self._pool.give_back(warm, healthy=delivered.outcome != "failed")
            counts: dict[str, Json] = {
                "part": "delivery", "rows": delivered.rows, "bytes": delivered.bytes,
                "seconds": round(delivered.seconds, 6), "outcome": delivered.outcome,
            }  # fmt: skip
            self._record([ask.event("query.answered", self._env, versions, counts)])

        batches = Batches(
            reader, deadline, row_limit=row_limit, finished=finished,
            failed=lambda error: self._failure(error, ask, seen),
        )  # fmt: skip
        return Answer(
            query_id=ask.id, schema=reader.schema, batches=batches, tables=versions, masked=masked, filtered=filtered,
            policies=policies,
        )  # fmt: skip

    def _failure(self, error: Exception | None, ask: _Ask, seen: Sequence[tuple[Visible, Decision]]) -> AnswerFailed:
        """Say what went wrong; in the engine's own words only where nothing is hidden from the asker."""
        visible = [column for _, decision in seen for column in decision.visible]
        said = without_values(error or RuntimeError(), columns=visible, sql=ask.sql)
        text = error.message if isinstance(error, MillpondError) else ""
        paths = [shown.snapshot.store.uri for shown, _ in seen]
        hidden = [*paths, "_mp", "/", "\\", "parquet"]
        plain = all(decision.untouched for _, decision in seen) and not any(word in text for word in hidden)
        return AnswerFailed(text, hint=said.hint) if plain and text else said

    def _recorded(self, ask: _Ask, error: MillpondError, reason: Reason, datasets: Collection[str]) -> MillpondError:
        """Put a refusal on record, then give it back to be raised."""
        policy = error.policy if isinstance(error, AccessRefused) else None
        payload: dict[str, Json] = {
            "sql": _recordable(ask.sql[:SQL_CHARACTERS_MAX]), "reason": reason, "message": _recordable(error.message),
            "tables": list(datasets), "policy": policy, "policies_digest": self._policies.digest,
        }  # fmt: skip
        self._record([ask.event("query.refused", self._env, datasets, payload)])
        return error


def _near(stop: GateRefused, readable: Sequence[str]) -> str | None:
    """Name the dataset that was probably meant, of those that the asker may know of."""
    if stop.reason != "dataset":
        return None
    close = difflib.get_close_matches(stop.dataset.lower(), readable, n=1)
    return f"Did you mean {close[0]}?" if close else unknown_dataset(stop.dataset).hint


def _stopped() -> AnswerStopped:
    return AnswerStopped(
        "The query ran longer than it may, and was stopped.", hint="Read fewer rows, or aggregate earlier."
    )


def _recordable(text: str | None) -> str | None:
    """Give *text* without what an event cannot hold: NUL and halves of surrogate pairs."""
    if text is None:
        return None
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()


def _columns_read(
    seen: Sequence[tuple[Visible, Decision]], admitted: Admitted
) -> tuple[tuple[str, ...], dict[str, Json]]:
    """Give the masked columns that the query can have touched, and every column by dataset: by name, never too few."""
    masked: list[str] = []
    columns: dict[str, Json] = {}
    for visible, decision in seen:
        name = visible.dataset.name
        touched = [c for c in decision.visible if admitted.every_column or folded(c) in admitted.columns]
        columns[name] = list(touched)
        masked += [f"{name}.{column}" for column in decision.masked if column in touched]
    return tuple(masked), columns
