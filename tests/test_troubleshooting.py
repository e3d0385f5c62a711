"""docs/troubleshooting.md has every line in which a command can end, and none that nothing prints."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("progan", "components", "pipelines", "ci")
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
ERRORS = {"InputError", "Interrupted", "Unavailable", "OutOfReach"}  # a test says that these are all
OTHERS = "## Environment, DVC, torch, MLflow, Kubeflow"  # the section of what is not ours to say
NOT_OURS = {"…: input should be a valid …"}  # pydantic's, behind the name of a key

# Where a message is not spelt out, because it is another's: a line of its own for it would say nothing.
PASSED_ON = {
    ("progan/config.py", "…: ……"): "what _require or pydantic said, behind file and key",
    ("progan/official/unpickling.py", "…: …"): "a line of this file, behind the name of the pickle",
    ("progan/official/weights.py", "…: …"): "a line of this folder, behind the name of the pickle",
    ("progan/official/weights.py", "…: …: …"): "the same, behind file and network",
    ("components/object_store/s3.py", "…/…: …; …"): "ONLY_THE_USER_HELPS: the page has its lines",
    ("components/register/registry.py", "…"): "told, so that it can lose its password: the page has it",
    ("pipelines/dvc.py", "DVC: …"): "what DVC said, in one line",
    ("pipelines/lint.py", "…: …"): "a finding, behind the name of its task",
    ("pipelines/lint.py", "…"): "findings, one by one",
    ("pipelines/cluster_checks.py", "…: …"): "what the API server says of a pod: the page has some of it",
    ("ci/bring_home.py", "…"): "the lines of the runs that cannot be collected",
}


def sources():
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def spelt(node):
    """What an expression of text can be, with … for its variable parts."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(p.value if isinstance(p, ast.Constant) else "…" for p in parts)]
        case ast.IfExp(body=one, orelse=other):
            return spelt(one) + spelt(other)
    return ["…"]


def messages(tree, are_findings=False):
    """The texts of errors: of our exceptions, of what is required of parameters; `yield`ed findings, too."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="_require"), args=[_, message]):
                yield from spelt(message)
            case ast.Call(func=ast.Name(id=name), args=[message, *_]) if name in ERRORS:
                yield from spelt(message)
            case ast.Yield(value=message) if are_findings:
                yield from spelt(message)


def lines(text):
    """The lines that the tables of a page explain."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [line for row in rows for line in re.findall(r"`(.+?)`", row)]


def is_explained(message, explained):
    pattern = re.compile(".*".join(map(re.escape, message.split("…"))))
    return any(pattern.fullmatch(line) for line in explained)


def says_something(message):
    return re.search("[a-z]{3}", message) is not None


def test_every_error_has_its_entry():
    explained = lines(PAGE)
    missing, silent = [], set()
    for file, tree in sources():
        for message in messages(tree, are_findings=file == "pipelines/lint.py"):
            if not says_something(message):
                silent.add((file, message))
            elif not is_explained(message, explained):
                missing.append(f"{file}: {message}")
    assert missing == [], "write into docs/troubleshooting.md what helps against these lines"
    assert silent == PASSED_ON.keys()


def test_all_classes_of_errors_are_looked_for():
    classes = [node for _, tree in sources() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    ours = {node.name for node in classes if {ast.unparse(b).rpartition(".")[2] for b in node.bases} & ERRORS}
    assert ours == ERRORS - {"InputError", "Interrupted"}


@pytest.mark.parametrize(
    "code",
    [
        'raise InputError(f"{path}: a trouble of a new kind; do this")',
        'raise Interrupted("a trouble of a new kind" if late else f"{key}: stopped at {kimg} images, …")',
        '_require(count > 0, f"{name} must be a trouble of a new kind")',
    ],
)
def test_a_new_error_is_missed(code):
    missing = [m for m in messages(ast.parse(code)) if not is_explained(m, lines(PAGE))]
    assert len(missing) == 1
    assert "a trouble of a new kind" in missing[0]


def test_no_entry_is_of_a_line_that_nothing_prints():
    said = {
        text
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for text in spelt(node)
    }
    ours, _ = PAGE.split(OTHERS)
    stale = {
        line
        for line in set(lines(ours)) - NOT_OURS
        for piece in re.split("…|; ", line)
        if not any(piece.strip(" :()") in text for text in said)
    }
    assert stale == set()
