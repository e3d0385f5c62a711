"""Signatures without a key, on a Sigstore of the tests: its own certificates, and its own log."""

import json

import pytest

from components.signatures.signing import configured_signer, sign
from components.signatures.trust import VARIABLE, trusted_signers
from components.signatures.verifying import verify
from progan.errors import InputError, Unavailable
from tests.components.signatures.test_signatures import PROVENANCE
from tests.sigstore_server import Authority, sigstore, token

WORKFLOW = "https://forge.example.org/team/faces//train.yml@refs/heads/main"
FORGE = "https://forge.example.org"


@pytest.fixture
def job(tmp_path, monkeypatch):
    """This process as a job of CI; what else may give it an identity is unset."""
    for name in ("GITHUB_ACTIONS", "CIRCLECI", "BUILDKITE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", token(WORKFLOW, FORGE))
    monkeypatch.setenv("PROGAN_SIGNING_KEY", "identity")
    folder = tmp_path / "generator"
    folder.mkdir()
    (folder / "networks.safetensors").write_bytes(bytes(99))
    return folder


def trust(patch, subject=WORKFLOW, issuer=FORGE):
    identities = [{"subject": subject, "issuer": issuer}]
    patch.setenv(VARIABLE, json.dumps({"keys": {}, "identities": identities}))


def sign_here(folder):
    sign([folder / "networks.safetensors"], PROVENANCE, configured_signer(), folder)


def refusal(folder):
    with pytest.raises(InputError) as refused:
        verify(folder, "faces version 7", trusted_signers())
    return str(refused.value)


def test_a_workflow_signs_and_is_trusted_by_name_and_issuer(job, tmp_path, monkeypatch):
    with sigstore(tmp_path) as configuration:
        monkeypatch.setenv("PROGAN_SIGSTORE", str(configuration))
        sign_here(job)
    trust(monkeypatch)
    verified = verify(job, "faces version 7", trusted_signers(), version="7")  # needs no network
    assert (verified.by, verified.provenance) == (WORKFLOW, PROVENANCE)
    trust(monkeypatch, subject=WORKFLOW.replace("main", "other"))
    assert f"signed by {WORKFLOW}, who is not trusted" in refusal(job)
    trust(monkeypatch, issuer="https://other.example.org")
    assert f"the signature of {WORKFLOW} does not hold: " in refusal(job)
    trust(monkeypatch)
    (job / "networks.safetensors").write_bytes(bytes(98))
    assert "changed since " in refusal(job)


def test_another_sigstore_vouches_for_nobody(job, tmp_path, monkeypatch):
    """Anybody can run one, and give certificates for any name."""
    (tmp_path / "other").mkdir()
    with sigstore(tmp_path / "other") as other, sigstore(tmp_path) as configuration:
        monkeypatch.setenv("PROGAN_SIGSTORE", str(other))
        sign_here(job)
    monkeypatch.setenv("PROGAN_SIGSTORE", str(configuration))
    trust(monkeypatch)
    assert f"the signature of {WORKFLOW} does not hold: " in refusal(job)


def test_who_has_no_identity_cannot_sign(job, tmp_path, monkeypatch):
    with sigstore(tmp_path) as configuration:
        monkeypatch.setenv("PROGAN_SIGSTORE", str(configuration))
        monkeypatch.setenv("SIGSTORE_ID_TOKEN", token(WORKFLOW, FORGE, audience="kubernetes"))
        with pytest.raises(InputError, match="^PROGAN_SIGNING_KEY=identity: Token audience claim mismatch"):
            sign_here(job)
        monkeypatch.delenv("SIGSTORE_ID_TOKEN")
        with pytest.raises(InputError, match="SIGSTORE_ID_TOKEN"):
            sign_here(job)
        monkeypatch.delenv("GITLAB_CI")
        with pytest.raises(InputError, match="^PROGAN_SIGNING_KEY=identity: nothing here has an identity"):
            sign_here(job)
    assert not (job / "model.sig").exists()


def test_a_sigstore_that_refuses(job, tmp_path, monkeypatch):
    monkeypatch.setattr(Authority, "sign", lambda self, request: (400, {"message": "unknown issuer"}))
    with sigstore(tmp_path) as configuration:
        monkeypatch.setenv("PROGAN_SIGSTORE", str(configuration))
        with pytest.raises(InputError, match="faces version 7: cannot be signed: 400 Client Error"):
            sign_here(job)


def test_a_sigstore_that_does_not_answer(job, tmp_path, monkeypatch):
    with sigstore(tmp_path) as configuration:
        pass
    monkeypatch.setenv("PROGAN_SIGSTORE", str(configuration))
    with pytest.raises(Unavailable, match="cannot be signed: "):
        sign_here(job)
    monkeypatch.setenv("PROGAN_SIGSTORE", "missing.json")
    with pytest.raises(InputError, match="PROGAN_SIGSTORE: missing.json: no such file"):
        sign_here(job)
