"""What every task made, kept where later tasks, later runs and `progan collect` find it: a folder, or S3.

A phase's results are named by what decides them (components/digests.py), so that those of a task that the
cache skipped are found again and no phase is paid for twice; a run's own are named by the run:

    checkpoints/r0008-<digest>/networks.safetensors  optimizers.safetensors  checkpoint.json
    history/r0008-<digest>.csv  evaluation/r0008-<digest>.json  samples/r0008-<digest>.png
    nearest/r0008-<digest>.png  grids/r0008-<digest>/00080.000.png …
    score_network/<digest>/score_network.json …
    runs/<run>/run.json  verdict.json  registration.json  report.html …

The JSON file of a folder is written last: without it there is nothing yet.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from components import digests
from components.object_store import open_store
from components.score_network.stage import DESCRIPTION
from progan.config import Config
from progan.errors import InputError
from progan.files import atomic_folder, canonical_json, digest_of, read_json
from progan.snapshots import FACTS, NETWORKS, Checkpoint, read_checkpoint
from progan.store import Store
from progan.training import fingerprint

RUN, RUNNING = "run.json", "RUNNING"


@dataclass(frozen=True)
class Results:
    """What lies below `uri` for these parameters, this dataset (its digest) and this run."""

    uri: str
    config: Config
    dataset_digest: str
    run: str = ""

    @cached_property
    def store(self) -> Store:
        return open_store(self.uri)

    # --------------------------------------------------------------------------------------------
    # By what decides them

    def keep_training(self, key: str, checkpoint: Path, history: Path, grids: Path) -> None:
        """Keep a finished phase, its checkpoint last: what is there then is whole."""
        for file in grids.iterdir():
            self.store.upload(f"{self._grids(key)}/{file.name}", file)
        self.store.upload(self._history(key), history)
        self._keep_folder(self._checkpoint(key), checkpoint, FACTS)

    def fetch_training(
        self, key: str, init: Checkpoint | None, checkpoint: Path, history: Path, grids: Path
    ) -> bool:
        """Bring the phase `key` to these places; False if it was not finished, or not from `init`.

        What is there already is not fetched again. Raises InputError when what is kept is damaged.
        """
        name, facts = self._checkpoint(key), self.facts(key)
        if facts is None or not made_from(init, self.config, key, facts):
            return False
        if not self.store.download(self._history(key), history):
            return False
        self._fetch_grids(key, grids)
        if (checkpoint / FACTS).is_file() and read_checkpoint(checkpoint).facts == facts:
            return True
        with atomic_folder(checkpoint) as beside:
            self._fetch_folder(name, beside)
            try:
                read_checkpoint(beside)
            except InputError:
                raise InputError(
                    f"{self.uri}/{name}: damaged; delete {FACTS} there to have {key} trained again"
                ) from None
        return True

    def facts(self, key: str) -> dict[str, Any] | None:
        """What the checkpoint of the phase `key` says of itself; None when it was not finished."""
        content = self.store.read(f"{self._checkpoint(key)}/{FACTS}")
        return None if content is None else json.loads(content)

    def finished(self, more: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
        """The checkpoints, kept or among `more`, of the phases from the first on, as long as each began with
        the one before it; by what they say of themselves."""
        found, before = {}, started_from(self.config)
        for key in self.config.phases:
            facts = self.facts(key) or (more[key].facts if key in more else None)
            if facts is None or not made_from(before, self.config, key, facts):
                break
            found[key] = before = Checkpoint(Path("checkpoints") / key, facts)
        return found

    def gather_checkpoints(self, out: Path) -> Iterator[str]:
        """Lay out finished phases in the folder `out`, as `dvc repro` does: the key of each as it comes.

        The first that is not finished, or did not begin with the one before it, ends them.
        """
        before = started_from(self.config)
        for key in self.config.phases:
            checkpoint, history = out / "checkpoints" / key, out / "history" / f"{key}.csv"
            if not self.fetch_training(key, before, checkpoint, history, out / "grids" / key):
                return
            before = opened(checkpoint)
            yield key

    def keep_evaluation(self, key: str, evaluation: Path, samples: Path, nearest: Path) -> None:
        """Keep what was measured and drawn, the measures last: what is there then belongs together."""
        self.store.delete(self._evaluated("evaluation", key, "json"))
        self.store.upload(self._evaluated("samples", key, "png"), samples)
        self.store.upload(self._evaluated("nearest", key, "png"), nearest)
        self.store.upload(self._evaluated("evaluation", key, "json"), evaluation)

    def is_evaluated(self, key: str, checkpoint: Checkpoint) -> bool:
        """Whether the measures of this checkpoint of the phase `key` are kept."""
        content = self.store.read(self._evaluated("evaluation", key, "json"))
        return content is not None and json.loads(content)["checkpoint"] == checkpoint.digest

    def fetch_evaluation(
        self, key: str, checkpoint: Checkpoint, evaluation: Path, samples: Path, nearest: Path
    ) -> bool:
        """Bring the measures of this checkpoint to these places; False when they are not kept."""
        places = {
            self._evaluated("samples", key, "png"): samples,
            self._evaluated("nearest", key, "png"): nearest,
            self._evaluated("evaluation", key, "json"): evaluation,
        }
        return self.is_evaluated(key, checkpoint) and all(
            self.store.download(name, place) for name, place in places.items()
        )

    def has_score_network(self) -> bool:
        return self.store.read(f"{self._score_network()}/{DESCRIPTION}") is not None

    def score_network(self) -> dict[str, bytes]:
        """The files of the score network by their names; none when it is not kept."""
        names = self.store.names(self._score_network()) if self.has_score_network() else []
        return {Path(name).name: self.store.read(name) or b"" for name in names}

    def keep_score_network(self, folder: Path) -> None:
        self._keep_folder(self._score_network(), folder, DESCRIPTION)

    def fetch_score_network(self, out: Path) -> bool:
        """Bring the score network to the folder `out`; False when there is none yet."""
        if not self.has_score_network():
            return False
        with atomic_folder(out) as beside:
            self._fetch_folder(self._score_network(), beside)
        return True

    def gather(self, out: Path) -> None:
        """Lay out in the folder `out`, as `dvc repro` does, whatever there is but for checkpoints."""
        for key in self.config.phases:
            self.store.download(self._history(key), out / f"history/{key}.csv")
            self._fetch_grids(key, out / f"grids/{key}")
            self.store.download(self._evaluated("evaluation", key, "json"), out / f"evaluation/{key}.json")
            self.store.download(self._evaluated("samples", key, "png"), out / f"samples/{key}.png")
            self.store.download(self._evaluated("nearest", key, "png"), out / f"samples/{key}-nearest.png")
        for name in ("verdict.json", "registration.json"):
            self.fetch_of_run(out / name)

    # --------------------------------------------------------------------------------------------
    # By the run

    def keep_state(self, state: str, error: str = "") -> None:
        """Keep what the run is of, and how it stands, in Kubeflow's words."""
        facts = {"state": state, "error": error, "dataset": self.dataset_digest}
        decides = {"params": asdict(self.config), "params_digest": digests.all_params(self.config)}
        self.store.write(self._of_run(RUN), canonical_json(facts | decides).encode())

    def keep_report(self, folder: Path, state: str, error: str) -> None:
        """Keep the files and folders of the report, and how the run ended."""
        for file in folder.iterdir():
            self.keep_for_run(file)
        self.keep_state(state, error)

    def keep_for_run(self, path: Path) -> None:
        """Keep a file, or the files of a folder, by its name."""
        for file in path.iterdir() if path.is_dir() else [path]:
            self.store.upload(self._of_run(file.relative_to(path.parent).as_posix()), file)

    def fetch_of_run(self, path: Path) -> bool:
        """Bring the file or folder that the run kept by the name of `path` there; False when it kept none."""
        name = self._of_run(path.name)
        if self.store.download(name, path):
            return True
        if not self.store.names(name):
            return False
        with atomic_folder(path) as beside:
            self._fetch_folder(name, beside)
        return True

    # --------------------------------------------------------------------------------------------

    def _fetch_grids(self, key: str, out: Path) -> None:
        """Bring what pictures over training there are to the folder `out`."""
        with atomic_folder(out) as beside:
            self._fetch_folder(self._grids(key), beside)

    def _keep_folder(self, name: str, folder: Path, last: str) -> None:
        self.store.delete(f"{name}/{last}")
        for file in sorted(folder.iterdir(), key=lambda file: file.name == last):
            self.store.upload(f"{name}/{file.name}", file)

    def _fetch_folder(self, name: str, out: Path) -> None:
        for each in self.store.names(name):
            self.store.download(each, out / Path(each).name)

    def _checkpoint(self, key: str) -> str:
        return f"checkpoints/{key}-{self._digest(digests.train_params(self.config, key))}"

    def _history(self, key: str) -> str:
        return f"history/{key}-{self._digest(digests.train_params(self.config, key))}.csv"

    def _grids(self, key: str) -> str:
        return f"grids/{key}-{self._digest(digests.train_params(self.config, key))}"

    def _evaluated(self, what: str, key: str, suffix: str) -> str:
        return f"{what}/{key}-{self._digest(digests.evaluate_params(self.config, key))}.{suffix}"

    def _score_network(self) -> str:
        return f"score_network/{self._digest(digests.score_network_params(self.config))}"

    def _of_run(self, name: str) -> str:
        return f"runs/{self.run}/{name}"

    def _digest(self, params_digest: str) -> str:
        return digest_of([params_digest, self.dataset_digest])[:16]


def opened(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, by what it says of itself alone."""
    return Checkpoint(folder, read_json(folder / FACTS))


def started_from(config: Config) -> Checkpoint | None:
    """The checkpoint of a registered version that the first phase begins with, as far as its digest tells."""
    for key, start in config.warm_start.items():
        return Checkpoint(Path("checkpoints") / key, {"files": {NETWORKS: start.checkpoint}})
    return None


def made_from(init: Checkpoint | None, config: Config, key: str, facts: dict[str, Any]) -> bool:
    """Whether the checkpoint that says `facts` of itself is of the phase `key` and began with `init`.

    A name says parameters and data, but not on which machine the phase before was trained: the last bits
    of that, which this phase began with, differ from machine to machine.
    """
    return facts["fingerprint"] == fingerprint(config, config.phase(key), facts["dataset"]["digest"], init)


def run_facts(uri: str, run: str) -> dict[str, Any] | None:
    """What run.json says of the run; None when there is none of this name."""
    content = open_store(uri).read(f"runs/{run}/{RUN}")
    return None if content is None else json.loads(content)
