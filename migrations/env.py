"""Run by Alembic inside the transaction that `search.catalogue.upgrade` opened."""

from alembic import context

from search.catalogue.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    compare_server_default=True,
)
context.run_migrations()
