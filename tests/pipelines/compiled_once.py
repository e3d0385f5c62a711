"""Compiled pipelines, shared by all tests of a process."""

import pytest

from pipelines.compiling import compiled

_texts = {}


def compiled_once(*arguments):
    """`compiled`, once for the same arguments, and without counting memory, as test_refusals.py does."""
    key = repr(arguments)
    if key not in _texts:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipelines.refusals.training_bytes", lambda *_: 0)
            _texts[key] = compiled(*arguments)
    return _texts[key]
