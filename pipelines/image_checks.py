"""What the registry of the image has besides it: the SBOM and the build provenance that BuildKit attaches."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import requests
from requests.utils import parse_dict_header

from progan.errors import InputError

TYPES = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in ("oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.list.v2")
)
REQUIRED = {"SBOM": "https://spdx.dev/Document", "build provenance": "https://slsa.dev/provenance/"}
TIMEOUT_SECONDS = 15


def check_attestations(image: str) -> str:
    """What every platform's image has; InputError if one lacks the SBOM or the build provenance."""
    from docker.auth import resolve_repository_name

    address, _, digest = image.partition("@")
    host, repository = resolve_repository_name(address)
    registry = _Registry(host, repository.partition(":")[0])
    entries = registry.manifest(digest).get("manifests", [])
    images = [entry["digest"] for entry in entries if not _subject(entry)]
    predicates = {
        subject: set(_predicates(registry, entry)) for entry in entries if (subject := _subject(entry))
    }
    for name, prefix in REQUIRED.items():
        have_it = {
            subject for subject, types in predicates.items() if any(each.startswith(prefix) for each in types)
        }
        if not images or not have_it.issuperset(images):
            raise InputError(f"has no {name}; build it with make image, or set attested to false")
    return f"has {' and '.join(REQUIRED)}"


def _subject(entry: dict[str, Any]) -> str | None:
    """The digest of the image that an entry of an index attests something of; None if it is an image."""
    annotations = entry.get("annotations") or {}
    if annotations.get("vnd.docker.reference.type") != "attestation-manifest":
        return None
    return annotations.get("vnd.docker.reference.digest", "nothing")


def _predicates(registry: "_Registry", entry: dict[str, Any]) -> Iterator[str]:
    """The types of what an attestation manifest says."""
    for layer in registry.manifest(entry["digest"])["layers"]:
        yield (layer.get("annotations") or {}).get("in-toto.io/predicate-type", "")


@dataclass
class _Registry:
    """One repository of a registry, by the API of the Open Container Initiative."""

    host: str
    repository: str
    user: tuple[str, str] | None = None  # for a registry that asks for the password itself
    headers: dict[str, str] = field(default_factory=lambda: {"Accept": TYPES})

    def manifest(self, digest: str) -> dict[str, Any]:
        """The manifest with this digest."""
        answer = self._get(digest)
        if answer.status_code == HTTPStatus.UNAUTHORIZED and self._sign_in(answer):
            answer = self._get(digest)
        if answer.status_code != HTTPStatus.OK:
            raise InputError(f"{self.host} answers {answer.status_code}; check the image, and docker login")
        if f"sha256:{hashlib.sha256(answer.content).hexdigest()}" != digest:
            raise InputError(f"{self.host} has something else as {digest[:19]}")
        return json.loads(answer.content)

    def _get(self, digest: str) -> requests.Response:
        scheme = "http" if self.host.partition(":")[0] in ("localhost", "127.0.0.1") else "https"
        url = f"{scheme}://{self.host}/v2/{self.repository}/manifests/{digest}"
        return requests.get(url, headers=self.headers, auth=self.user, timeout=TIMEOUT_SECONDS)

    def _sign_in(self, refusal: requests.Response) -> bool:
        """Sign in as the registry asks, as the user of `docker login` or as nobody; False if it refuses."""
        from docker.auth import load_config
        from docker.errors import DockerException

        scheme, _, challenge = refusal.headers.get("WWW-Authenticate", "").partition(" ")
        wanted = parse_dict_header(challenge)
        try:
            login = load_config().resolve_authconfig(self.host) or {}
        except DockerException as error:  # of a helper that keeps passwords
            raise InputError(f"{self.host}: {' '.join(str(error).split())}; check docker login") from None
        user = (login["username"], login["password"]) if login.get("username") else None
        if scheme.lower() != "bearer":
            self.user = user
            return user is not None
        asked = {name: wanted[name] for name in ("service", "scope") if name in wanted}
        answer = requests.get(wanted.get("realm", ""), params=asked, auth=user, timeout=TIMEOUT_SECONDS)
        token = answer.json() if answer.status_code == HTTPStatus.OK else {}
        self.headers["Authorization"] = f"Bearer {token.get('token') or token.get('access_token')}"
        return bool(token)
