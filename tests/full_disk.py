"""A disk that is full, and a command that is repeated while it grows."""

import os
import re
import subprocess

from tests.commands import Command


class Disk:
    """The disk at `folder`, which is full."""

    def __init__(self, folder):
        self.folder, status = folder, os.statvfs(folder)
        self.page, self.pages = status.f_bsize, status.f_blocks - status.f_bfree
        self.grow(0)

    def grow(self, pages):
        self.pages += pages
        size = f"remount,size={self.pages * self.page}"
        subprocess.run(["mount", "-o", size, self.folder], check=True)


def repeat_until_it_fits(words, project, log, step, **environment):
    """Repeat a command, which must refuse at first, as the full disk at `project` grows by `step` bytes."""
    disk, refusals = Disk(project), 0
    while (ended := Command(words, project, log, **environment).end())[0]:
        code, said = ended
        assert code == 2, said
        assert "Traceback" not in said
        [line] = [line for line in said.splitlines() if line.startswith("progan: ")]
        assert re.search("no space left|make room", line), said
        refusals += 1
        disk.grow(step // disk.page + 1)
    assert refusals
    assert not [path for path in project.rglob("*.partial*") if ".dvc" not in path.parts]


def size_of(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
