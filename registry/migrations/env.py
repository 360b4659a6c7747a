"""Run by alembic with the connection that `registry.database` opened."""

from alembic import context

from registry.database import VERSION_TABLE
from registry.models import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters a table by copying it
    include_name=lambda name, kind, parents: kind != "table" or name in Table.metadata.tables,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
