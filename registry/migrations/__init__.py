"""The history of the schema (alembic), the same on SQLite and PostgreSQL."""
