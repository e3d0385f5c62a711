"""This checkout as DVC knows it: what dvc.lock names, wherever it lies, and saying there what was made."""

import contextlib
import json
import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from progan.errors import InputError

if TYPE_CHECKING:
    from components.receipts import Receipt
    from components.stages import Task
    from progan.dataset.manifest import Manifest


class OutOfReach(InputError):
    """What dvc.lock knows lies in a remote that cannot be read from here."""


class Checkout:
    """The project in the current folder. Names are paths in it; its data may be here, in DVC's cache, or in
    the remote."""

    @cached_property
    def repo(self) -> Any:
        from dvc.repo import Repo

        logging.getLogger("dvc").setLevel(logging.ERROR)
        with one_line():
            return Repo()

    def json(self, name: str) -> Any:
        """The JSON in a file; None when dvc.lock does not know it, or it lies nowhere."""
        content = self.read(name)
        return None if content is None else json.loads(content)

    def read(self, name: str) -> bytes | None:
        """What is in a file; None when dvc.lock does not know it, or it lies nowhere."""
        from dvc_data.index import DataIndexDirError

        with one_line():
            try:
                return self._files.read_bytes(f"/{name}")
            except FileNotFoundError:
                return None
            except DataIndexDirError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    return None
                raise

    def receipt(self, task: "Task", identity: str) -> "Receipt | None":
        """That of the task with this identity; None when its result is not known here."""
        from components.receipts import Receipt

        content = self.read(str(task.receipt))
        receipt = None if content is None else Receipt.parse(content, str(task.receipt))
        return receipt if receipt and receipt.identity == identity else None

    def manifest(self, dataset: str) -> "Manifest | None":
        """That of the built dataset which is known by the name `dataset`."""
        from progan.dataset.reader import parse_manifest

        values = self.json(f"{dataset}/dataset.json")
        return None if values is None else parse_manifest(values, f"{dataset}/dataset.json")

    def fetch(self, name: str, to: Path) -> None:
        """Bring the file or folder `name` to `to`."""
        with one_line():
            self._files.get(f"/{name}", str(to), recursive=True)

    def stale(self) -> list[str]:
        """What `dvc repro` would do if all data were here: the stages that dvc.lock does not say were done
        with parameters and data as they are, and the .dvc files whose data is another."""
        with self._stages() as stages:
            all_of_them = list(stages.values())
            return [
                name
                for name, stage in stages.items()
                if stage.changed(allow_missing=True, upstream=all_of_them)
                or any("modified" in out.workspace_status().values() for out in stage.outs)
            ]

    def outputs(self, stage: str) -> list[Path]:
        """What the stage makes."""
        with self._stages() as stages:
            return [Path(str(out)) for out in stages[stage].outs]

    def claim(self, names: list[str]) -> None:
        """Let dvc.lock say that the stages of these names made what lies here, and put it into the cache.

        Data that they read and that is not here counts as what dvc.lock says of it.
        """
        with self._stages() as stages:
            claimed = [stages[name] for name in names]
            for stage in claimed:
                for dependency in stage.deps:
                    if not dependency.exists:
                        self._take_from_lock(dependency)
                stage.save(allow_missing=True, run_cache=False)
                stage.commit()
            if claimed:
                claimed[0].dvcfile.dump_stages(claimed, update_pipeline=False)

    def push(self, stages: list[str]) -> None:
        """Send what those stages made, and what they made it of, to the remote."""
        with one_line():
            self.repo.push(targets=stages, with_deps=True)

    @cached_property
    def _files(self) -> Any:
        from dvc.api import DVCFileSystem

        return DVCFileSystem(repo=self.repo)

    @contextlib.contextmanager
    def _stages(self) -> Iterator[dict[str, Any]]:
        """DVC's stages by name, while nobody else changes anything."""
        from dvc.repo import lock_repo

        with one_line(), lock_repo(self.repo):
            yield {stage.addressing: stage for stage in self.repo.index.stages}

    def _take_from_lock(self, dependency: Any) -> None:
        """Give a dependency that is not here the digest of that part of the output it belongs to."""
        path = PurePosixPath(dependency.fs_path)
        for out in self.repo.index.outs:
            if path.is_relative_to(out.fs_path) and out.hash_info:
                is_all = dependency.fs_path == out.fs_path
                part = out if is_all else out.get_dir_cache() and out.get_obj(filter_info=dependency.fs_path)
                if part and part.hash_info != dependency.hash_info:
                    dependency.hash_info, dependency.meta = part.hash_info, type(out.meta)()
                if part:
                    return
        raise InputError(f"{dependency}: not here, and dvc.lock does not know it; run dvc repro or dvc pull")


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn what DVC, and the clients of its remote, raise into one clear line."""
    from botocore.exceptions import BotoCoreError, ClientError
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    try:
        yield
    except DvcException as error:
        raise InputError(f"DVC: {' '.join(str(error).split())}") from error
    except (DataIndexDirError, BotoCoreError, ClientError, OSError) as error:
        why = " ".join(str(error.__cause__ or error).split())
        raise OutOfReach(f"DVC: {why}; check its remote, your credentials and the disk") from error
