"""The small results of every task, kept where later tasks and later runs find them.

A phase's are named by what decides them, so that those of a task that the cache skipped are found again;
a run's verdict, registration and report are named by the run:

    history/r0008-<digest>.csv  evaluation/r0008-<digest>.json  samples/r0008-<digest>.png
    nearest/r0008-<digest>.png
    runs/<run>/verdict.json     runs/<run>/registration.json    runs/<run>/report.html
"""

from dataclasses import dataclass
from pathlib import Path

from components import digests, storage
from progan.config import Config
from progan.files import digest_of


@dataclass(frozen=True)
class Results:
    """What lies below `uri` for these parameters, this dataset (its digest) and this run."""

    uri: str
    config: Config
    dataset_digest: str
    run: str = ""

    def keep_history(self, key: str, file: Path) -> None:
        storage.put(file, self._history(key))

    def keep_evaluation(self, key: str, evaluation: Path, samples: Path, nearest: Path) -> None:
        storage.put(evaluation, self._evaluated("evaluation", key, "json"))
        storage.put(samples, self._evaluated("samples", key, "png"))
        storage.put(nearest, self._evaluated("nearest", key, "png"))

    def keep_for_run(self, file: Path) -> None:
        storage.put(file, f"{self.uri}/runs/{self.run}/{file.name}")

    def gather(self, out: Path) -> None:
        """Lay out in the folder `out`, as `dvc repro` does, whatever there is."""
        for key in self.config.phases:
            storage.get(self._history(key), out / f"history/{key}.csv")
            storage.get(self._evaluated("evaluation", key, "json"), out / f"evaluation/{key}.json")
            storage.get(self._evaluated("samples", key, "png"), out / f"samples/{key}.png")
            storage.get(self._evaluated("nearest", key, "png"), out / f"samples/{key}-nearest.png")
        for name in ("verdict.json", "registration.json"):
            storage.get(f"{self.uri}/runs/{self.run}/{name}", out / name)

    def _history(self, key: str) -> str:
        return self._named("history", key, digests.train_params(self.config, key), "csv")

    def _evaluated(self, what: str, key: str, suffix: str) -> str:
        return self._named(what, key, digests.evaluate_params(self.config, key), suffix)

    def _named(self, what: str, key: str, params_digest: str, suffix: str) -> str:
        return f"{self.uri}/{what}/{key}-{digest_of([params_digest, self.dataset_digest])[:16]}.{suffix}"
