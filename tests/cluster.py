"""A real API server of Kubernetes on loopback, over its own etcd: what it takes, and whom it lets do what.

No controller and no kubelet runs beside it, so nothing happens by itself: no pod starts, no claim is bound,
no quota counts. What those would write down, tests do (`set_status`). `make e2e-cluster` builds the server.
"""

import contextlib
import secrets
import ssl
import urllib.request
from dataclasses import dataclass
from functools import cache

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.servers import Server, free_port, installed

PLURALS = {"NetworkPolicy": "networkpolicies", "StorageClass": "storageclasses", "Endpoints": "endpoints"}


class ApiServer(Server):
    """It makes itself a certificate when it first starts."""

    def __init__(self, command, url, log, certificate):
        super().__init__(command, url, "/readyz", log, {})
        self.certificate = certificate

    def answers(self):
        with contextlib.suppress(OSError):
            context = ssl.create_default_context(cafile=self.certificate)
            with urllib.request.urlopen(self.health, timeout=5, context=context):
                return True
        return False


@dataclass(frozen=True)
class Cluster:
    """What to ask it as its administrator, or as who has another token."""

    server: ApiServer
    token: str

    def kubeconfig(self, token):
        """The text of one, for who has `token`."""
        cluster = {"server": self.server.url, "certificate-authority": str(self.server.certificate)}
        return yaml.safe_dump(
            {
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "me", "user": {"token": token}}],
            }
        )

    def token_of(self, account, namespace):
        """As the pods of a service account have it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return self.ask("POST", path, {"spec": {"audiences": []}})["status"]["token"]

    def apply(self, manifest, dry_run=False):
        """What the server makes of it, as `kubectl apply --server-side --validate=strict` sends it.

        Raises ApiException where it is refused, and AssertionError where the server warns.
        """
        query = {"fieldManager": "tests", "force": "true", "fieldValidation": "Strict"}
        query |= {"dryRun": "All"} if dry_run else {}
        return self.ask("PATCH", path_of(manifest), manifest, "application/apply-patch+yaml", query)

    def set_status(self, manifest, **status):
        """As a controller or a kubelet writes down how it stands."""
        kind = "application/merge-patch+json"
        self.ask("PATCH", f"{path_of(manifest)}/status", {"status": status}, kind)

    def delete(self, manifest):
        self.ask("DELETE", path_of(manifest), query={"gracePeriodSeconds": "0"})

    def ask(self, method, path, body=None, kind="application/json", query=None, headers=None, token=None):
        """The answer, as JSON says it."""
        answer, _, told = _client(self.server.url, self.server.certificate, token or self.token).call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Content-Type": kind, "Accept": "application/json", **(headers or {})},
            body=body,
            auth_settings=["BearerToken"],
            response_type="object",
        )
        assert "Warning" not in told or body["kind"] == "Endpoints", told["Warning"]  # the cluster's own work
        return answer


@cache
def _client(url, certificate, token):
    from kubernetes import client

    configuration = client.Configuration(host=url)
    configuration.ssl_ca_cert = str(certificate)
    configuration.api_key = {"authorization": f"Bearer {token}"}
    return client.ApiClient(configuration)


def path_of(manifest):
    """Where a resource is in the API."""
    group, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    place = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{place}/{PLURALS.get(kind, kind.lower() + 's')}/{metadata['name']}"


@contextlib.contextmanager
def cluster_in(folder, *options):
    """A new cluster with RBAC, and the admission plugins that are on by default: Pod Security, quotas, limit
    ranges, service accounts and others. `options` are of its API server."""
    programs = [installed(program, by="e2e-cluster") for program in ("etcd", "kube-apiserver")]
    with _database(programs[0], folder) as store, _api_server(programs[1], folder, store, options) as cluster:
        yield cluster


@contextlib.contextmanager
def _database(etcd, folder):
    url, peers = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    command = [
        etcd,
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peers}",
        "--unsafe-no-fsync",
    ]
    with _started(Server(command, url, "/health", folder / "etcd.log", {})):
        yield url


@contextlib.contextmanager
def _api_server(program, folder, store, options):
    token, port, key = secrets.token_hex(), free_port(), folder / "accounts.key"
    (folder / "tokens").write_text(f"{token},admin,admin,system:masters\n")
    private = rsa.generate_private_key(65537, 2048)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    command = [
        program,
        f"--etcd-servers={store}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=RBAC",
        f"--token-auth-file={folder / 'tokens'}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        *options,
    ]
    url = f"https://127.0.0.1:{port}"
    server = ApiServer(command, url, folder / "api-server.log", folder / "apiserver.crt")
    with _started(server):
        yield Cluster(server, token)


@contextlib.contextmanager
def _started(server):
    server.start()
    try:
        yield server
    finally:
        server.stop()
