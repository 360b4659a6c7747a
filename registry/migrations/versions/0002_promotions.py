"""Who decided what serves: policies, reports, promotions and their log, webhooks, accounts.

The triggers are what keeps a decision as it was written. A later migration that copies one of these
tables (as SQLite must, to alter it) has to make its triggers again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

IMMUTABLE = (
    "gate_policies",
    "gate_reports",
    "promotions",
    "promotion_events",
    "confirmations",
    "outbox",
)
# REPLACE deletes a row without asking SQLite's delete triggers: what could be replaced, by table.
REPLACEABLE = {
    "gate_policies": (
        "id = NEW.id OR (sequence_id = NEW.sequence_id"
        " AND (version = NEW.version OR sha256 = NEW.sha256))"
    ),
    "promotion_events": (
        "id = NEW.id OR (sequence_id = NEW.sequence_id AND position = NEW.position)"
    ),
}


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=True),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('viewer', 'trainer', 'reviewer', 'promoter', 'admin')",
            name=op.f("ck_accounts_role"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("secret", sa.String(length=256), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("name", name=op.f("uq_webhooks_name")),
    )
    op.create_table(
        "confirmations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("read", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=256), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_confirmations_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_confirmations")),
    )
    op.create_index(
        "ix_confirmations_sequence_id_number",
        "confirmations",
        ["sequence_id", "number"],
        unique=False,
    )
    op.create_table(
        "exports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("read", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_exports_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
        sa.UniqueConstraint(
            "sequence_id",
            "number",
            "task",
            "read",
            "sha256",
            name=op.f("uq_exports_sequence_id_number_task_read_sha256"),
        ),
    )
    op.create_table(
        "gate_policies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_gate_policies_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_policies")),
        sa.UniqueConstraint(
            "sequence_id", "sha256", name=op.f("uq_gate_policies_sequence_id_sha256")
        ),
        sa.UniqueConstraint(
            "sequence_id", "version", name=op.f("uq_gate_policies_sequence_id_version")
        ),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_outbox_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_tokens_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
    )
    op.create_index(op.f("ix_tokens_account_id"), "tokens", ["account_id"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("outbox_id", sa.Integer(), nullable=False),
        sa.Column("webhook_id", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["outbox_id"], ["outbox.id"], name=op.f("fk_deliveries_outbox_id_outbox")
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_deliveries_webhook_id_webhooks")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "outbox_id", "webhook_id", name=op.f("uq_deliveries_outbox_id_webhook_id")
        ),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["delivered", "next_attempt"], unique=False)
    op.create_table(
        "gate_reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("policy_id", sa.Integer(), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=True),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("tests", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["gate_policies.id"],
            name=op.f("fk_gate_reports_policy_id_gate_policies"),
        ),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_gate_reports_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_reports")),
    )
    op.create_index(
        "ix_gate_reports_sequence_id_number",
        "gate_reports",
        ["sequence_id", "number"],
        unique=False,
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("alias", sa.String(length=16), nullable=False),
        sa.Column("from_version", sa.Integer(), nullable=True),
        sa.Column("to_version", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expected", sa.String(length=16), nullable=True),
        sa.Column("report_id", sa.Integer(), nullable=True),
        sa.Column("facts_sha256", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("alias IN ('candidate', 'champion')", name=op.f("ck_promotions_alias")),
        sa.CheckConstraint("kind IN ('promote', 'rollback')", name=op.f("ck_promotions_kind")),
        sa.CheckConstraint("to_version >= 0", name=op.f("ck_promotions_to_version")),
        sa.ForeignKeyConstraint(
            ["report_id"], ["gate_reports.id"], name=op.f("fk_promotions_report_id_gate_reports")
        ),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_promotions_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
    )
    op.create_index(
        "ix_promotions_page", "promotions", ["sequence_id", "alias", "id"], unique=False
    )
    op.create_index(
        "ix_promotions_target", "promotions", ["sequence_id", "alias", "to_version"], unique=False
    )
    op.create_table(
        "promotion_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("promotion_id", sa.Integer(), nullable=True),
        sa.Column("alias", sa.String(length=16), nullable=True),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.CheckConstraint("position >= 1", name=op.f("ck_promotion_events_position")),
        sa.ForeignKeyConstraint(
            ["promotion_id"],
            ["promotions.id"],
            name=op.f("fk_promotion_events_promotion_id_promotions"),
        ),
        sa.ForeignKeyConstraint(
            ["sequence_id"],
            ["sequences.id"],
            name=op.f("fk_promotion_events_sequence_id_sequences"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion_events")),
        sa.UniqueConstraint(
            "sequence_id", "position", name=op.f("uq_promotion_events_sequence_id_position")
        ),
    )
    op.create_index(
        "ix_promotion_events_kind",
        "promotion_events",
        ["sequence_id", "kind", "position"],
        unique=False,
    )
    op.create_index(
        "ix_promotion_events_promotion_id", "promotion_events", ["promotion_id"], unique=False
    )
    op.create_index(
        "ix_promotion_events_served",
        "promotion_events",
        ["sequence_id", "alias", "kind", "created", "position"],
        unique=False,
    )
    if op.get_bind().dialect.name == "sqlite":
        _keep_rows_on_sqlite()
    else:
        _keep_rows_on_postgresql()


def _keep_rows_on_sqlite() -> None:
    for table in IMMUTABLE:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table}: rows are never changed or deleted'); END"
        for change in ("UPDATE", "DELETE"):
            name = f"{table}_refuses_{change.lower()}"
            op.execute(f"CREATE TRIGGER {name} BEFORE {change} ON {table} {refuse}")
        clash = REPLACEABLE.get(table, "id = NEW.id")
        op.execute(
            f"CREATE TRIGGER {table}_refuses_replace BEFORE INSERT ON {table}"
            f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {clash}) {refuse}"
        )


def _keep_rows_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION lori_keeps_rows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION '%: rows are never changed or deleted', TG_TABLE_NAME; END $$"
    )
    for table in IMMUTABLE:
        op.execute(
            f"CREATE TRIGGER {table}_refuses_change BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION lori_keeps_rows()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_refuses_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION lori_keeps_rows()"
        )


def downgrade() -> None:
    op.drop_index("ix_promotion_events_served", table_name="promotion_events")
    op.drop_index("ix_promotion_events_promotion_id", table_name="promotion_events")
    op.drop_index("ix_promotion_events_kind", table_name="promotion_events")
    op.drop_table("promotion_events")
    op.drop_index("ix_promotions_target", table_name="promotions")
    op.drop_index("ix_promotions_page", table_name="promotions")
    op.drop_table("promotions")
    op.drop_index("ix_gate_reports_sequence_id_number", table_name="gate_reports")
    op.drop_table("gate_reports")
    op.drop_index("ix_deliveries_due", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_index(op.f("ix_tokens_account_id"), table_name="tokens")
    op.drop_table("tokens")
    op.drop_table("outbox")
    op.drop_table("gate_policies")
    op.drop_table("exports")
    op.drop_index("ix_confirmations_sequence_id_number", table_name="confirmations")
    op.drop_table("confirmations")
    op.drop_table("webhooks")
    op.drop_table("accounts")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION lori_keeps_rows()")
