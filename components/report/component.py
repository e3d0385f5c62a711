"""`report` as Kubeflow Pipelines sees it: the exit handler, which runs however the run ends."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    params: str,
    dataset_uri: str,
    results: str,
    run: str,
    status: dsl.PipelineTaskFinalStatus,
    page: dsl.Output[dsl.HTML],
) -> None:
    """Report on the run, as far as it got, and record how it ended.

    Args:
        status: How the run ended.
        page: The report.
    """
    from pathlib import Path

    from components.pod import Pod
    from components.report.stage import ReportFiles, report
    from components.run_record import RunRecord

    failure = None if status.state == "SUCCEEDED" else f"{status.state} {status.error_message}"
    with Pod("report", params, results, None, dataset_uri, run=run) as pod:
        pod.bring_inputs()
        report(pod.config, ReportFiles(**pod.paths), failure)
        pod.keep()
        digest = pod.manifest.digest if pod.manifest else ""
        RunRecord.of(pod.config, digest, status.state, status.error_message or "").write(results, run)
        Path(page.path).write_bytes((pod.paths["report"] / "report.html").read_bytes())
