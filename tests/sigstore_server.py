"""A Sigstore on loopback: it gives certificates to identities like Fulcio, and logs signatures like Rekor.

What a client believes of it is in the trust configuration, a file.
"""

import base64
import hashlib
import json
import struct
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.pipelines.http_server import serving

ISSUER_OF_IDENTITY = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
TIMESTAMPS = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
SINCE = "2020-01-01T00:00:00Z"
ECDSA = ec.ECDSA(hashes.SHA256())


def base64_of(content):
    return base64.b64encode(content).decode()


def token(subject, issuer, audience="sigstore"):
    """An ID token such as a forge gives to a job; clients do not check its signature."""
    now = datetime.now(UTC)
    claims = {"sub": subject, "iss": issuer, "aud": audience, "iat": now, "exp": now + timedelta(minutes=5)}
    return jwt.encode(claims, "of the forge" * 3, algorithm="HS256")


class Log:
    """A key that vouches for entries: of certificates, or of signatures."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.id = hashlib.sha256(self.public).digest()

    def trusted(self, url):
        key = {"rawBytes": base64_of(self.public), "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
        return {
            "baseUrl": url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {**key, "validFor": {"start": SINCE}},
            "logId": {"keyId": base64_of(self.id)},
        }


class Authority:
    """Gives a certificate for minutes to whoever brings a token, and has the log of certificates sign it."""

    def __init__(self, log):
        self.log = log
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a Fulcio")])
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"),
            False,
        )
        self.usage = usage | {"encipher_only": False, "decipher_only": False}
        self.identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        builder = self._builder(self.name, public, timedelta(days=1))
        for extension, critical in (
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (x509.KeyUsage(digital_signature=False, key_cert_sign=True, **self.usage), True),
            (self.identifier, False),
        ):
            builder = builder.add_extension(extension, critical)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    def _builder(self, name, public, duration):
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + duration)

    def sign(self, request):
        """The answer to a signing request."""
        pem = base64.b64decode(request.body["certificateSigningRequest"])
        claims = jwt.decode(request.headers["authorization"].split()[1], options={"verify_signature": False})
        builder = self._builder(
            x509.Name([]), x509.load_pem_x509_csr(pem).public_key(), timedelta(minutes=10)
        )
        for extension, critical in (
            (x509.KeyUsage(digital_signature=True, key_cert_sign=False, **self.usage), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self.identifier), False),
            (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(claims["sub"])]), True),
            (x509.UnrecognizedExtension(ISSUER_OF_IDENTITY, claims["iss"].encode()), False),
        ):
            builder = builder.add_extension(extension, critical)
        timestamps = self._timestamps(builder.sign(self.key, hashes.SHA256()).tbs_certificate_bytes)
        builder = builder.add_extension(x509.UnrecognizedExtension(TIMESTAMPS, timestamps), False)
        chain = [builder.sign(self.key, hashes.SHA256()), self.certificate]
        certificates = [one.public_bytes(Encoding.PEM).decode() for one in chain]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": certificates}}}

    def _timestamps(self, certificate):
        """The list of one signed timestamp of RFC 6962, as an octet string of ASN.1."""
        public = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        at = struct.pack("!Q", int(datetime.now(UTC).timestamp() * 1000))
        length = struct.pack("!I", len(certificate))[1:]
        entry = b"\0\0" + at + b"\0\1" + hashlib.sha256(public).digest() + length + certificate + b"\0\0"
        signature = self.log.key.sign(entry, ECDSA)
        signed = b"\0" + self.log.id + at + b"\0\0" + b"\4\3" + struct.pack("!H", len(signature)) + signature
        listed = struct.pack("!H", len(signed)) + signed
        content = struct.pack("!H", len(listed)) + listed
        assert len(content) < 256
        return b"\x04" + (b"\x81" if len(content) > 127 else b"") + bytes([len(content)]) + content


def logged(log, request):
    """The answer of a log that has this entry alone."""
    proposed = request.body["spec"]["proposedContent"]
    envelope = json.loads(proposed["envelope"])
    signatures = [
        {"signature": signature["sig"], "verifier": verifier}
        for signature, verifier in zip(envelope["signatures"], proposed["verifiers"], strict=True)
    ]
    digests = {
        "envelopeHash": proposed["envelope"].encode(),
        "payloadHash": base64.b64decode(envelope["payload"]),
    }
    spec = {
        name: {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}
        for name, content in digests.items()
    }
    body = json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": {**spec, "signatures": signatures}})
    root = hashlib.sha256(b"\0" + body.encode()).digest()
    note = f"a Rekor\n1\n{base64_of(root)}\n"
    signature = base64_of(log.id[:4] + log.key.sign(note.encode(), ECDSA))
    entry = {
        "body": base64_of(body.encode()),
        "integratedTime": int(datetime.now(UTC).timestamp()),
        "logID": log.id.hex(),
        "logIndex": 0,
    }
    canonical = json.dumps(entry, separators=(",", ":"), sort_keys=True).encode()
    proof = {
        "logIndex": 0,
        "rootHash": root.hex(),
        "treeSize": 1,
        "hashes": [],
        "checkpoint": f"{note}\n— rekor {signature}\n",
    }
    promise = base64_of(log.key.sign(canonical, ECDSA))
    return {"1": {**entry, "verification": {"inclusionProof": proof, "signedEntryTimestamp": promise}}}


@contextmanager
def sigstore(folder: Path):
    """A running Sigstore; yields the file with its trust configuration."""
    certificates, signatures = Log(), Log()
    authority = Authority(certificates)
    with serving({}) as server:
        server.answers |= {
            ("POST", "/api/v2/signingCert"): authority.sign,
            ("POST", "/api/v1/log/entries"): lambda request: logged(signatures, request),
            ("GET", "/.well-known/openid-configuration"): {
                "authorization_endpoint": server.url,
                "token_endpoint": server.url,
            },
        }
        service = {"url": server.url, "majorApiVersion": 1, "validFor": {"start": SINCE}, "operator": "tests"}
        root = base64_of(authority.certificate.public_bytes(Encoding.DER))
        file = folder / "sigstore.json"
        kind = "application/vnd.dev.sigstore"
        configuration = {
            "mediaType": f"{kind}.clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": f"{kind}.trustedroot+json;version=0.1",
                "tlogs": [signatures.trusted(server.url)],
                "ctlogs": [certificates.trusted(server.url)],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "tests", "commonName": "a Fulcio"},
                        "uri": server.url,
                        "certChain": {"certificates": [{"rawBytes": root}]},
                        "validFor": {"start": SINCE},
                    }
                ],
                "timestampAuthorities": [],
            },
            "signingConfig": {
                "mediaType": f"{kind}.signingconfig.v0.2+json",
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [service],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaUrls": [],
                "tsaConfig": {"selector": "ANY"},
            },
        }
        file.write_text(json.dumps(configuration))
        yield file
