"""Sign files and their provenance: with a key of one's own, or keyless with the identity of a job."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.signatures.bundle import Signer
from components.signatures.statement import SIGNATURE, STATEMENT, Provenance
from components.signatures.trust import fingerprint, trust_config
from progan.errors import InputError, Unavailable
from progan.files import read_bytes, write_json

KEY, PASSPHRASE = "PROGAN_SIGNING_KEY", "PROGAN_SIGNING_PASSPHRASE"
IDENTITY = "identity"  # the value of KEY that asks for a signature without a key
PEM = "-----BEGIN"


@dataclass(frozen=True)
class SigningKey:
    """A private key of an elliptic curve, as PEM."""

    pem: bytes
    passphrase: bytes | None
    fingerprint: str

    def has_signed(self, signer: Signer) -> bool:
        return signer.key == self.fingerprint

    def configure(self, config: Any, folder: Path) -> Any:
        """`config` with this key, which model-signing reads from a file in `folder`."""
        file = folder / "key"
        file.touch(mode=0o600)
        file.write_bytes(self.pem)
        return config.use_elliptic_key_signer(private_key=file, password=self.passphrase)


@dataclass(frozen=True)
class JobIdentity:
    """The identity that a forge or a cloud gives to the job that this is."""

    def has_signed(self, signer: Signer) -> bool:
        return bool(signer.subjects)

    def configure(self, config: Any, folder: Path) -> Any:
        from sigstore.oidc import IdentityError, detect_credential

        try:
            token = detect_credential()
        except IdentityError as error:
            raise InputError(f"{KEY}={IDENTITY}: {' '.join(str(error).split())}") from None
        if token is None:
            raise InputError(
                f"{KEY}={IDENTITY}: nothing here has an identity; run it in a job with an ID token, or set "
                f"{KEY} to a private key"
            )
        return config.use_sigstore_signer(identity_token=token, trust_config=trust_config())


def configured_signer() -> SigningKey | JobIdentity | None:
    """Who signs here; None if nobody does."""
    value = os.environ.get(KEY)
    if not value or value == IDENTITY:
        return JobIdentity() if value else None
    passphrase = os.environ.get(PASSPHRASE, "").encode() or None
    if value.startswith(PEM):
        return _signing_key(value.encode(), passphrase, KEY)
    return _signing_key(read_bytes(Path(value), f"correct {KEY}"), passphrase, value)


def _signing_key(pem: bytes, passphrase: bytes | None, where: str) -> SigningKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, passphrase)
        return SigningKey(pem, passphrase, fingerprint(key.public_key()))
    except TypeError:  # a passphrase that is missing, or one for a key that needs none
        need = "needs none; unset" if passphrase else "is encrypted; set"
        raise InputError(f"{where}: the private key {need} {PASSPHRASE}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError(
            f"{where}: cannot be used as a private key; it must be PEM, of the curve P-256, P-384 or P-521, "
            f"with its passphrase in {PASSPHRASE}"
        ) from None


def sign(files: Sequence[Path], provenance: Provenance, signer: SigningKey | JobIdentity, out: Path) -> None:
    """Write the statement about `files` and the signature of both into the folder `out`.

    They are to lie in one folder with the files, which then is what model-signing verifies.
    """
    from model_signing import hashing, signing
    from sigstore.errors import NetworkError

    with TemporaryDirectory() as private, TemporaryDirectory() as folder:
        for file in files:
            shutil.copy(file, folder)
        write_json(Path(folder) / STATEMENT, provenance.statement(files))
        try:
            config = signer.configure(signing.Config(), Path(private))
            whole = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
            config.set_hashing_config(whole).sign(folder, Path(folder) / SIGNATURE)
        except (InputError, Unavailable):
            raise
        except Exception as error:  # the errors of Sigstore's clients have no class in common
            kind = Unavailable if isinstance(error, NetworkError | OSError) else InputError
            reason = " ".join(str(error).split()) or str(error.__cause__)
            raise kind(f"{provenance}: cannot be signed: {reason[:300]}") from error
        for name in (STATEMENT, SIGNATURE):
            shutil.copy(Path(folder) / name, out)
