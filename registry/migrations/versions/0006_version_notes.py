"""How a version was learned, remembered with it: losses, sizes of its matrices, the audit of its rows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "version_notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("noted", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_version_notes_version_id_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version_notes")),
        sa.UniqueConstraint("version_id", name=op.f("uq_version_notes_version_id")),
    )


def downgrade() -> None:
    op.drop_table("version_notes")
