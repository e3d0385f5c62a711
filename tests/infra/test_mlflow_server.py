"""MLflow's server as the cluster runs it: whom it answers."""

import requests

CALL = "api/2.0/mlflow/experiments/search?max_results=1"


def user_of(tracking):
    return tracking.environment["MLFLOW_TRACKING_USERNAME"], tracking.environment["MLFLOW_TRACKING_PASSWORD"]


def test_it_answers_who_is_logged_in_and_no_one_else(tracking):
    address = f"{tracking.server.url}/{CALL}"
    assert requests.get(address, auth=user_of(tracking)).status_code == 200
    assert requests.get(address).status_code == 401
    assert requests.get(address, auth=("pipeline", "guessed")).status_code == 401


def test_it_answers_to_its_own_names_alone_but_tells_every_probe_its_health(tracking):
    elsewhere = {"Host": "10.1.2.3:5000"}
    address = f"{tracking.server.url}/{CALL}"
    assert requests.get(address, auth=user_of(tracking), headers=elsewhere).status_code == 403
    assert requests.get(f"{tracking.server.url}/health", headers=elsewhere).status_code == 200


def test_the_pipelines_user_is_no_administrator(tracking):
    address = f"{tracking.server.url}/api/2.0/mlflow/users/create"
    another = {"username": "another", "password": "a long enough password"}
    assert requests.post(address, json=another, auth=user_of(tracking)).status_code == 403
