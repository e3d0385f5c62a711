"""Verify that files are as a trusted signer signed them, and about what they are expected to be."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from components.signatures.bundle import Signer, digests_in, signer_of
from components.signatures.statement import SIGNATURE, STATEMENT, Provenance
from components.signatures.trust import Identity, TrustedSigners, fingerprint, public_key, trust_config
from progan.errors import InputError
from progan.files import sha256_file


@dataclass(frozen=True)
class Verified:
    """A signature that holds: by whom, over what."""

    by: str
    provenance: Provenance


def verify(folder: Path, what: str, trusted: TrustedSigners, **expected: str | None) -> Verified:
    """Raise InputError unless one of `trusted` signed the files in `folder` as they are.

    what: the folder, for messages. expected: fields of the provenance, such as its model and version.
    """
    signature = folder / SIGNATURE
    if not signature.is_file():
        raise InputError(f"{what}: is not signed, but must be, by {trusted}; see docs/signing.md")
    try:
        signer = signer_of(signature)
    except ValueError as error:
        raise InputError(f"{what}: {SIGNATURE} is damaged: {error}") from None
    candidates = [each for each in _verifiers(trusted) if each.may_be(signer)]
    if not candidates:
        raise InputError(f"{what}: signed by {signer}, who is not trusted; trusted: {trusted}")
    by = _verify_files(folder, what, signer, candidates)
    provenance = Provenance.read(folder / STATEMENT, what)
    for name, value in expected.items():
        if (signed := getattr(provenance, name)) != value:
            raise InputError(f"{what}: {by} signed it as another one: its {name} is {signed}, not {value}")
    return Verified(by, provenance)


def _verify_files(folder: Path, what: str, signer: Signer, candidates: "list[_Verifier]") -> str:
    """The name of the trusted signer whose signature holds."""
    from model_signing import verifying

    for candidate in candidates:
        with TemporaryDirectory() as scratch:
            try:
                config = candidate.configure(verifying.Config(), Path(scratch))
                config.verify(folder, folder / SIGNATURE)
                return candidate.name
            except InputError:
                raise
            except Exception as error:  # whatever the reason, it is not verified
                reason = " ".join(str(error).split())[:200] or "it is forged"
    if changed := _changed(folder):
        raise InputError(f"{what}: changed since {signer} signed it: {', '.join(changed)}")
    raise InputError(f"{what}: the signature of {signer} does not hold: {reason}")


def _changed(folder: Path) -> list[str]:
    """The files that the signature has otherwise, added and missing ones too; none if it is illegible."""
    try:
        signed = digests_in(folder / SIGNATURE)
    except (ValueError, LookupError, TypeError):
        return []
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    present = {name: sha256_file(file) for name, file in files.items() if name != SIGNATURE}
    return sorted({name for name, _ in signed.items() ^ present.items()})


# ------------------------------------------------------------------------------------------------
# Trusted signers, and how model-signing verifies theirs


class _Verifier(Protocol):
    @property
    def name(self) -> str: ...

    def may_be(self, signer: Signer) -> bool:
        """Whether a signature that names `signer` may be this one's."""

    def configure(self, config: Any, scratch: Path) -> Any:
        """`config` of model-signing, to expect this signer; `scratch` is a folder for a while."""


def _verifiers(trusted: TrustedSigners) -> "list[_Verifier]":
    keys = [_Key(name, pem) for name, pem in trusted.keys.items()]
    return [*keys, *map(_Certificate, trusted.identities)]


@dataclass(frozen=True)
class _Key:
    name: str
    pem: str

    def may_be(self, signer: Signer) -> bool:
        return signer.key == fingerprint(public_key(self.pem.encode()))

    def configure(self, config: Any, scratch: Path) -> Any:
        file = scratch / "key.pem"
        file.write_text(self.pem)
        return config.use_elliptic_key_verifier(public_key=file)


@dataclass(frozen=True)
class _Certificate:
    identity: Identity

    @property
    def name(self) -> str:
        return self.identity.subject

    def may_be(self, signer: Signer) -> bool:
        return self.identity.subject in signer.subjects

    def configure(self, config: Any, scratch: Path) -> Any:
        identity, issuer = self.identity.subject, self.identity.issuer
        return config.use_sigstore_verifier(
            identity=identity, oidc_issuer=issuer, trust_config=trust_config()
        )
