"""MLflow is imported ahead of time, beside something that takes longer anyway: it costs seconds.

The one thread that does it is awaited before anybody imports it otherwise: two threads in the middle of
modules that import each other may see half of one.
"""

import importlib
import threading

from registry.settings import switch_telemetry_off

_thread: threading.Thread | None = None


def warm() -> None:
    """Begin to import what filing needs; return at once. Once in a process."""
    global _thread
    if _thread is None:
        switch_telemetry_off()
        _thread = threading.Thread(target=_import, name="warming", daemon=True)
        _thread.start()


def warmed() -> None:
    """Wait for what `warm` began, if it did."""
    if _thread is not None:
        _thread.join()


def _import() -> None:
    for name in ("artifacts", "aliases", "inventory"):
        importlib.import_module(f"registry.mlflow_{name}")
