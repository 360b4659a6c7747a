"""A folder as the artifact store: what filing asks of MLflow, in the fewest lines."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from registry.artifacts import Filing, Upload


class FolderArtifacts:
    """Implements `registry.artifacts.ArtifactStore`; a `file:` URI or, if `remote`, one to fetch."""

    def __init__(self, root: Path, *, remote: bool = False) -> None:
        self.root, self.remote = root, remote
        self.calls: list[str] = []
        self.metrics: dict[str, float] = {}

    def start_run(self, filing: Filing) -> str:
        self.calls.append("start_run")
        return filing.key[:32]

    def upload(self, filing: Filing, run_id: str, folder: Path) -> Upload:
        self.calls.append("upload")
        place = self.root / filing.manifest_sha256[:32]
        shutil.copytree(folder, place, dirs_exist_ok=True)
        uri = f"folder://{place}" if self.remote else place.as_uri()
        return Upload(model_id=f"m-{place.name}", artifact_uri=uri)

    def discard(self, model_id: str) -> None:
        self.calls.append("discard")
        shutil.rmtree(self.root / model_id.removeprefix("m-"))

    def fetch(self, uri: str, into: Path) -> None:
        self.calls.append("fetch")
        shutil.copytree(uri.removeprefix("folder://"), into, dirs_exist_ok=True)

    def create_version(self, filing: Filing, run_id: str, model_id: str) -> int:
        self.calls.append("create_version")
        return filing.version

    def finish_run(self, filing: Filing, run_id: str, metrics: Mapping[str, float]) -> None:
        self.calls.append("finish_run")
        self.metrics.update(metrics)
