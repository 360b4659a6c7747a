"""The triggers that keep decisions as they were written: whether they are there, and making them again.

Who may alter the database can drop a trigger, change a row and leave no other trace of the way in.
"""

from sqlalchemy import Connection, text

from registry.decision_models import IMMUTABLE
from registry.store import Registry

_REPLACEABLE = {
    "gate_policies": (
        "id = NEW.id OR (sequence_id = NEW.sequence_id"
        " AND (version = NEW.version OR sha256 = NEW.sha256))"
    ),
    "gate_test_uses": "id = NEW.id OR (report_id = NEW.report_id AND digest = NEW.digest)",
    "promotion_events": (
        "id = NEW.id OR (sequence_id = NEW.sequence_id AND position = NEW.position)"
    ),
}
"""REPLACE deletes a row without asking SQLite's delete triggers: what could be replaced, by table."""

_FUNCTION = " BEGIN RAISE EXCEPTION '%: rows are never changed or deleted', TG_TABLE_NAME; END "


def lost_triggers(registry: Registry) -> tuple[tuple[str, str], ...]:
    """(table, trigger) of each that is missing, switched off, or another than we made."""
    sqlite = registry._database.is_sqlite
    wanted = _on_sqlite() if sqlite else _on_postgresql()
    with registry._database.reading() as session:
        connection = session.connection()
        there = _kept_by_sqlite(connection) if sqlite else _kept_by_postgresql(connection)
        heeded = sqlite or _function_is_ours(connection)
    return tuple(
        (table, name)
        for (table, name), statement in wanted.items()
        if not heeded or there.get(name) != _plain(statement)
    )


def make_triggers(registry: Registry, table: str) -> None:
    """Make the triggers of a table again, as the migrations made them."""
    sqlite = registry._database.is_sqlite
    wanted = _on_sqlite() if sqlite else _on_postgresql()
    with registry._database.writing() as session:
        connection = session.connection()
        if not sqlite and not _function_is_ours(connection):
            connection.exec_driver_sql(
                "CREATE OR REPLACE FUNCTION lori_keeps_rows() RETURNS trigger LANGUAGE plpgsql"
                f" AS $${_FUNCTION}$$".replace("%", "%%")
            )
        for (owner, name), statement in wanted.items():
            if owner == table:
                on = "" if sqlite else f" ON {table}"
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}{on}")
                connection.exec_driver_sql(statement)


def _on_sqlite() -> dict[tuple[str, str], str]:
    wanted = {}
    for table in IMMUTABLE:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table}: rows are never changed or deleted'); END"
        for change in ("UPDATE", "DELETE"):
            name = f"{table}_refuses_{change.lower()}"
            wanted[table, name] = f"CREATE TRIGGER {name} BEFORE {change} ON {table} {refuse}"
        name, clash = f"{table}_refuses_replace", _REPLACEABLE.get(table, "id = NEW.id")
        wanted[table, name] = (
            f"CREATE TRIGGER {name} BEFORE INSERT ON {table}"
            f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {clash}) {refuse}"
        )
    return wanted


def _on_postgresql() -> dict[tuple[str, str], str]:
    wanted = {}
    for table in IMMUTABLE:
        for name, when in (("change", "DELETE OR UPDATE"), ("truncate", "TRUNCATE")):
            each = "STATEMENT" if name == "truncate" else "ROW"
            wanted[table, f"{table}_refuses_{name}"] = (
                f"CREATE TRIGGER {table}_refuses_{name} BEFORE {when} ON {table}"
                f" FOR EACH {each} EXECUTE FUNCTION lori_keeps_rows()"
            )
    return wanted


def _kept_by_sqlite(connection: Connection) -> dict[str, str]:
    found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    return {name: _plain(sql) for name, sql in found}


def _kept_by_postgresql(connection: Connection) -> dict[str, str]:
    found = connection.execute(
        text(
            "SELECT t.tgname, pg_get_triggerdef(t.oid, true) FROM pg_trigger t"
            " JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND pg_table_is_visible(c.oid)"
        )
    )
    return {name: _plain(sql) for name, sql in found}


def _function_is_ours(connection: Connection) -> bool:
    body = connection.scalar(
        text(
            "SELECT prosrc FROM pg_proc WHERE proname = 'lori_keeps_rows'"
            " AND pg_function_is_visible(oid)"
        )
    )
    return body is not None and _plain(body) == _plain(_FUNCTION)


def _plain(statement: str) -> str:
    return " ".join(statement.split())
