"""What D1 refuses of SQL and values, and its words for what SQLite says.

Limits: https://developers.cloudflare.com/d1/platform/limits/; statements and functions:
https://developers.cloudflare.com/d1/sql-api/sql-statements/ and the authoriser and limits that
workerd gives to SQLite (src/workerd/util/sqlite.c++).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import apsw

from reference_impl.d1.statements import MAX_BOUND_VALUES
from reference_impl.ports import D1Error, SqlValue

AS_THEY_ARE = frozenset({str, int, bytes, type(None)})
"""Types of values that :func:`bound` would leave alone."""

NO_STATEMENT = "D1_ERROR: No SQL statements detected."
ONLY_LAST_HAS_VALUES = (
    "D1_ERROR: When executing multiple SQL statements in a single call, only the last statement "
    "can have parameters."
)

LIMITS: Mapping[int, int] = MappingProxyType(
    {
        apsw.SQLITE_LIMIT_LENGTH: 2_200_000,
        apsw.SQLITE_LIMIT_SQL_LENGTH: 100_000,
        apsw.SQLITE_LIMIT_COLUMN: 100,
        apsw.SQLITE_LIMIT_EXPR_DEPTH: 100,
        apsw.SQLITE_LIMIT_COMPOUND_SELECT: 5,
        apsw.SQLITE_LIMIT_VDBE_OP: 25_000,
        apsw.SQLITE_LIMIT_FUNCTION_ARG: 127,
        apsw.SQLITE_LIMIT_ATTACHED: 0,
        apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 50,
        apsw.SQLITE_LIMIT_VARIABLE_NUMBER: MAX_BOUND_VALUES,
        apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    }
)

_FUNCTIONS = """
    abs changes char coalesce concat concat_ws format glob hex ifnull iif instr last_insert_rowid
    length like likelihood likely lower ltrim max_scalar min_scalar nullif octet_length printf quote
    random randomblob replace round rtrim sign soundex substr substring total_changes trim typeof
    unhex unicode unlikely upper zeroblob
    date time datetime julianday unixepoch strftime timediff current_date current_time
    current_timestamp
    avg count group_concat max min string_agg sum total
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value
    nth_value
    acos acosh asin asinh atan atan2 atanh ceil cos cosh degrees exp floor ln log log2 mod pi pow
    radians sin sinh sqrt tan tanh trunc
    json json_array json_array_length json_extract -> ->> json_insert json_object json_patch
    json_remove json_replace json_set json_type json_valid json_quote json_group_array
    json_group_object json_each json_tree
    match highlight bm25 snippet
    sqlite_rename_column sqlite_rename_table sqlite_rename_test sqlite_drop_column
    sqlite_rename_quotefix"""
FUNCTIONS = frozenset(_FUNCTIONS.split())

_PRAGMAS = """
    data_version case_sensitive_like foreign_keys defer_foreign_keys ignore_check_constraints
    legacy_alter_table recursive_triggers reverse_unordered_selects foreign_key_check
    foreign_key_list index_info index_list index_xinfo quick_check optimize table_list table_info
    table_xinfo"""
PRAGMAS = frozenset(_PRAGMAS.split())

MODULES = frozenset({"fts5", "fts5vocab"})

_NEVER = frozenset(
    {
        apsw.SQLITE_ATTACH,
        apsw.SQLITE_DETACH,
        apsw.SQLITE_TRANSACTION,
        apsw.SQLITE_SAVEPOINT,
        apsw.SQLITE_CREATE_TEMP_TABLE,
        apsw.SQLITE_DROP_TEMP_TABLE,
        apsw.SQLITE_CREATE_TEMP_INDEX,
        apsw.SQLITE_DROP_TEMP_INDEX,
        apsw.SQLITE_CREATE_TEMP_TRIGGER,
        apsw.SQLITE_DROP_TEMP_TRIGGER,
        apsw.SQLITE_CREATE_TEMP_VIEW,
        apsw.SQLITE_DROP_TEMP_VIEW,
    }
)


def may(action: int, first: str | None, second: str | None) -> bool:
    """Whether a statement may do ``action`` with what SQLite names with it."""
    allowed = action not in _NEVER
    if action == apsw.SQLITE_FUNCTION:
        allowed = (second or "").lower() in FUNCTIONS
    elif action == apsw.SQLITE_PRAGMA:
        allowed = (first or "").lower() in PRAGMAS
    elif action in (apsw.SQLITE_CREATE_VTABLE, apsw.SQLITE_DROP_VTABLE):
        allowed = (second or "").lower() in MODULES
    return allowed


def bound(value: object) -> SqlValue:
    """``value`` as it is bound. As on the platform truth is 1.0 or 0.0, what is no finite number
    is NULL, and a list of bytes is a blob.

    Raises:
        D1Error: SQLite has no type for it.
    """
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bytes):
        return value
    if isinstance(value, bytearray | memoryview) or (
        isinstance(value, list) and all(_is_byte(each) for each in value)
    ):
        return bytes(value)
    raise D1Error(f"D1_TYPE_ERROR: Type '{type(value).__name__}' not supported")


def refusal(error: Exception) -> D1Error:
    """What D1 answers when SQLite, or the way to it, raised ``error``."""
    if isinstance(error, D1Error):
        return error
    if isinstance(error, apsw.BindingsError):
        return D1Error("D1_ERROR: Wrong number of parameter bindings for SQL query.")
    result = getattr(error, "result", 0)  # SQLite's code, which apsw's own errors lack
    if not result:
        return D1Error(f"D1_ERROR: {error}")
    name = apsw.mapping_result_codes[result]
    extended = apsw.mapping_extended_result_codes.get(getattr(error, "extendedresult", 0))
    offset = getattr(error, "error_offset", -1)
    where = f" at offset {offset}" if offset >= 0 else ""
    which = f" (extended: {extended})" if extended else ""
    return D1Error(f"D1_ERROR: {error}{where}: {name}{which}")


def may_be_several(sql: str) -> bool:
    """Whether anything follows a semicolon, which may also be one within a text."""
    end = sql.find(";")
    return end >= 0 and bool(sql[end:].strip("; \t\r\n"))


def _is_byte(value: object) -> bool:
    return type(value) is int and 0 <= value < 256
