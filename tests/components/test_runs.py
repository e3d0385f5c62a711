"""What a run in MLflow keeps when it is logged again: on another machine, or by a later version."""

from components.register.registry import client
from components.register.runs import _log_params


def test_params_stay_as_they_were_logged(tmp_path, monkeypatch):
    """A cluster is given the parameters with sorted keys, a laptop reads them as params.yaml has them."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    registry = client()
    run = registry.create_run(registry.create_experiment("faces", tmp_path.as_uri())).info.run_id
    _log_params(registry, run, {"loss_parameters": {"penalty": 10.0, "drift": 0.001}})
    _log_params(registry, run, {"loss_parameters": {"drift": 0.001, "penalty": 10.0}, "seed": 1})
    assert registry.get_run(run).data.params == {
        "loss_parameters": '{"drift":0.001,"penalty":10.0}',
        "seed": "1",
    }
