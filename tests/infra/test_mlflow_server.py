"""MLflow's server as the cluster runs it: who gets an answer."""

import requests

CALL = "api/2.0/mlflow/experiments/search?max_results=1"


def user_of(tracking):
    return tracking.environment["MLFLOW_TRACKING_USERNAME"], tracking.environment["MLFLOW_TRACKING_PASSWORD"]


def test_it_answers_only_users_with_a_password(tracking):
    address = f"{tracking.server.url}/{CALL}"
    assert requests.get(address, auth=user_of(tracking)).status_code == 200
    assert requests.get(address).status_code == 401
    assert requests.get(address, auth=("pipeline", "guessed")).status_code == 401


def test_it_answers_only_to_its_own_host_names_except_for_health_probes(tracking):
    other_host = {"Host": "10.1.2.3:5000"}
    address = f"{tracking.server.url}/{CALL}"
    assert requests.get(address, auth=user_of(tracking), headers=other_host).status_code == 403
    assert requests.get(f"{tracking.server.url}/health", headers=other_host).status_code == 200


def test_the_pipelines_user_is_not_an_administrator(tracking):
    address = f"{tracking.server.url}/api/2.0/mlflow/users/create"
    new_user = {"username": "another", "password": "a long enough password"}
    assert requests.post(address, json=new_user, auth=user_of(tracking)).status_code == 403
