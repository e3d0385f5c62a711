"""The overlays, as kustomize renders them."""

import pytest

from tests.infra.overlays import OVERLAYS, rendered


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request):
    return request.param


@pytest.fixture(scope="session")
def resources(overlay):
    return rendered(overlay)
