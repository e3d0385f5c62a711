"""Whom a signature names as its signer, before anything of it is proven."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Signer:
    """A key by its fingerprint, or the subjects of a certificate."""

    key: str | None = None
    subjects: Sequence[str] = ()

    def __str__(self) -> str:
        return f"key {self.key[:12]}" if self.key else ", ".join(self.subjects)


def signer_of(signature: Path) -> Signer:
    """The signer that a Sigstore bundle names; ValueError if it is no such bundle."""
    from cryptography import x509

    try:
        material = json.loads(signature.read_bytes())["verificationMaterial"]
        if "publicKey" in material:
            return Signer(key=str(material["publicKey"]["hint"]))
        content = base64.b64decode(material["certificate"]["rawBytes"], validate=True)
        names = x509.load_der_x509_certificate(content).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (ValueError, LookupError, TypeError, RecursionError, x509.ExtensionNotFound) as error:
        raise ValueError(f"no Sigstore bundle: {error}") from None
    kinds = x509.RFC822Name, x509.UniformResourceIdentifier
    return Signer(subjects=[name for kind in kinds for name in names.value.get_values_for_type(kind)])


def digests_in(signature: Path) -> dict[str, str]:
    """The SHA-256 of each file that a bundle of model-signing covers, by name."""
    envelope = json.loads(signature.read_bytes())["dsseEnvelope"]
    predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    return {resource["name"]: resource["digest"] for resource in predicate["resources"]}
