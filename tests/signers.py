"""People who sign: keys of elliptic curves, as files and as a profile trusts them."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from components.signatures.trust import VARIABLE
from progan.files import canonical_json


@dataclass(frozen=True)
class Person:
    """Somebody with a private key in a file."""

    name: str
    key: Path
    public: str  # PEM

    def as_trusted(self):
        """The value of PROGAN_TRUSTED_SIGNERS that trusts this person alone."""
        return canonical_json({"keys": {self.name: self.public}, "identities": []})

    def trusted(self, patch):
        """Trust this person, and nobody else."""
        patch.setenv(VARIABLE, self.as_trusted())

    def signs(self, patch, passphrase=""):
        """Sign what is registered from now on."""
        patch.setenv("PROGAN_SIGNING_KEY", str(self.key))
        patch.setenv("PROGAN_SIGNING_PASSPHRASE", passphrase)


def person(name, folder, passphrase=None, curve=None):
    """A person with a new key."""
    private = ec.generate_private_key(curve or ec.SECP256R1())
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    key = folder / f"{name}.pem"
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Person(name, key, public.decode())
