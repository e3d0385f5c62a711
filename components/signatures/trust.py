"""Whose signatures are trusted: the cluster profile's `signatures`. A registered model ships this room."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import PROFILE
from progan.errors import InputError
from progan.validation import Checked, Faults, parse_yaml, read_yaml, validated

VARIABLE = "PROGAN_TRUSTED_SIGNERS"  # the same as JSON, for pods and servers, which have no profile
SECTION = "signatures"
CURVES = "secp256r1", "secp384r1", "secp521r1"  # P-256, P-384, P-521
SIGSTORE = (
    "PROGAN_SIGSTORE"  # the trust configuration of an organisation's own Sigstore; default: the public one
)


@dataclass(frozen=True)
class Identity:
    """Whoever an OpenID Connect issuer, such as a forge's, says that it is."""

    subject: str  # an address, or the URI of a workflow
    issuer: str


@dataclass(frozen=True)
class TrustedSigners(Checked):
    """Those whose signature is required."""

    keys: dict[str, str]  # public keys in PEM, by the names of their owners
    identities: tuple[Identity, ...]

    @staticmethod
    def check_signers(keys: dict[str, str], identities: tuple[Identity, ...]) -> Faults:
        if not keys and not identities:
            yield "keys", "must name at least one, or identities must; null requires no signature"

    @staticmethod
    def check_keys(keys: dict[str, str]) -> Faults:
        for owner, pem in keys.items():
            try:
                fingerprint(public_key(pem.encode()))
            except ValueError:
                yield f"keys.{owner}", "must be a public key in PEM, of the curve P-256, P-384 or P-521"

    def __str__(self) -> str:
        return ", ".join([*self.keys, *(identity.subject for identity in self.identities)])


def trusted_signers() -> TrustedSigners | None:
    """Those whom this process trusts; None if no signature is required."""
    if text := os.environ.get(VARIABLE):
        return validated(TrustedSigners, parse_yaml(text, VARIABLE), VARIABLE)
    profile = read_yaml(PROFILE, "give --profile") if PROFILE.is_file() else None
    section = profile.get(SECTION) if isinstance(profile, dict) else None
    return None if section is None else validated(TrustedSigners, section, f"{PROFILE}: {SECTION}")


def trust_config() -> Path | None:
    """The file that describes the Sigstore which vouches for identities; None for the public one."""
    value = os.environ.get(SIGSTORE)
    if value and not Path(value).is_file():
        raise InputError(f"{SIGSTORE}: {value}: no such file; name a trust configuration of Sigstore")
    return Path(value) if value else None


def public_key(pem: bytes) -> Any:
    """The key in `pem`; ValueError unless it is one of an elliptic curve."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


def fingerprint(key: Any) -> str:
    """SHA-256 (hex) of a public key in PEM, by which signatures name it; ValueError for other kinds."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise ValueError("not of a curve that signatures use")
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()
