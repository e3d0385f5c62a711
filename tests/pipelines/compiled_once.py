"""Compiled pipelines, shared by all tests of a process."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.compiling import compiled

_texts = {}


def compiled_once(*arguments):
    """`compiled`, once for the same arguments, and without counting memory, as test_refusals.py does.

    kfp inspects the whole stack for each setting of a task: that of a thread is short, that of a test is not.
    """
    key = repr(arguments)
    if key not in _texts:
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as thread:
            patch.setattr("pipelines.refusals.training_bytes", lambda *_: 0)
            _texts[key] = thread.submit(compiled, *arguments).result()
    return _texts[key]
