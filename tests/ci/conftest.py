"""The two forges, each in turn."""

import pytest

from tests.ci.stand_ins import FORGES, TOKEN, standing_in


@pytest.fixture(params=FORGES)
def forge(request, monkeypatch):
    """A stand-in, with this process as one of its jobs."""
    for name in ("GITHUB_API_URL", "CI_API_V4_URL"):
        monkeypatch.delenv(name, raising=False)
    with standing_in(request.param) as (stand_in, environment):
        commit = {"GITHUB_SHA": "c0ffee", "CI_COMMIT_SHA": "c0ffee"}
        tokens = {"GITHUB_TOKEN": TOKEN, "PROGAN_FORGE_TOKEN": TOKEN}
        for name, value in {**environment, **commit, **tokens}.items():
            monkeypatch.setenv(name, value)
        yield stand_in
