"""`progan` in processes of its own that start at once: forks of a server that has imported what they need."""

import multiprocessing
import os
import signal
from contextlib import suppress

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("pipelines.cli", "pipelines.dvc", "components.build_dataset.stage", "components.train.launch"),
        *("components.evaluate.stage", "components.gate.stage", "components.report.stage"),
        *("components.register.stage", "mlflow.pyfunc"),
        *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
    ]
)
START = """
import os, sys, tempfile

os.setsid()
os.chdir(root)
os.environ.update(environment)
tempfile.tempdir = None
output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(output, 1)
os.dup2(output, 2)
sys.argv = ["progan", *words]
from pipelines.cli import main
main()
"""


class Command:
    """A command at work in the project `root`, whose registry lies there; what it says goes to `log`.

    environment: variables besides those that the first command started with.
    """

    def __init__(self, words, root, log, **environment):
        environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db", "TMPDIR": str(root)}
        names = {"words": words.split(), "root": str(root), "environment": environment, "log": str(log)}
        self.log, self.process = log, SERVER.Process(target=exec, args=(START, names))
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
