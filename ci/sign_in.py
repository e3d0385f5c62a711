"""Short-lived tokens in place of stored passwords.

The forge gives a job a token that identifies it. The cluster exchanges it for a token of a service account,
as `kubectl create token --audience pipelines.kubeflow.org --duration 1h` does; clients of AWS, or of a
compatible service, exchange it for a role themselves.
"""

import os
import ssl
from pathlib import Path

from ci.forge import Api, Forge

AUDIENCE_OF_CLUSTER, AUDIENCE_OF_KUBEFLOW = "kubernetes", "pipelines.kubeflow.org"
AUDIENCE_OF_AWS = "sts.amazonaws.com"
SECONDS = 3600


def sign_in(forge: Forge) -> None:
    """Write the file KF_PIPELINES_SA_TOKEN_PATH if KUBERNETES_SERVER is set, and the file
    AWS_WEB_IDENTITY_TOKEN_FILE if AWS_ROLE_ARN is set."""
    if server := os.environ.get("KUBERNETES_SERVER"):
        token = _service_account_token(server, forge.identity(AUDIENCE_OF_CLUSTER))
        _write(Path(os.environ["KF_PIPELINES_SA_TOKEN_PATH"]), token)
    if os.environ.get("AWS_ROLE_ARN"):
        file = Path(os.environ["AWS_WEB_IDENTITY_TOKEN_FILE"])
        if not file.exists():  # a runner in the cluster has the file of its pod
            _write(file, forge.identity(AUDIENCE_OF_AWS))


def _service_account_token(server: str, identity: str) -> str:
    """A token of the service account KUBERNETES_SERVICE_ACCOUNT, in the namespace of the cluster profile."""
    from pipelines.commands.common_options import PROFILE
    from pipelines.profile import load_profile

    namespace, account = load_profile(PROFILE).namespace, os.environ["KUBERNETES_SERVICE_ACCOUNT"]
    api = Api(
        server,
        {"Authorization": f"Bearer {identity}"},
        ssl.create_default_context(cadata=os.environ.get("KUBERNETES_CA") or None),
    )
    spec = {"audiences": [AUDIENCE_OF_KUBEFLOW], "expirationSeconds": SECONDS}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    return api.require("POST", path, body)["status"]["token"]


def _write(path: Path, token: str) -> None:
    path.touch(mode=0o600)
    path.write_text(token)
