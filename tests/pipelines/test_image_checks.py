"""What a registry must have besides an image, as BuildKit pushes it, on a stand-in for the registry's API."""

import base64
import hashlib
import json

import pytest

from pipelines.image_checks import check_attestations
from progan.errors import InputError
from tests.pipelines.http_server import serving

SPDX, SLSA = "https://spdx.dev/Document", "https://slsa.dev/provenance/v0.2"


@pytest.fixture
def registry():
    with serving({}) as server:
        server.host = server.url.removeprefix("http://")
        yield server


def push(registry, manifest):
    """Have the registry answer with this manifest; returns its digest."""
    digest = f"sha256:{hashlib.sha256(json.dumps(manifest).encode()).hexdigest()}"
    registry.answers["GET", f"/v2/team/progan/manifests/{digest}"] = manifest
    return digest


def push_image(registry, *attested, platforms=("amd64",)):
    """Push an index with an image for each platform, and what is attested of each; returns its reference."""
    entries = []
    for platform in platforms:
        image = push(registry, {"layers": [], "platform": platform})
        entries.append({"digest": image, "platform": {"architecture": platform, "os": "linux"}})
        layers = [{"annotations": {"in-toto.io/predicate-type": each}} for each in attested]
        annotations = {
            "vnd.docker.reference.digest": image,
            "vnd.docker.reference.type": "attestation-manifest",
        }
        attestation = push(registry, {"layers": layers, "of": image})
        entries.append({"digest": attestation, "annotations": annotations})
    return f"{registry.host}/team/progan@{push(registry, {'manifests': entries})}"


def refusal(image):
    with pytest.raises(InputError) as refused:
        check_attestations(image)
    return str(refused.value)


def test_an_image_with_both(registry):
    image = push_image(registry, SPDX, SLSA, platforms=("amd64", "arm64"))
    assert check_attestations(image) == "has SBOM and build provenance"
    assert check_attestations(image.replace("@", ":main@")) == "has SBOM and build provenance"


def test_images_that_lack_one(registry):
    assert "no SBOM" in refusal(push_image(registry, SLSA))
    assert "no build provenance" in refusal(push_image(registry, SPDX))
    assert "no SBOM" in refusal(f"{registry.host}/team/progan@{push(registry, {'layers': []})}")


def test_what_is_attested_of_one_platform_is_not_of_another(registry):
    image = push_image(registry, SPDX, SLSA)
    index = registry.answers["GET", f"/v2/team/progan/manifests/{image.partition('@')[2]}"]
    other = {"digest": push(registry, {"layers": [], "platform": "arm64"}), "platform": {}}
    index = {"manifests": [*index["manifests"], other]}
    assert "no SBOM" in refusal(f"{registry.host}/team/progan@{push(registry, index)}")


def test_a_registry_that_asks_for_a_token(registry, tmp_path, monkeypatch):
    """As the user of docker login."""
    image = push_image(registry, SPDX, SLSA)
    manifests = dict(registry.answers)
    challenge = f'Bearer realm="{registry.url}/token",service="registry",scope="repository:team/progan:pull"'

    def guarded(manifest):
        def answer(request):
            if request.headers.get("authorization") == "Bearer t0ken":
                return manifest
            return 401, {}, {"WWW-Authenticate": challenge}

        return answer

    def token(request):
        user = "Basic " + base64.b64encode(b"ann:horse").decode()
        return {"token": "t0ken"} if request.headers.get("authorization") == user else (401, {})

    registry.answers |= {path: guarded(manifest) for path, manifest in manifests.items()}
    registry.answers["GET", "/token"] = token
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert "answers 401; check the image, and docker login" in refusal(image)
    auths = {registry.host: {"auth": base64.b64encode(b"ann:horse").decode()}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    assert check_attestations(image) == "has SBOM and build provenance"
    assert registry.asked("GET", "/token")[-1].query == {
        "service": "registry",
        "scope": "repository:team/progan:pull",
    }


def test_a_registry_that_has_something_else(registry):
    image = push_image(registry, SPDX, SLSA)
    registry.answers["GET", f"/v2/team/progan/manifests/{image.partition('@')[2]}"] = {"manifests": []}
    assert "has something else as sha256:" in refusal(image)
    assert "answers 404" in refusal(f"{registry.host}/team/progan@sha256:{'0' * 64}")
