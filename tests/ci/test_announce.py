"""The commit says where its run is."""

import pytest

from ci.__main__ import announce, comment, number_to_do
from progan.errors import InputError
from tests.ci.stand_ins import CONTEXT

URL = "https://kubeflow.example.org/#/runs/details/run-1"


@pytest.fixture
def printed(tmp_path):
    def write(text):
        (tmp_path / "run.txt").write_text(text)
        return str(tmp_path / "run.txt")

    return write


def test_a_run_is_told_once(forge, printed):
    """GitLab refuses a state that a commit has already, as two triggers for one state would set."""
    for _ in range(2):
        announce(printed(f"3 of 9 tasks to do\n\n{URL}\n"))
    [(commit, status)] = forge.statuses.items()
    assert commit == "c0ffee"
    assert status["target_url"] == URL
    assert status["state"] == "pending"
    assert CONTEXT in (status.get("context"), status.get("name"))


def test_nothing_is_told_when_nothing_was_submitted(forge, printed):
    announce(printed("Nothing to do for the cluster: all 9 tasks are cached.\n"))
    announce(printed(""))
    assert forge.statuses == {}


def test_what_a_step_before_did_not_write_is_one_line(forge, tmp_path):
    for read in (announce, comment):
        with pytest.raises(InputError, match="run.txt: no such file; the .* has failed"):
            read(str(tmp_path / "run.txt"))
    with pytest.raises(InputError, match="no plan; pipe the output of progan plan --json"):
        number_to_do(b"")
