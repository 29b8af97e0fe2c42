"""Sums over facets, by which damage of them is noticed.

What the program did at this version is written out, so that a later change of it alters nothing here.
"""

import zlib
from collections import Counter
from functools import lru_cache

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CODE_POINTS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
PAGE = 5_000
KINDS = ("number", "text", "truth", "moment")


def upgrade() -> None:
    op.create_table(
        "facet_sums",
        sa.Column("collection_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("path", CODE_POINTS, nullable=False),
        sa.Column("kind", sa.String(6), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("collection_id", "path", "kind"),
    )
    fill()


def downgrade() -> None:
    op.drop_table("facet_sums")


def fill() -> None:
    """The sums over the facets that are there already, a page at a time; damage from before is taken as it is."""
    connection = op.get_bind()
    kind = "BLOB" if connection.dialect.name == "sqlite" else "text"  # SQLite could not give damaged text as text
    page = sa.text(
        f"SELECT id, collection_id, item_id, CAST(path AS {kind}) AS path, number, CAST(text AS {kind}) AS text, "
        "truth, moment FROM facets WHERE id > :after AND collection_id IN (SELECT id FROM collections) ORDER BY id "
        "LIMIT :most"
    )
    totals: Counter[tuple[int, str, str]] = Counter()
    after = 0
    while found := connection.execute(page, {"after": after, "most": PAGE}).all():
        after = found[-1].id
        for _, collection_id, item_id, path, *values in found:
            for name, value in zip(KINDS, values, strict=True):
                if value is not None:
                    of = (collection_id, _text(path), name)
                    told = f"{item_id!r} {_plain(value)!r}".encode("ascii", "backslashreplace")
                    totals[of] += zlib.crc32(told, _of_names(*of))
    rows = [{"of": of, "at": at, "called": called, "total": total} for (of, at, called), total in totals.items()]
    if rows:
        connection.execute(sa.text("INSERT INTO facet_sums VALUES (:of, :at, :called, :total)"), rows)


@lru_cache(maxsize=4096)
def _of_names(*names: object) -> int:
    return zlib.crc32(ascii(names).encode())


def _plain(value: object) -> object:
    """A value as both databases give it: truths as numbers, and no negative zero."""
    return float(value) + 0.0 if isinstance(value, int | float) else _text(value)


def _text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
