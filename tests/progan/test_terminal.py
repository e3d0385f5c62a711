"""Standard error that fails: work goes on, with the same result."""

import subprocess
import sys
from pathlib import Path

import pytest

from progan.progress import show_progress
from progan.terminal import unfailing_stderr


def test_a_full_disk_behind_stderr_stops_no_work(monkeypatch):
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with pytest.raises(OSError, match="No space left"), show_progress("r0004", "images") as advance:
            advance(8, 8)
        with unfailing_stderr(), show_progress("r0004", "images") as advance:
            advance(8, 8)
            print("a warning", file=sys.stderr)
        assert sys.stderr is full
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space left"):
            full.flush()
        full.buffer.raw.close()


def test_a_closed_stderr_stops_no_work():
    code = (
        "import sys; from progan.terminal import unfailing_stderr; assert sys.stderr is None\n"
        "with unfailing_stderr(): print('lost', file=sys.stderr)\n"
        "print('done')"
    )
    closed = subprocess.run(
        ["sh", "-c", f'exec 2>&-; exec {sys.executable} -c "$0"', code], stdout=subprocess.PIPE, text=True
    )
    assert closed.stdout == "done\n"


def test_a_terminal_without_a_character_shows_a_question_mark():
    code = "from progan.terminal import replace_unencodable; replace_unencodable(); print('4 · 8')"
    shown = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii", "PATH": ""}
    )
    assert shown.stdout == b"4 ? 8\n"
