"""The tables of the main corridor."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "adapters",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adapters")),
        sa.UniqueConstraint(
            "sha256", "manifest_sha256", name=op.f("uq_adapters_sha256_manifest_sha256")
        ),
    )
    op.create_table(
        "arrivals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'claimed', 'learned', 'failed', 'withdrawn')",
            name=op.f("ck_arrivals_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrivals")),
        sa.UniqueConstraint("sequence", "position", name=op.f("uq_arrivals_sequence_position")),
    )
    op.create_table(
        "sequences",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("base_digest", sa.String(length=128), nullable=False),
        sa.Column("base_path", sa.String(length=4096), nullable=False),
        sa.Column("base", sa.JSON(), nullable=False),
        sa.Column("adapter", sa.JSON(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sequences")),
        sa.UniqueConstraint("name", name=op.f("uq_sequences_name")),
    )
    op.create_table(
        "stage_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("stage", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=True),
        sa.Column("process_started", sa.Float(precision=53), nullable=True),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "state IN ('running', 'finished', 'failed')", name=op.f("ck_stage_runs_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_runs")),
        sa.UniqueConstraint("key", "attempt", name=op.f("uq_stage_runs_key_attempt")),
    )
    op.create_index("ix_stage_runs_sequence", "stage_runs", ["sequence"], unique=False)
    op.create_table(
        "certificates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("read", sa.String(length=16), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("level IN ('G0', 'G1', 'G2')", name=op.f("ck_certificates_level")),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_certificates_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        sa.UniqueConstraint(
            "sequence_id",
            "number",
            "sha256",
            name=op.f("uq_certificates_sequence_id_number_sha256"),
        ),
    )
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("read", sa.String(length=16), nullable=False),
        sa.Column("adapter_of", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("low", sa.Float(precision=53), nullable=False),
        sa.Column("high", sa.Float(precision=53), nullable=False),
        sa.Column("metric", sa.String(length=256), nullable=False),
        sa.Column("metric_version", sa.String(length=128), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("base_digest", sa.String(length=128), nullable=False),
        sa.Column("effective_digest", sa.String(length=128), nullable=True),
        sa.Column("test_digest", sa.String(length=128), nullable=False),
        sa.Column("predictions", sa.String(length=4096), nullable=True),
        sa.Column("predictions_sha256", sa.String(length=64), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("n >= 0", name=op.f("ck_evaluations_n")),
        sa.CheckConstraint("version >= 0", name=op.f("ck_evaluations_version")),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_evaluations_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint(
            "key",
            "sequence_id",
            "version",
            "task",
            "read",
            "adapter_of",
            name=op.f("uq_evaluations_key_sequence_id_version_task_read_adapter_of"),
        ),
    )
    op.create_index(
        "ix_evaluations_place", "evaluations", ["sequence_id", "read", "version"], unique=False
    )
    op.create_table(
        "masks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("nnz", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("layers", sa.JSON(), nullable=False),
        sa.CheckConstraint("nnz >= 0 AND nnz <= total", name=op.f("ck_masks_nnz")),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_masks_adapter_id_adapters")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_masks")),
        sa.UniqueConstraint("adapter_id", name=op.f("uq_masks_adapter_id")),
    )
    op.create_index(op.f("ix_masks_sha256"), "masks", ["sha256"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("position >= 1", name=op.f("ck_tasks_position")),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_tasks_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("sequence_id", "name", name=op.f("uq_tasks_sequence_id_name")),
        sa.UniqueConstraint("sequence_id", "position", name=op.f("uq_tasks_sequence_id_position")),
    )
    op.create_table(
        "versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("idem_key", sa.String(length=64), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("certificate_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("model_id", sa.String(length=64), nullable=True),
        sa.Column("model_name", sa.String(length=256), nullable=True),
        sa.Column("model_version", sa.Integer(), nullable=True),
        sa.Column("artifact_uri", sa.String(length=4096), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("registered", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state <> 'registered' OR (run_id IS NOT NULL AND model_id IS NOT NULL AND model_version IS NOT NULL AND artifact_uri IS NOT NULL)",
            name=op.f("ck_versions_registered"),
        ),
        sa.CheckConstraint(
            "state IN ('reserved', 'started', 'uploaded', 'verified', 'versioned', 'registered')",
            name=op.f("ck_versions_state"),
        ),
        sa.CheckConstraint("number >= 1", name=op.f("ck_versions_number")),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_versions_adapter_id_adapters")
        ),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["certificates.id"],
            name=op.f("fk_versions_certificate_id_certificates"),
        ),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequences.id"], name=op.f("fk_versions_sequence_id_sequences")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        sa.UniqueConstraint("idem_key", name=op.f("uq_versions_idem_key")),
        sa.UniqueConstraint("model_id", name=op.f("uq_versions_model_id")),
        sa.UniqueConstraint("sequence_id", "number", name=op.f("uq_versions_sequence_id_number")),
    )
    op.create_index(op.f("ix_versions_adapter_id"), "versions", ["adapter_id"], unique=False)
    op.create_index("ix_versions_model", "versions", ["model_name", "model_version"], unique=False)


def downgrade() -> None:

    op.drop_index("ix_versions_model", table_name="versions")
    op.drop_index(op.f("ix_versions_adapter_id"), table_name="versions")
    op.drop_table("versions")
    op.drop_table("tasks")
    op.drop_index(op.f("ix_masks_sha256"), table_name="masks")
    op.drop_table("masks")
    op.drop_index("ix_evaluations_place", table_name="evaluations")
    op.drop_table("evaluations")
    op.drop_table("certificates")
    op.drop_index("ix_stage_runs_sequence", table_name="stage_runs")
    op.drop_table("stage_runs")
    op.drop_table("sequences")
    op.drop_table("arrivals")
    op.drop_table("adapters")
