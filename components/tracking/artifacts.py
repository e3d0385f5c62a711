"""Artifacts in MLflow, as files here."""

from pathlib import Path
from tempfile import TemporaryDirectory

ARTIFACTS = "artifacts"  # the folder of a logged model's files besides its code


def download(source: str, path: Path) -> Path:
    """Download the file or folder at `source` to `path`; MLflow itself may put it below other folders.

    Of a run's artifacts, it asks where the run keeps them: for runs:/… MLflow hides why a download failed.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

    if source.startswith("runs:/"):
        source = RunsArtifactRepository.get_underlying_uri(source)
    with TemporaryDirectory(dir=path.parent) as folder:
        return Path(download_artifacts(source, dst_path=folder)).replace(path)


def names_in(source: str) -> list[str]:
    """The names of the files in the folder at `source`."""
    from mlflow.artifacts import list_artifacts

    return [Path(artifact.path).name for artifact in list_artifacts(artifact_uri=source)]
