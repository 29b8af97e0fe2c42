"""Run by Alembic inside the transaction that `anyseek.search.catalogue.upgrade` opened."""

from alembic import context

from anyseek.search.catalogue.tables import Table, is_of_catalogue

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    compare_server_default=True,
    include_name=is_of_catalogue,
)
context.run_migrations()
