"""Links lead somewhere, commands exist with their options, variables are explained, pictures are small."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from pipelines import cli
from progan import presets

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / f"{room}README.md" for room in ("", "data/", "infra/")),
    *sorted((ROOT / "docs").glob("*.md")),
]
LARGEST_PICTURE = 300_000  # bytes
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
SHELL_OPERATORS = {"|", "&&", ";", ">", ">>", "&"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page):
    return FENCE.sub("", page.read_text())


def links(page):
    """Where the page's relative links lead: files, and headings in them."""
    for is_picture, target in LINK.findall(prose(page)):
        if "://" not in target:
            file, _, heading = target.partition("#")
            yield bool(is_picture), (page.parent / file).resolve() if file else page, heading


def anchors(page):
    """The headings as GitHub links to them."""
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def shell_commands(page):
    """The words of each command in the page's fenced blocks."""
    for block in FENCE.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines()[1:-1]:
            if "progan" in line:
                lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                yield from split(lexer)


def split(words):
    command = []
    for word in (*words, ";"):
        if word in SHELL_OPERATORS:
            yield command
            command = []
        else:
            command.append(word)


def progan_commands(page):
    for command in shell_commands(page):
        while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
            command = command[1:]
        if command and command[0] in ("progan", ".venv/bin/progan"):
            yield command[1:]


@pages
def test_links_lead_somewhere(page):
    for _, file, heading in links(page):
        assert file.exists(), file
        assert not heading or heading in anchors(file), f"{file}#{heading}"


@pages
def test_command_lines_are_understood(page):
    for words in progan_commands(page):
        command = typer.main.get_command(cli.app)
        while hasattr(command, "commands"):
            name, *words = words
            assert name in command.commands, name
            command = command.commands[name]
        with command.make_context(name, list(words)):
            pass
        if command.name == "show" and "name" in {parameter.name for parameter in command.params}:
            assert words[0] in presets.listed(), words


@pages
def test_commands_named_in_passing_exist(page):
    known = typer.main.get_command(cli.app).commands
    for name in re.findall(r"`(?:\.venv/bin/)?progan ([a-z-]+)", prose(page)):
        assert name.startswith("-") or name in known, name


def test_command_lines_are_found():
    """The tests above look at something: quick start, plan and pictures have several each."""
    found = {page.name: len(list(progan_commands(page))) for page in PAGES}
    assert min(found["quick-start.md"], found["plan.md"], found["pictures.md"]) >= 3


def test_pictures_are_there_small_and_shown():
    shown = {file for page in PAGES for is_picture, file, _ in links(page) if is_picture}
    kept = {file for ending in ("png", "gif") for file in (ROOT / "docs").glob(f"*.{ending}")}
    assert shown == kept
    assert not [file for file in kept if file.stat().st_size > LARGEST_PICTURE]


def test_the_map_shows_every_room():
    rooms = prose(ROOT / "README.md").partition("## The map of the house")[2].partition("\n## ")[0]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    folders = {Path(file).parts[:-1] for file in listed.splitlines()}
    names = {parts[0] for parts in folders if parts and not parts[0].startswith(".")}
    names |= {parts[1] for parts in folders if parts[:1] == ("components",) and len(parts) > 1}
    assert {name for name in names if not re.search(rf"`{name}/?`", rooms)} == set()


def test_every_environment_variable_is_explained():
    """Ours are exactly those of the code; others' are at least those that Python code reads or sets."""
    told = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", (ROOT / "docs/environment.md").read_text()))
    rooms = ("progan", "components", "pipelines", "ci", "Dockerfile", "Makefile", ".gitlab-ci.yml", ".github")
    grep = ["git", "grep", "--no-index", "--exclude-standard", "-hE", "environ|envvar|PROGAN_", "--", *rooms]
    lines = subprocess.run(grep, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    ours = set(re.findall(r"\bPROGAN_[A-Z_]+", lines))
    others = set(re.findall(r"""(?:environ(?:\.\w+\(|\[)|envvar=)['"]([A-Z0-9_]+)['"]""", lines))
    assert {name for name in told if name.startswith("PROGAN_")} == ours
    assert len(others) > 20
    assert others - told == set()


def test_every_page_is_found_from_the_first():
    linked = {file for _, file, _ in links(ROOT / "README.md")}
    assert [page for page in PAGES[1:] if page not in linked] == []


def test_every_promise_names_its_test():
    """docs/promises.md: a row of its tables ends with tests, and they exist."""
    rows = re.findall(r"^\| (?!promise|---)(.*) \|$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    for row in rows:
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row.rpartition("|")[2])
        assert tests, row
        for file, name in tests:
            assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"
