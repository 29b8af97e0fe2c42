"""Words of items, for full text: a table that both databases index in their own way.

What the program did with words at this version is written out, so that a later change of it alters nothing here.
"""

import json
import re
import unicodedata
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PAGE = 500
INDEX = {
    "sqlite": (
        "CREATE VIRTUAL TABLE words_index USING fts5(collection_id, words, content='words', content_rowid='item_id', "
        "detail='column', tokenize='ascii')",
        "CREATE TRIGGER words_added AFTER INSERT ON words BEGIN INSERT INTO words_index (rowid, collection_id, words) "
        "VALUES (new.item_id, new.collection_id, new.words); END",
        "CREATE TRIGGER words_removed AFTER DELETE ON words BEGIN INSERT INTO words_index (words_index, rowid, "
        "collection_id, words) VALUES ('delete', old.item_id, old.collection_id, old.words); END",
    ),
    "postgresql": (
        "CREATE INDEX words_by_word ON words USING gin (array_to_tsvector(array_prepend('@' || CAST(collection_id AS "
        "text), string_to_array(words, ' '))))",
    ),
}
LONGEST_WORD = 40
MOST_WORDS = 4_000
SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han
WORD = re.compile(rf"[{SPACELESS}]|[^\W_{SPACELESS}]+")


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
    for statement in INDEX[op.get_bind().dialect.name]:
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
                "words": _document(_text(item.key), _text(item.caption), *_texts(_json(_text(item.attributes)))),
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


def _document(*texts: str) -> str:
    """The words of texts, each once, with spaces between them."""
    found: dict[str, None] = {}
    for text in texts:
        found.update(dict.fromkeys(_words(text)))
    return " ".join(list(found)[:MOST_WORDS])


def _words(text: str) -> Iterator[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = unicodedata.normalize("NFKD", plain.casefold())
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return (_singular(word[:LONGEST_WORD]) for word in WORD.findall(plain))


def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("us", "ss")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return f"{word[:-3]}y"
    return word[:-1]


def _texts(value: object) -> Iterator[str]:
    """The texts and whole numbers inside attributes; not their names."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**LONGEST_WORD:
        yield str(value)
