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
    kind = "BLOB" if connection.dialect.name == "sqlite" else "text"  # SQLite could not give damaged text as text
    columns = ", ".join(f"CAST({column} AS {kind}) AS {column}" for column in ("key", "caption", "attributes"))
    page = sa.text(
        f"SELECT id, collection_id, {columns} FROM items WHERE id > :after AND collection_id IN (SELECT id FROM "
        "collections) ORDER BY id LIMIT :most"
    )
    after = 0
    while found := connection.execute(page, {"after": after, "most": PAGE}).all():
        after = found[-1].id
        rows = [
            {
                "item_id": item.id,
                "collection_id": item.collection_id,
                "words": document(_text(item.key), _text(item.caption), _json(_text(item.attributes))),
            }
            for item in found
        ]
        connection.execute(words.insert(), rows)


def _text(held: object) -> str:
    """What is no text, as in a damaged item, has no words."""
    if isinstance(held, bytes):
        try:
            return held.decode()
        except UnicodeDecodeError:
            return ""
    return held if isinstance(held, str) else ""


def _json(text: str) -> dict[str, object]:
    """What is no object, as in a damaged item, has no words."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}
