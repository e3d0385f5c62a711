"""Tokens in the place of passwords: the forge vouches, the cluster answers with a token of its own."""

import pytest

from ci.forge import current_forge
from ci.sign_in import sign_in
from tests.ci.stand_ins import kubernetes


@pytest.fixture
def cluster():
    with kubernetes() as server:
        yield server


@pytest.fixture
def variables(monkeypatch, tmp_path):
    def give(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    for name in ("KUBERNETES_SERVER", "KUBERNETES_CA", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    give(
        KUBERNETES_SERVICE_ACCOUNT="progan-submit",
        KF_PIPELINES_SA_TOKEN_PATH=str(tmp_path / "kubeflow"),
        AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "aws"),
    )
    return give


def test_a_token_for_an_hour_and_one_for_a_role(forge, cluster, variables, tmp_path):
    variables(KUBERNETES_SERVER=cluster.url, AWS_ROLE_ARN="arn:aws:iam::123:role/progan")
    sign_in(current_forge())
    assert (tmp_path / "kubeflow").read_text() == "token for pipelines.kubeflow.org"
    assert (tmp_path / "aws").read_text() == "identity for sts.amazonaws.com"
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("kubeflow", "aws")} == {0o600}
    [request] = cluster.requests
    assert request.body["kind"] == "TokenRequest"
    assert request.body["spec"]["expirationSeconds"] == 3600


def test_nothing_is_asked_where_pods_have_tokens_of_their_own(forge, cluster, variables, tmp_path):
    variables(KUBERNETES_SERVER="", AWS_ROLE_ARN="")
    sign_in(current_forge())
    assert list(tmp_path.iterdir()) == []
    variables(AWS_ROLE_ARN="arn:aws:iam::123:role/of-the-pod")
    (tmp_path / "aws").write_text("the pod's own")
    sign_in(current_forge())
    assert (tmp_path / "aws").read_text() == "the pod's own"
