"""The jobs of .github/workflows and .gitlab-ci.yml, as scripts that run here.

A step's script runs in bash as the forge runs it: with the variables that its workflow, job and step set,
and with nothing of this process's environment that the forge would not give. Expressions in ${{ }} have the
values that a test gives; one that no test knows is an error.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

# What takes minutes and is run by everybody who runs these tests. Of the environment: it is the one we are
# in, so that make finds nothing to do. Of the others: whether make knows what to do.
SUBSTITUTES = {
    "make setup": "make --old-file=.venv/ready setup",
    "make lint": "make --dry-run lint",
    "make oldest-torch": "make --dry-run oldest-torch",
    "make servers": "make --dry-run servers",
    "make test": "make --dry-run test",
    "make test-slow": "make --dry-run test-slow",
}
OF_THE_MACHINE = ("PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Step:
    script: str
    variables: dict[str, str]  # with expressions, on GitHub


@dataclass(frozen=True)
class Done:
    printed: str
    outputs: str
    summary: str


def github_jobs():
    """{"workflow.yml: job": its steps that are scripts}"""
    found = {}
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        for name, job in workflow["jobs"].items():
            outer = workflow.get("env", {}) | job.get("env", {})
            steps = [Step(s["run"], outer | s.get("env", {})) for s in job["steps"] if "run" in s]
            found[f"{path.name}: {name}"] = steps
    return found


def gitlab():
    return yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())


def gitlab_jobs():
    """{".gitlab-ci.yml: job": its one script, as GitLab puts it together}"""
    config = gitlab()
    globals_ = {name: value["value"] for name, value in config["variables"].items()}
    found = {}
    for name, job in whole_gitlab_jobs().items():
        lines = [*job.get("before_script", config["default"]["before_script"]), *job["script"]]
        found[f".gitlab-ci.yml: {name}"] = [Step("\n".join(lines), globals_ | job.get("variables", {}))]
    return found


def whole_gitlab_jobs():
    """{job: all that it says, with what it extends}"""
    config = gitlab()
    keywords = {"workflow", "stages", "variables", "default"}
    names = [name for name in config if name not in keywords and not name.startswith(".")]
    return {name: _extended(config, name) for name in names}


def _extended(config, name):
    """A job with what it extends: mappings are merged, everything else is replaced."""
    job = config[name]
    bases = job.get("extends", [])
    whole = {}
    for base in [bases] if isinstance(bases, str) else bases:
        whole = _merged(whole, _extended(config, base))
    return _merged(whole, job)


def _merged(base, over):
    both = {key for key in base.keys() & over.keys() if isinstance(base[key], dict)}
    return base | over | {key: _merged(base[key], over[key]) for key in both}


JOBS = github_jobs() | gitlab_jobs()


def run(job, clone, expressions, environment):
    """Run the job's scripts in `clone`, one after the other; it fails as the job would.

    Gives back what they printed, and on GitHub their outputs and summary.

    expressions: {"vars.MAX_COST": "100", …}; environment: what the forge gives a job, which on GitLab has
    more weight than what the job says.
    """
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, check=True, capture_output=True, text=True)
    commit = dict.fromkeys(("GITHUB_SHA", "CI_COMMIT_SHA"), head.stdout.strip())
    scratch = clone.parent / "runner"
    scratch.mkdir(exist_ok=True)
    files = {name: scratch / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.write_text("")
    printed = ""
    for step in JOBS[job]:
        script = step.script
        for command, substitute in SUBSTITUTES.items():
            script = re.sub(rf"{command}(?![\w-])", substitute, script)
        variables = {name: _value(str(text), expressions) for name, text in step.variables.items()}
        machine = {name: os.environ[name] for name in OF_THE_MACHINE if name in os.environ}
        outputs = {name: str(file) for name, file in files.items()}
        given = {**machine, **variables, **environment, **commit, **outputs}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=clone, env=given, capture_output=True, text=True)
        assert done.returncode == 0, f"{job}: {script}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    outputs, summary = (file.read_text() for file in files.values())
    return Done(printed, outputs, summary)


def _value(text, expressions):
    """`text` with its expressions evaluated: names that the test gives, strings, and a || b."""

    def evaluated(match):
        for operand in match[1].split("||"):
            name = operand.strip()
            if value := name[1:-1] if name.startswith("'") else expressions[name]:
                return value
        return ""

    return re.sub(r"\$\{\{(.*?)\}\}", evaluated, text)
