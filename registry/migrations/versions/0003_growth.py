"""A judgement as fast in a long sequence as in a short one, and who made each account and token."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BATCH = 1000
TABLE = "gate_test_uses"


def upgrade() -> None:
    uses = op.create_table(
        TABLE,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id"],
            ["gate_reports.id"],
            name=op.f("fk_gate_test_uses_report_id_gate_reports"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_test_uses")),
        sa.UniqueConstraint("report_id", "digest", name=op.f("uq_gate_test_uses_report_id_digest")),
    )
    op.create_index(op.f("ix_gate_test_uses_digest"), TABLE, ["digest"], unique=False)
    op.create_index(
        "ix_evaluations_column",
        "evaluations",
        ["sequence_id", "task", "read", "adapter_of", "version"],
        unique=False,
    )
    op.create_index(
        "ix_evaluations_test", "evaluations", ["test_digest", "adapter_of"], unique=False
    )
    for table in ("accounts", "tokens"):
        op.add_column(table, sa.Column("made_by", sa.String(length=128), nullable=True))
    _count_earlier_reports(uses)
    if op.get_bind().dialect.name == "sqlite":
        refuse = f"BEGIN SELECT RAISE(ABORT, '{TABLE}: rows are never changed or deleted'); END"
        for change in ("UPDATE", "DELETE"):
            name = f"{TABLE}_refuses_{change.lower()}"
            op.execute(f"CREATE TRIGGER {name} BEFORE {change} ON {TABLE} {refuse}")
        clash = "id = NEW.id OR (report_id = NEW.report_id AND digest = NEW.digest)"
        op.execute(
            f"CREATE TRIGGER {TABLE}_refuses_replace BEFORE INSERT ON {TABLE}"
            f" WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE {clash}) {refuse}"
        )
    else:
        op.execute(
            f"CREATE TRIGGER {TABLE}_refuses_change BEFORE UPDATE OR DELETE ON {TABLE}"
            " FOR EACH ROW EXECUTE FUNCTION lori_keeps_rows()"
        )
        op.execute(
            f"CREATE TRIGGER {TABLE}_refuses_truncate BEFORE TRUNCATE ON {TABLE}"
            " FOR EACH STATEMENT EXECUTE FUNCTION lori_keeps_rows()"
        )


def _count_earlier_reports(uses: sa.Table) -> None:
    connection = op.get_bind()
    reports = connection.execute(sa.text("SELECT id, tests FROM gate_reports")).all()
    rows = [
        {"report_id": identity, "digest": digest}
        for identity, tests in reports
        for digest in sorted(set((json.loads(tests) if isinstance(tests, str) else tests).values()))
    ]
    for start in range(0, len(rows), BATCH):
        connection.execute(uses.insert(), rows[start : start + BATCH])


def downgrade() -> None:
    op.drop_index("ix_evaluations_test", table_name="evaluations")
    op.drop_index("ix_evaluations_column", table_name="evaluations")
    op.drop_index(op.f("ix_gate_test_uses_digest"), table_name=TABLE)
    op.drop_table(TABLE)
    for table in ("tokens", "accounts"):
        op.drop_column(table, "made_by")
