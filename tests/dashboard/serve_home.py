"""Serve a home as `lori dashboard` does, in a process of its own; MLflow is stood in for by a folder.

python serve_home.py HOME STORE
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))

from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts

from dashboard.serve import serve
from registry.store import open_registry


def main() -> None:
    home, store = (Path(argument) for argument in sys.argv[1:3])
    with open_registry(home, artifacts=FolderArtifacts(store), aliases=FakeAliases()) as registry:
        serve(registry, port=0)
    print("ended", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
