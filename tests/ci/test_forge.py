"""The verbs, with both forges: what people find there afterwards."""

import subprocess
import sys

import pytest

from ci.forge import LONGEST_TEXT, Status, current_forge
from progan.errors import InputError
from tests.ci.jobs import ROOT
from tests.ci.stand_ins import PullRequest

RUN = "https://kubeflow.example.org/#/runs/details/run-1"


def test_a_comment_replaces_what_was_said_about_the_same(forge):
    here = current_forge()
    here.comment(3, "plan", "8 hours")
    here.comment(3, "verdict", "passed")
    here.comment(4, "plan", "of another pull request")
    here.comment(3, "plan", "9 hours")
    assert [text.splitlines()[1:] for text in forge.texts(3)] == [["9 hours"], ["passed"]]
    assert len(forge.texts(4)) == 1


def test_others_may_write_what_they_like(forge):
    """A marker in somebody else's comment is not ours to write over, nor is one further down in a text."""
    here = current_forge()
    here.comment(3, "plan", "8 hours")
    marker = forge.texts(3)[0].splitlines()[0]
    forge.comments[3].clear()
    theirs = [f"{marker}\nspoofed", f"> {marker}\n> 8 hours\n\nSo long?"]
    for text, author in zip(theirs, [forge.SOMEBODY, forge.ME], strict=True):
        forge.say(3, text, author)
    here.comment(3, "plan", "9 hours")
    assert forge.texts(3) == [*theirs, f"{marker}\n9 hours"]


def test_a_comment_is_found_behind_many_others_and_cut_where_it_is_too_long(forge):
    for number in range(250):
        forge.say(3, str(number), forge.SOMEBODY)
    here = current_forge()
    here.comment(3, "plan", "x" * 2 * LONGEST_TEXT)
    here.comment(3, "plan", "y" * 2 * LONGEST_TEXT)
    assert len(forge.texts(3)) == 251
    assert forge.texts(3)[-1].endswith("y" * LONGEST_TEXT)


def test_a_status_says_what_became_of_a_commit(forge):
    here = current_forge()
    assert here.status("c0ffee") is None
    for state in ("pending", "success"):
        here.set_status("c0ffee", Status(state, RUN), "as people see it")
        assert here.status("c0ffee") == Status(state, RUN)
    assert forge.statuses["c0ffee"]["description"] == "as people see it"
    assert here.status("other") is None


def test_a_proposal_is_one_pull_request_however_often_it_is_made(forge):
    forge.known_files |= {"dvc.lock", "old.json"}
    here = current_forge()
    first = here.propose("results/run-1", "abc", {"dvc.lock": "old"}, "Take the results", "text")
    files = {"dvc.lock": "new", "notes.md": "more", "old.json": None}
    again = here.propose("results/run-1", "def", files, "Take them", "other")
    assert first == again == 1
    assert forge.pulls == [PullRequest(1, "results/run-1", "main", "Take them", "other")]
    assert forge.branches["results/run-1"]["parent"] == "def"
    assert forge.branches["results/run-1"]["files"] == files
    forge.pulls[0].open = False
    assert here.propose("results/run-1", "def", {"dvc.lock": "newer"}, "Take the results", "text") == 2


def test_what_goes_wrong_is_one_line(forge, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "expired")
    monkeypatch.setenv("PROGAN_FORGE_TOKEN", "expired")
    with pytest.raises(InputError, match=r"GET http://127.0.0.1:\d+/.*: 401: .*Unauthorized"):
        current_forge().comment(3, "plan", "8 hours")
    monkeypatch.undo()
    monkeypatch.delenv("GITHUB_API_URL", raising=False)
    with pytest.raises(InputError, match="not a job of GitHub or GitLab"):
        current_forge()


def test_an_answer_that_is_no_json_is_one_line(forge):
    """As that of a proxy that wants people to sign in."""
    forge.routes = {".*": lambda request: (200, b"<html>")}
    with pytest.raises(InputError, match=r"GET http://127.0.0.1:\d+/.*: answers no JSON \("):
        current_forge().status("c0ffee")


def test_a_status_that_somebody_has_cancelled(forge):
    here = current_forge()
    here.set_status("c0ffee", Status("pending", RUN), "as people see it")
    forge.statuses["c0ffee"] |= {"status": "canceled", "state": "error"}  # on GitLab, on GitHub
    assert here.status("c0ffee").state in ("failure", "error")


def test_what_is_not_there_is_one_line(forge):
    with pytest.raises(InputError, match="POST http.*/statuses/not-a-commit: 404"):
        current_forge().set_status("not-a-commit", Status("pending", RUN), "…")


def test_the_job_that_comments_needs_a_bare_python_only():
    """It has no environment: nothing but the standard library, in Python's -S."""
    command = [sys.executable, "-S", "-m", "ci", "comment", "none.md"]
    bare = subprocess.run(command, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True)
    assert "not a job of GitHub or GitLab" in bare.stderr
