"""Facets: the attributes of items laid flat, for filters; and keys and captions in the order of code points."""

import json

import sqlalchemy as sa
from alembic import op

from anyseek.search.filters.facets import facets_of

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CODE_POINTS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
PAGE = 500
INDEXED = ("number", "text", "moment")


def upgrade() -> None:
    op.create_table(
        "facets",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("collection_id", BIG_ID, nullable=False),
        sa.Column("item_id", BIG_ID, nullable=False),
        sa.Column("path", CODE_POINTS, nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("text", CODE_POINTS, nullable=True),
        sa.Column("truth", sa.Boolean(), nullable=True),
        sa.Column("moment", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_facets_item_id", "facets", ["item_id"])
    for column in INDEXED:
        held = sa.text(f"{column} IS NOT NULL")
        columns = ["collection_id", "path", column, "item_id"]
        op.create_index(f"facets_by_{column}", "facets", columns, sqlite_where=held, postgresql_where=held)
    if op.get_bind().dialect.name == "postgresql":
        order_items_by("C")
    fill()


def downgrade() -> None:
    op.drop_table("facets")
    if op.get_bind().dialect.name == "postgresql":
        order_items_by("default")


def order_items_by(collation: str) -> None:
    for column in ("key", "caption"):
        op.execute(f'ALTER TABLE items ALTER COLUMN {column} TYPE text COLLATE "{collation}"')


def fill() -> None:
    """Facets of the items that are there already, a page at a time."""
    connection = op.get_bind()
    facets = sa.Table("facets", sa.MetaData(), autoload_with=connection)
    page = sa.text("SELECT id, collection_id, attributes FROM items WHERE id > :after ORDER BY id LIMIT :most")
    after = 0
    while found := connection.execute(page, {"after": after, "most": PAGE}).all():
        after = found[-1].id
        rows = [
            {"collection_id": item.collection_id, "item_id": item.id, **vars(facet)}
            for item in found
            for facet in facets_of(_json(item.attributes))
        ]
        if rows:
            connection.execute(facets.insert(), rows)


def _json(attributes: object) -> dict[str, object]:
    """SQLite gives JSON as text, PostgreSQL as an object."""
    return json.loads(attributes) if isinstance(attributes, str) else dict(attributes)  # type: ignore[no-any-return, call-overload]
