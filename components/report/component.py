"""`report` as Kubeflow Pipelines sees it: what is left to do however a run ends."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    params: str,
    params_digest: str,
    dataset_uri: str,
    results: str,
    run: str,
    status: dsl.PipelineTaskFinalStatus,
    page: dsl.Output[dsl.HTML],
) -> None:
    """Report the run as far as it came.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of all of them.
        dataset_uri: Where the dataset is, if it was built.
        results: Where the results of all tasks are kept.
        run: The name of this run.
        status: How the run ended.
        page: The report.
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from components.object_store.dataset import fetch_manifest
    from components.report.stage import ReportFiles, report
    from components.results import Results
    from progan import config

    failure = None if status.state == "SUCCEEDED" else f"{status.state} {status.error_message}"
    loaded = config.from_text(params)
    with TemporaryDirectory() as name:
        folder, out = Path(name), Path(name) / "report"
        kept = Results(results, loaded, fetch_manifest(dataset_uri, folder), run)
        kept.gather(folder)
        report(loaded, ReportFiles.below(folder, folder), out, failure)
        kept.keep_report(out, status.state, status.error_message or "")
        Path(page.path).write_bytes((out / "report.html").read_bytes())
