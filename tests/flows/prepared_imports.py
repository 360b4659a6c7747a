"""What `tests.flows.prepared` has its first process import, before anything is forked from it."""

from importlib import import_module

from flows.collecting import importing
from registry.settings import switch_telemetry_off

switch_telemetry_off()
with importing():
    for name in ("flows.cli", "flows.verifying", "lori_core.training", "registry.mlflow_artifacts"):
        import_module(name)
