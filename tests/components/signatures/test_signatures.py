"""Signatures of folders: whose hold, which do not, and what other people's tools say of them."""

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from components.signatures.signing import configured_signer, sign
from components.signatures.statement import Provenance
from components.signatures.trust import TrustedSigners, trusted_signers
from components.signatures.verifying import verify
from progan.errors import InputError
from tests.signers import person

PROVENANCE = Provenance(
    model="faces",
    version="7",
    phase="r0032",
    identity="1d" * 32,
    dataset="da" * 32,
    params="9a" * 32,
    commit="c0" * 20,
    image="registry.example.org/progan@sha256:" + "ab" * 32,
    passed=True,
    reasons=("swd_average is 50; at most 60",),
)


@pytest.fixture
def ann(tmp_path):
    return person("ann", tmp_path)


@pytest.fixture
def bob(tmp_path):
    return person("bob", tmp_path, passphrase="horse", curve=ec.SECP384R1())


@pytest.fixture
def folder(tmp_path):
    """What is to be signed."""
    folder = tmp_path / "generator"
    folder.mkdir()
    (folder / "networks.safetensors").write_bytes(bytes(range(200)))
    (folder / "checkpoint.json").write_text('{"format": 1}')
    return folder


@pytest.fixture
def signed(folder, ann, monkeypatch):
    """The folder, signed by Ann, who is trusted."""
    ann.signs(monkeypatch)
    sign_here(folder)
    ann.trusted(monkeypatch)
    return folder


def sign_here(folder, provenance=PROVENANCE):
    sign(sorted(folder.iterdir()), provenance, configured_signer(), folder)


def refusal(folder, **expected):
    """The one line with which the folder is refused."""
    with pytest.raises(InputError) as refused:
        verify(folder, "faces version 7", trusted_signers(), **expected)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_signature_says_by_whom_and_over_what(signed):
    verified = verify(signed, "faces version 7", trusted_signers(), model="faces", version="7")
    assert verified.by == "ann"
    assert verified.provenance == PROVENANCE


def test_the_statement_is_in_toto_s(signed):
    statement = json.loads((signed / "statement.json").read_text())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    digests = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    assert digests == {
        name: hashlib.sha256((signed / name).read_bytes()).hexdigest()
        for name in ("networks.safetensors", "checkpoint.json")
    }
    assert statement["predicate"] == asdict(PROVENANCE) | {"reasons": list(PROVENANCE.reasons)}


def test_the_command_of_the_openssf_agrees(signed, ann):
    """Anyone can verify it without this project; a changed byte is found there too."""
    key = signed.parent / "public.pem"
    key.write_text(ann.public)
    command = [sys.executable, "-m", "model_signing", "verify", "key", signed]
    command += ["--signature", signed / "model.sig", "--public_key", key]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (signed / "checkpoint.json").write_text('{"format": 2}')
    assert subprocess.run(command, capture_output=True).returncode


def test_keys_may_have_a_passphrase_and_come_as_text(folder, bob, monkeypatch):
    """As the secret of a pod gives them."""
    bob.signs(monkeypatch, "horse")
    monkeypatch.setenv("PROGAN_SIGNING_KEY", bob.key.read_text())
    sign_here(folder)
    bob.trusted(monkeypatch)
    assert verify(folder, "faces", trusted_signers()).by == "bob"


