"""Words of scripts without spaces and with vowel signs: pairs and characters, whole syllables, whole words.

What the program did with words at this version is written out, so that a later change of it alters nothing here.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import chain, pairwise
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

before = import_module("anyseek.migrations.versions.0014_words")

PAGE = 2_000
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
SIGNS = "".join(
    sign
    for sign in map(chr, chain(range(0x900, 0x1D00), range(0xA800, 0xAC00), range(0x11000, 0x12000)))
    if unicodedata.category(sign) in ("Mn", "Mc")
)
LETTER = rf"[^\W_{SPACELESS}]"
WORD = re.compile(rf"(?P<run>(?:(?=[^\W_]|[{SIGNS}])[{SPACELESS}])+)|{LETTER}(?:{LETTER}|(?![{SPACELESS}])[{SIGNS}])*")


def upgrade() -> None:
    rewrite(_words)


def downgrade() -> None:
    rewrite(before._words)


def rewrite(words_of: Callable[[str], Iterator[str]]) -> None:
    """Write the words anew of the items that have others by `words_of`, a page at a time.

    Texts in ASCII have the same words, so most items are only read.
    """
    connection = op.get_bind()
    words = sa.Table("words", sa.MetaData(), autoload_with=connection)
    kind = "BLOB" if connection.dialect.name == "sqlite" else "text"  # SQLite could not give damaged text as text
    columns = ", ".join(f"CAST({column} AS {kind}) AS {column}" for column in ("key", "caption", "attributes"))
    page = sa.text(
        f"SELECT item_id, words.collection_id, CAST(words AS {kind}) AS words, {columns} FROM words JOIN items "
        "ON items.id = item_id WHERE item_id > :after ORDER BY item_id LIMIT :most"
    )
    after = -1
    while items := connection.execute(page, {"after": after, "most": PAGE}).all():
        after = items[-1].item_id
        rows = [
            {"item_id": item.item_id, "collection_id": item.collection_id, "words": document}
            for item in items
            if (document := _document(item, words_of)) not in (None, before._text(item.words))
        ]
        if rows:
            connection.execute(words.delete().where(words.c.item_id.in_([row["item_id"] for row in rows])))
            connection.execute(words.insert(), rows)


def _document(item: sa.Row[Any], words_of: Callable[[str], Iterator[str]]) -> str | None:
    """The words of an item, each once, with spaces between them; None if its texts are in ASCII."""
    key, caption, attributes = (before._text(value) for value in (item.key, item.caption, item.attributes))
    if key.isascii() and caption.isascii() and attributes.isascii() and "\\u" not in attributes:
        return None
    found: dict[str, None] = {}
    for text in (key, caption, *before._texts(before._json(attributes))):
        found.update(dict.fromkeys(words_of(text)))
    return " ".join(list(found)[: before.MOST_WORDS])


def _words(text: str) -> Iterator[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = unicodedata.normalize("NFKD", plain.casefold())
    plain = unicodedata.normalize("NFC", "".join(sign for sign in plain if not unicodedata.combining(sign)))
    for match in WORD.finditer(plain):
        run = match["run"]
        if run is None:
            yield before._singular(match[0][: before.LONGEST_WORD])
        else:
            yield from map("".join, pairwise(run))
            yield from run
