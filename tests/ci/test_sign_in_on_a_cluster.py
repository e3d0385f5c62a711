"""Signing in to a real API server that believes a forge, by what docs/retraining.md and infra/ci.yaml say."""

import base64
import datetime
import ipaddress
import json
import re
import ssl
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ci.sign_in import sign_in
from progan.errors import InputError
from tests.cluster import cluster_in

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
SUBMITS, COLLECTS = "progan-submit", "progan-collect"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class Issuer:
    """What vouches for the jobs of a forge: https, a key, and tokens that it signed."""

    url: str
    certificate: str
    key: rsa.RSAPrivateKey

    def token(self, **claims):
        now = int(time.time())
        claims = {"iss": self.url, "aud": "kubernetes", "iat": now, "exp": now + 300, **claims}
        parts = ({"alg": "RS256", "typ": "JWT", "kid": "one"}, claims)
        signed = ".".join(base64url(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{base64url(self.key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"

    def answer(self, path):
        if path == "/keys":
            public = self.key.public_key().public_numbers()
            numbers = {"n": base64url(public.n.to_bytes(256)), "e": base64url(public.e.to_bytes(3))}
            return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one", **numbers}]}
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }


def self_signed(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(here, critical=False)
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    key = rsa.generate_private_key(65537, 2048)
    pem = tmp_path_factory.mktemp("issuer") / "issuer.pem"
    certificate = self_signed(key)
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = json.dumps(issuer.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    issuer = Issuer(f"https://127.0.0.1:{http.server_port}", certificate.decode(), key)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield issuer
    http.shutdown()
    thread.join()
    http.server_close()


def authentication(forge, issuer):
    """The page's configuration of the API server, for this issuer."""
    github, gitlab = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/retraining.md").read_text(), re.DOTALL)
    configuration = yaml.safe_load(github)
    (jwt,) = configuration["jwt"]
    jwt["issuer"] |= {"url": issuer.url, "certificateAuthority": issuer.certificate}
    if forge == "gitlab":
        jwt["claimMappings"] = yaml.safe_load(gitlab)
    return configuration


def claims(forge, project, environment):
    """What a forge says of a job."""
    if forge == "github":
        return {"sub": f"repo:{project}:environment:{environment}"}
    place = {"project_path": project, "environment": environment}
    return {"sub": f"project_path:{project}:ref_type:branch:ref:main", **place}


@pytest.fixture(scope="module", params=["github", "gitlab"])
def forge(request):
    return request.param


@pytest.fixture(scope="module")
def cluster(forge, issuer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    believes = folder / "authentication.yaml"
    believes.write_text(yaml.safe_dump(authentication(forge, issuer)))
    with cluster_in(folder, f"--authentication-config={believes}") as cluster:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "progan"}})
        for resource in yaml.safe_load_all((ROOT / "infra/ci.yaml").read_text()):
            resource["metadata"]["namespace"] = "progan"  # kubectl -n progan
            cluster.apply(resource)
        yield cluster


@pytest.fixture
def signed_in(cluster, monkeypatch, tmp_path):
    """Returns a function that signs in as a job with a token of the forge's; what it got from the cluster."""
    monkeypatch.chdir(ROOT)  # of the cluster profile
    monkeypatch.delenv("AWS_ROLE_ARN", raising=False)
    file = tmp_path / "kubeflow"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    monkeypatch.setenv("KUBERNETES_SERVER", cluster.server.url)
    monkeypatch.setenv("KUBERNETES_CA", cluster.server.certificate.read_text())

    def signed_in(token, account):
        monkeypatch.setenv("KUBERNETES_SERVICE_ACCOUNT", account)
        sign_in(SimpleNamespace(identity=lambda audience: token))
        return file.read_text()

    return signed_in


def test_what_came_through_an_environment_gets_its_account_for_an_hour(forge, issuer, cluster, signed_in):
    for environment, account in (("training", SUBMITS), ("collecting", COLLECTS)):
        token = signed_in(issuer.token(**claims(forge, "example/progan", environment)), account)
        review = {"spec": {"token": token, "audiences": ["pipelines.kubeflow.org"]}}
        kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        status = cluster.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", kind | review)["status"]
        assert status["authenticated"]
        assert status["user"]["username"] == f"system:serviceaccount:progan:{account}"
        middle = token.split(".")[1]
        told = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        assert told["exp"] - told["iat"] == 3600


def test_nobody_else_gets_one(forge, issuer, signed_in):
    def refused(account, project="example/progan", environment="training", **wrong):
        with pytest.raises(InputError) as caught:
            signed_in(issuer.token(**claims(forge, project, environment) | wrong), account)
        return re.search(r": (\d{3}): ", str(caught.value))[1]

    assert refused(COLLECTS) == "403"
    assert refused(SUBMITS, environment="collecting") == "403"
    assert refused(SUBMITS, project="example/fork") == "403"
    assert refused("progan-pipeline") == "403"
    assert refused(SUBMITS, aud="sts.amazonaws.com") == "401"
    assert refused(SUBMITS, exp=int(time.time()) - 60) == "401"
    assert refused(SUBMITS, iss="https://elsewhere.example.org") == "401"


def test_only_who_submits_may_use_the_account_of_runs(cluster):
    """As Kubeflow Pipelines asks from 2.18 on."""
    action = {"verb": "use", "resource": "serviceaccounts", "name": "progan-pipeline", "namespace": "progan"}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    review = kind | {"spec": {"resourceAttributes": action}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for account in (SUBMITS, COLLECTS):
        answer = cluster.ask("POST", path, review, token=cluster.token_of(account, "progan"))
        assert answer["status"]["allowed"] is (account == SUBMITS)
