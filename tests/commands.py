"""Processes that start at once: forks of a server that has imported what they need."""

import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("pipelines.cli", "pipelines.dvc", "components.build_dataset.stage", "components.train.launch"),
        *("components.evaluate.stage", "components.gate.stage", "components.report.stage"),
        *("components.register.stage", "mlflow.pyfunc", "tests.installed_packages"),
        *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
    ]
)
ENTER = """
import os

os.chdir(root)
os.environ.clear()
os.environ.update(environment)
"""
REDIRECT = """
import sys, tempfile

os.setsid()
tempfile.tempdir = None
output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(output, 1)
os.dup2(output, 2)
"""
PROGAN = """
sys.argv = ["progan", *words]
from pipelines.cli import main
main()
"""


class Command:
    """`progan` at work in the project `root`, whose registry lies there; what it says goes to `log`."""

    def __init__(self, words, root, log, code=PROGAN, **environment):
        """code: what runs instead. environment: variables besides this process's."""
        own = {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db", "TMPDIR": str(root)}
        environment = {**os.environ, **environment, **own}
        names = {"words": words.split(), "root": str(root), "environment": environment, "log": str(log)}
        self.log = log
        self.process = SERVER.Process(target=exec, args=(f"{ENTER}{REDIRECT}{code}", names))
        self.process.start()

    def end(self):
        """Its exit code and what it said."""
        self.process.join()
        return self.process.exitcode, self.log.read_text()

    def kill_after(self, seconds):
        """Kill it and the processes that it has started, unless it ends before."""
        self.process.join(seconds)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()


def at_once(code, *arguments):
    """What `code` puts into `told`, in a process for each of `arguments`, which are names with values.

    The processes are in the current folder, or in the one called `root`, and go on together after `wait()`.
    """
    together, running = SERVER.Barrier(len(arguments), timeout=120), []
    given = {"root": Path.cwd(), "environment": dict(os.environ), "together": together}
    for names in arguments:
        told = SERVER.SimpleQueue()
        start = f"{ENTER}\nwait = together.wait\n{code}"
        process = SERVER.Process(target=exec, args=(start, given | names | {"told": told}))
        process.start()
        running.append((process, told))
    return [_answers(process, told) for process, told in running]


def _answers(process, told):
    process.join()
    assert process.exitcode == 0
    answers = []
    while not told.empty():
        answers.append(told.get())
    return answers
