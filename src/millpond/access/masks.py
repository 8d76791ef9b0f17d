"""Masks as DuckDB expressions over one raw column; the result always has the column's own type.

A mask never raises while rows are read: what it cannot hide becomes NULL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from sqlglot import exp

from millpond.access.expressions import (
    DIALECT,
    PolicyExpression,
    bind_expression,
    parse_expression,
    row_column,
    system_function,
    without_raising,
)
from millpond.access.spec import Mask, MaskSpec
from millpond.kernel import Secret

SecretOf = Callable[[str], Secret | None]

_TEXT: Final = "VARCHAR"
_WHOLE: Final = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
_HASHED_WHOLE: Final = frozenset({"BIGINT", "HUGEINT", "UBIGINT"})
_CLOCKS: Final = frozenset(
    {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
)
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
_BLOCK: Final = 64
_TELLS_LESS: Final = (("null",), ("constant",), ("year", "month"))


class MaskImpossible(ValueError):
    """This mask cannot hide values of this column; the message says why and names no value."""


def strongest(masks: Sequence[Mask]) -> MaskSpec:
    """Choose what hides a column to which several masks apply: the one that tells less.

    NULL tells less than a constant, a constant less than the rest, a year less than a month; two others that differ
    cannot be compared, so the column becomes NULL.
    """
    specs = {mask.mask for mask in masks}
    if len(specs) == 1:
        return next(iter(specs))
    kinds = {spec.kind for spec in specs}
    if "null" in kinds:
        return MaskSpec(kind="null")
    constants = [spec for spec in specs if spec.kind == "constant"]
    if len(constants) == 1:
        return constants[0]
    if kinds == {"year", "month"}:
        return MaskSpec(kind="year")
    return MaskSpec(kind="null")


def mask_sql(
    spec: MaskSpec, column: str, type_: str, *, attribute: Callable[[str], str | None], secret: SecretOf
) -> exp.Expr:
    """Make the expression that stands for *column* (a DuckDB type *type_*) in a principal's view.

    Raises:
        MaskImpossible: the mask does not fit the type, or its key is not there.
        NotBound: an expression needs an attribute that the principal has not.
    """
    kind = type_.partition("(")[0].strip()
    raw = row_column(column)
    match spec.kind:
        case "null":
            hidden: exp.Expr = exp.null()
        case "constant":
            hidden = exp.Literal.string(spec.value or "")
        case "partial":
            _require(kind == _TEXT, spec, type_)
            hidden = _partial(spec, raw)
        case "hash":
            _require(kind == _TEXT or kind in _HASHED_WHOLE, spec, type_)
            hidden = _hash(spec, raw, kind, secret)
        case "year" | "month":
            _require(kind in _CLOCKS, spec, type_)
            hidden = system_function("date_trunc", exp.Literal.string(spec.kind), raw)
        case "band":
            _require(kind in _WHOLE or kind in _FLOATS or kind == "DECIMAL", spec, type_)
            hidden = without_raising(_band(spec, raw))
        case "expression":
            hidden = without_raising(bind_expression(parsed_mask(spec), columns={}, attribute=attribute, value=column))
    return _cast(hidden, type_, trying=spec.kind not in {"null", "constant"})


def parsed_mask(spec: MaskSpec) -> PolicyExpression:
    """Read a mask's expression.

    Raises:
        ExpressionRefused: not an expression that a policy may hold.
    """
    return parse_expression(spec.expression or "NULL")


def _require(fits: bool, spec: MaskSpec, type_: str) -> None:  # noqa: FBT001 - a condition, not a setting
    if not fits:
        raise MaskImpossible(f"the mask {spec.kind!r} cannot hide a {type_}")


def _cast(hidden: exp.Expr, type_: str, *, trying: bool) -> exp.Expr:
    kind = exp.TryCast if trying else exp.Cast
    return kind(this=hidden, to=stored_type(type_))


def stored_type(type_: str) -> exp.DataType:
    """Read a DuckDB type as a contract or a table spells it."""
    return exp.DataType.build(type_, dialect=DIALECT, udt=True)


def _partial(spec: MaskSpec, raw: exp.Expr) -> exp.Expr:
    shown = spec.keep_first + spec.keep_last
    pieces: list[exp.Expr] = [exp.Literal.string("***")]
    if spec.keep_first:
        pieces.insert(0, system_function("left", raw.copy(), exp.Literal.number(spec.keep_first)))
    if spec.keep_last:
        pieces.append(system_function("right", raw.copy(), exp.Literal.number(spec.keep_last)))
    joined: exp.Expr = pieces[0]
    for piece in pieces[1:]:
        joined = exp.DPipe(this=joined, expression=piece)
    long_enough = exp.GT(this=system_function("length", raw.copy()), expression=exp.Literal.number(shown))
    absent = exp.Is(this=raw.copy(), expression=exp.null())
    return exp.Case(
        ifs=[exp.If(this=absent, true=exp.null()), exp.If(this=long_enough, true=joined)],
        default=exp.Literal.string("***"),
    )


def _band(spec: MaskSpec, raw: exp.Expr) -> exp.Expr:
    width = exp.Literal.number(repr(spec.width) if spec.width and spec.width % 1 else str(int(spec.width or 1)))
    below = system_function("floor", exp.Div(this=raw, expression=width))
    return exp.Mul(this=below, expression=width.copy())


def _hash(spec: MaskSpec, raw: exp.Expr, kind: str, secret: SecretOf) -> exp.Expr:
    """HMAC-SHA-256 of the value's text, as hexadecimal text or, for whole numbers, as one that fits."""
    key = secret(spec.key)
    if key is None or not key.reveal():
        raise MaskImpossible(f"the mask 'hash' needs the secret {spec.key}, which is not set here")
    block = _key_block(key)
    text = raw if kind == _TEXT else exp.Cast(this=raw, to=exp.DataType.build(_TEXT))
    message = system_function("encode", text)
    inner = system_function("sha256", exp.DPipe(this=_blob(block, 0x36), expression=message))
    outer = exp.DPipe(this=_blob(block, 0x5C), expression=system_function("unhex", inner))
    digest = system_function("sha256", outer)
    if kind == _TEXT:
        return digest
    short = system_function("left", digest, exp.Literal.number(15))
    return exp.Cast(this=exp.DPipe(this=exp.Literal.string("0x"), expression=short), to=exp.DataType.build("BIGINT"))


def _key_block(key: Secret) -> bytes:
    given = key.reveal().encode()
    return (hashlib.sha256(given).digest() if len(given) > _BLOCK else given).ljust(_BLOCK, b"\0")


def _blob(block: bytes, pad: int) -> exp.Expr:
    return system_function("unhex", exp.Literal.string(bytes(byte ^ pad for byte in block).hex()))