@pytest.mark.parametrize("name", ["networks.safetensors", "checkpoint.json", "statement.json"])
def test_a_changed_byte_is_refused(signed, name):
    content = bytearray((signed / name).read_bytes())
    content[len(content) // 2] ^= 1
    (signed / name).write_bytes(content)
    assert refusal(signed).startswith("faces version 7: changed since key ")
    assert refusal(signed).endswith(f"signed it: {name}")


def test_added_and_missing_files_are_refused(signed):
    (signed / "extra.py").write_text("")
    assert refusal(signed).endswith(" signed it: extra.py")
    (signed / "extra.py").unlink()
    (signed / "statement.json").unlink()
    assert refusal(signed).endswith(" signed it: statement.json")


def test_no_signature_is_refused(signed):
    (signed / "model.sig").unlink()
    assert refusal(signed) == "faces version 7: is not signed, but must be, by ann; see docs/signing.md"


def test_an_unknown_key_is_refused_even_under_a_known_name(signed, bob, ann, monkeypatch):
    bob.trusted(monkeypatch)
    assert "who is not trusted; trusted: bob" in refusal(signed)
    sign_here_as = json.loads((signed / "model.sig").read_text())
    public = sign_here_as["verificationMaterial"]["publicKey"]
    public["hint"] = hashlib.sha256(bob.public.encode()).hexdigest()
    (signed / "model.sig").write_text(json.dumps(sign_here_as))
    assert "does not hold: " in refusal(signed)


def test_a_statement_about_another_model_is_refused(signed):
    line = refusal(signed, model="faces", version="8")
    assert line == "faces version 7: ann signed it as another one: its version is 7, not 8"
    assert "its model is faces, not cats" in refusal(signed, model="cats")


def test_signatures_that_are_none(signed):
    content = (signed / "model.sig").read_bytes()
    bundle = json.loads(content)
    without_payload = bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"payload": "bm8="}}
    certified = bundle | {"verificationMaterial": {"certificate": {"rawBytes": "bm8="}}}
    for damaged in (content[:99], b"[]", b"{}", json.dumps(certified).encode()):
        (signed / "model.sig").write_bytes(damaged)
        assert "model.sig is damaged: no Sigstore bundle" in refusal(signed)
    (signed / "model.sig").write_text(json.dumps(without_payload))
    assert "does not hold: " in refusal(signed)


def test_a_signed_folder_without_a_statement_of_ours_is_refused(folder, ann, monkeypatch):
    """A trusted person may have signed other things with the same tool."""
    from model_signing import hashing, signing

    (folder / "statement.json").write_text("{}")
    signature = folder / "model.sig"
    without = hashing.Config().set_ignored_paths(paths=[signature])
    config = signing.Config().use_elliptic_key_signer(private_key=ann.key)
    config.set_hashing_config(without).sign(folder, signature)
    ann.trusted(monkeypatch)
    assert "its statement.json is no statement about a training" in refusal(folder)


@pytest.mark.parametrize(
    ("key", "passphrase", "line"),
    [
        ("missing.pem", "", "missing.pem: no such file; correct PROGAN_SIGNING_KEY"),
        ("bob.pem", "", "is encrypted; set PROGAN_SIGNING_PASSPHRASE"),
        ("bob.pem", "donkey", "cannot be used as a private key"),
        ("ann.pem", "horse", "needs none; unset PROGAN_SIGNING_PASSPHRASE"),
        ("odd.pem", "", "of the curve P-256, P-384 or P-521"),
        ("text.pem", "", "cannot be used as a private key"),
    ],
)
def test_keys_that_cannot_sign(tmp_path, ann, bob, monkeypatch, key, passphrase, line):
    person("odd", tmp_path, curve=ec.SECP256K1())
    (tmp_path / "text.pem").write_text("no key")
    monkeypatch.setenv("PROGAN_SIGNING_KEY", str(tmp_path / key))
    monkeypatch.setenv("PROGAN_SIGNING_PASSPHRASE", passphrase)
    with pytest.raises(InputError, match=line) as refused:
        configured_signer()
    assert "donkey" not in str(refused.value)


# ------------------------------------------------------------------------------------------------
# Whom to trust


def test_the_profile_says_whom_to_trust(tmp_path, ann, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert trusted_signers() is None
    profile = Path("infra/cluster.yaml")
    profile.parent.mkdir()
    profile.write_text("image: progan\n")
    assert trusted_signers() is None
    profile.write_text(json.dumps({"signatures": {"keys": {"ann": ann.public}, "identities": []}}))
    assert trusted_signers() == TrustedSigners({"ann": ann.public}, ())


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"keys": {}, "identities": []}, "keys: must name at least one, or identities must"),
        ({"keys": {"ann": "no key"}, "identities": []}, "keys.ann: must be a public key in PEM"),
        ({"keys": {}, "identities": [{"subject": "ann@example.org"}]}, "identities.0.issuer: missing"),
        ("ann", "the file: must be a mapping"),
    ],
)
def test_nobody_is_trusted_by_mistake(monkeypatch, section, line):
    monkeypatch.setenv("PROGAN_TRUSTED_SIGNERS", json.dumps(section))
    with pytest.raises(InputError, match=line):
        trusted_signers()
