"""Standard error as something that can fail: the terminal is gone, or the disk of its log is full."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def unfailing_stderr() -> Iterator[None]:
    """Within it, what cannot be written to standard error is dropped, so that no work stops for it."""
    before = sys.stderr
    with Path(os.devnull).open("w") as nowhere:
        sys.stderr = _Unfailing(before or nowhere)
        try:
            yield
        finally:
            sys.stderr = before


def replace_unencodable() -> None:
    """Have a terminal that has no such character show a question mark instead."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


class _Unfailing:
    """A stream whose writes never fail."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
