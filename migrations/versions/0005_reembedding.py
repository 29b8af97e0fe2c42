"""Spaces of another model beside those that serve: being built, or kept after a switch."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OLD = ("id", "collection_id", "name", "fingerprint", "dimension", "centre", "centre_version", "centre_count")
MODEL = "(SELECT model FROM collections WHERE collections.id = spaces.collection_id)"
SERVING = "serving"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        make_again(("state", "model"), {"state": f"'{SERVING}'", "model": MODEL.replace("spaces.", "old_spaces.")})
        return
    op.add_column("spaces", sa.Column("state", sa.String(length=12)))
    op.add_column("spaces", sa.Column("model", sa.Text()))
    op.execute(f"UPDATE spaces SET state = '{SERVING}', model = {MODEL}")
    for column in ("state", "model"):
        op.alter_column("spaces", column, nullable=False)
    op.drop_constraint("spaces_collection_id_name_key", "spaces")
    op.create_unique_constraint("spaces_collection_id_name_state_key", "spaces", ["collection_id", "name", "state"])


def downgrade() -> None:
    """Only what serves stays. The log has gaps then, so it counts as compacted."""
    op.execute(f"DELETE FROM log WHERE space_id IN (SELECT id FROM spaces WHERE state <> '{SERVING}')")
    op.execute("UPDATE collections SET compacted_seq = last_seq")
    op.execute(f"DELETE FROM spaces WHERE state <> '{SERVING}'")
    if op.get_bind().dialect.name == "sqlite":
        make_again((), {})
        return
    op.drop_constraint("spaces_collection_id_name_state_key", "spaces")
    op.create_unique_constraint("spaces_collection_id_name_key", "spaces", ["collection_id", "name"])
    for column in ("model", "state"):
        op.drop_column("spaces", column)


def make_again(columns: tuple[str, ...], values: dict[str, str]) -> None:
    """Another table with the same rows: SQLite cannot drop a constraint. Ids are given on from the last one."""
    last_id = op.get_bind().execute(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'spaces'")).scalar()
    op.rename_table("spaces", "old_spaces")
    op.create_table(
        "spaces",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("collection_id", BIG_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        *((sa.Column("state", sa.String(length=12), nullable=False),) if "state" in columns else ()),
        *((sa.Column("model", sa.Text(), nullable=False),) if "model" in columns else ()),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("centre", sa.LargeBinary(), nullable=False),
        sa.Column("centre_version", sa.Integer(), nullable=False),
        sa.Column("centre_count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("collection_id", "name", *columns[:1]),
        sqlite_autoincrement=True,
    )
    into, chosen = ", ".join((*OLD, *values)), ", ".join((*OLD, *values.values()))
    op.execute(f"INSERT INTO spaces ({into}) SELECT {chosen} FROM old_spaces")
    op.drop_table("old_spaces")
    if last_id:
        op.execute("DELETE FROM sqlite_sequence WHERE name = 'spaces'")
        op.execute(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('spaces', {last_id})")
