"""Words of items, for full text: a table that both databases index in their own way."""

import json

import sqlalchemy as sa
from alembic import op

from search.catalogue.tables import INDEX_WORDS
from search.words import document

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PAGE = 500


def upgrade() -> None:
    op.create_table(
        "words",
        sa.Column("item_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("collection_id", BIG_ID, nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id"),
    )
    op.create_index("ix_words_collection_id", "words", ["collection_id"])
    for statement in INDEX_WORDS[op.get_bind().dialect.name]:
        op.execute(statement)
    fill()


def downgrade() -> None:
    op.drop_table("words")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE words_index")


def fill() -> None:
    """Words of the items that are there already, a page at a time."""
    connection = op.get_bind()
    words = sa.Table("words", sa.MetaData(), autoload_with=connection)
    columns = "id, collection_id, key, caption, attributes"
    page = sa.text(f"SELECT {columns} FROM items WHERE id > :after ORDER BY id LIMIT :most")
    after = 0
    while found := connection.execute(page, {"after": after, "most": PAGE}).all():
        after = found[-1].id
        rows = [
            {
                "item_id": item.id,
                "collection_id": item.collection_id,
                "words": document(item.key, item.caption, _json(item.attributes)),
            }
            for item in found
        ]
        connection.execute(words.insert(), rows)


def _json(attributes: object) -> dict[str, object]:
    """SQLite gives JSON as text, PostgreSQL as an object; what is no JSON has no words, as in a damaged item."""
    if not isinstance(attributes, str):
        return dict(attributes)  # type: ignore[call-overload]
    try:
        held: dict[str, object] = json.loads(attributes)
    except ValueError:
        return {}
    return held
