"""Pipelines that are compiled in the process of the tests.

kfp inspects the whole stack for each setting of a task: that of a thread is short, that of a test is not.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from pipelines import cli
from pipelines.compiling import compiled

_texts = {}


def compiled_once(*arguments):
    """`compiled`, once for the same arguments, and without counting memory, as test_refusals.py does."""
    key = repr(arguments)
    if key not in _texts:
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as thread:
            patch.setattr("pipelines.refusals.training_bytes", lambda *_: 0)
            _texts[key] = thread.submit(compiled, *arguments).result()
    return _texts[key]


def progan(*words):
    """What a command prints."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(CliRunner().invoke, cli.app, words, catch_exceptions=False).result().stdout
