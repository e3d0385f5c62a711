"""DVC, through its Python API: read and record what dvc.lock names, and foresee what `dvc repro` would do."""

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipelines.photographs import written_by_dvc
from progan.errors import InputError
from progan.files import FULL, atomic_file, parse_json
from progan.validation import read_yaml

if TYPE_CHECKING:
    from components.receipts import Receipt
    from components.stages import Task
    from progan.dataset.manifest import Manifest

NEVER_RUN = "not run before"
PULL_FIRST = "run dvc pull first"
UNFINISHED = f".{22 * '?'}.tmp"  # what DVC calls a file that it is writing
DIGITS = 7  # of a digest, as shown


class OutOfReach(InputError):
    """A file that dvc.lock names is in a remote that cannot be read from here."""


class Checkout:
    """The project in the current folder. The files that dvc.lock names may be here, in DVC's cache or in the
    remote; they are called by their paths in the project."""

    @cached_property
    def repo(self) -> Any:
        from dvc.repo import Repo

        logging.getLogger("dvc").setLevel(logging.ERROR)
        with one_line():
            return Repo()

    def read(self, path: str) -> bytes | None:
        """The content of a file; None if dvc.lock does not name it, or nothing has a copy."""
        from dvc_data.index import DataIndexDirError

        with one_line():
            try:
                return self._files.read_bytes(f"/{path}")
            except FileNotFoundError:
                return None
            except DataIndexDirError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    return None
                raise

    def receipt(self, task: "Task", identity: str) -> "Receipt | None":
        """The receipt of the task with this identity; None if dvc.lock does not name its result."""
        from components.receipts import Receipt

        content = self.read(str(task.receipt))
        receipt = None if content is None else Receipt.parse(content, str(task.receipt))
        return receipt if receipt and receipt.is_of(task, identity) else None

    def manifest(self, dataset: str) -> "Manifest | None":
        """The manifest of the dataset in the folder `dataset`; None if dvc.lock does not name it."""
        from progan.dataset.manifest import MANIFEST_NAME
        from progan.dataset.reader import parse_manifest

        path = f"{dataset}/{MANIFEST_NAME}"
        content = self.read(path)
        try:
            return None if content is None else parse_manifest(parse_json(content), path)
        except ValueError as error:
            raise InputError(f"{path}: not valid JSON in DVC's cache ({error}); run dvc repro") from None

    def fetch(self, path: str, to: Path) -> None:
        """Copy a file or folder to `to`."""
        with one_line():
            self._files.get(f"/{path}", str(to), recursive=True)

    def stale(self) -> list[str]:
        """The stages that `dvc repro` would run, and the .dvc files whose data changed, by their names.

        Data that is not here counts as unchanged.
        """
        with self._stages() as stages:
            all_stages = list(stages.values())
            return [
                name
                for name, stage in stages.items()
                if stage.changed(allow_missing=True, upstream=all_stages)
                or any("modified" in out.workspace_status().values() for out in stage.outs)
            ]

    def record(self, names: list[str]) -> None:
        """Record in dvc.lock that these stages made the outputs that are here; the cache gets a copy.

        Inputs that are not here are recorded as dvc.lock has them.
        """
        self.remove_leftovers()
        with self._stages() as stages, self._no_unfinished_copies():
            recorded = [stages[name] for name in names]
            for stage in recorded:
                for dependency in stage.deps:
                    if not dependency.exists:
                        self._take_from_lock(dependency)
                stage.save(allow_missing=True, run_cache=False)
                stage.commit()
            if recorded:
                self._write_lock(recorded)

    @contextlib.contextmanager
    def _no_unfinished_copies(self) -> Iterator[None]:
        """Remove what DVC leaves of copies that fail: a full disk has no room for it, and in a folder that a
        stage reads it would change the stage's inputs."""
        began = time.time_ns()
        try:
            yield
        except Exception:
            for folder in Path(self.repo.root_dir), Path(self.repo.cache.local.path):
                for copy in folder.rglob(UNFINISHED):
                    if copy.stat().st_mtime_ns >= began:
                        copy.unlink()
            raise

    def _write_lock(self, recorded: list[Any]) -> None:
        """Record stages in dvc.lock, which appears whole or not at all: DVC itself would empty it first."""
        from dvc.dvcfile import LOCK_FILE, Lockfile

        lock = Path(LOCK_FILE)
        with atomic_file(lock) as beside:
            if lock.exists():
                shutil.copyfile(lock, beside)
            Lockfile(self.repo, str(beside)).dump_stages(recorded)

    def remove_leftovers(self) -> None:
        """Remove what is left here of phases that params.yaml no longer has; DVC's cache keeps it.

        Stages that read whole folders would depend on it, and dvc.lock would be true on this machine alone.
        What DVC has no copy of stays, with a warning.
        """
        with one_line():
            for leftover in self._leftovers():
                if leftover.changed_cache() or leftover.changed_checksum():
                    print(
                        f"warning: {leftover.def_path}: of no phase in params.yaml, and DVC has no copy; "
                        "move it elsewhere, or dvc.lock is true on this machine alone",
                        file=sys.stderr,
                    )
                else:
                    leftover.remove()
                    print(f"{leftover.def_path}: of no phase in params.yaml; removed, DVC keeps a copy")

    def _leftovers(self) -> Iterator[Any]:
        """The outputs here of stages that only dvc.lock knows, in folders that stages read."""
        from dvc.output import loadd_from

        lock = Path("dvc.lock")
        with written_by_dvc(lock):
            stages_of_lock = dict(read_yaml(lock, "")["stages"]) if lock.exists() else {}
            recorded = {name: stage.get("outs", []) for name, stage in stages_of_lock.items()}
        stages = {stage.addressing: stage for stage in self.repo.index.stages}
        outputs = {out.fs_path for stage in stages.values() for out in stage.outs}
        folders = tuple(f"{dep.fs_path}/" for stage in stages.values() for dep in stage.deps)
        for name in sorted(recorded.keys() - stages.keys()):
            for out in loadd_from(next(iter(stages.values())), recorded[name]):
                if out.exists and out.fs_path not in outputs and out.fs_path.startswith(folders):
                    yield out

    def push(self, stages: list[str]) -> None:
        """Push the outputs of these stages, and of those upstream of them, to the remote."""
        with one_line():
            self.repo.push(targets=stages, with_deps=True)

    @cached_property
    def _files(self) -> Any:
        from dvc.api import DVCFileSystem

        return DVCFileSystem(repo=self.repo)

    @contextlib.contextmanager
    def _stages(self) -> Iterator[dict[str, Any]]:
        """DVC's stages by name, under DVC's lock."""
        from dvc.repo import lock_repo

        with one_line(), lock_repo(self.repo):
            self._remove_damaged_locks()
            yield {stage.addressing: stage for stage in self.repo.index.stages}

    def _remove_damaged_locks(self) -> None:
        """Remove DVC's list of files in use if a full disk cut it off, which DVC would refuse for ever."""
        from dvc.lock import make_lock
        from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

        folder = Path(self.repo.tmp_dir)
        hardlink = self.repo.config["core"].get("hardlink_lock", False)
        with make_lock(str(folder / RWLOCK_LOCK), tmp_dir=str(folder), hardlink_lock=hardlink):
            locks = folder / RWLOCK_FILE
            try:
                parse_json(locks.read_bytes())
            except FileNotFoundError:
                pass
            except ValueError:
                locks.unlink()

    def _take_from_lock(self, dependency: Any) -> None:
        """Give a dependency that is not here the digest that dvc.lock has of it, or of part of an output."""
        path = PurePosixPath(dependency.fs_path)
        for out in self.repo.index.outs:
            if path.is_relative_to(out.fs_path) and out.hash_info:
                is_whole = dependency.fs_path == out.fs_path
                part = (
                    out if is_whole else out.get_dir_cache() and out.get_obj(filter_info=dependency.fs_path)
                )
                if part and part.hash_info != dependency.hash_info:
                    dependency.hash_info, dependency.meta = part.hash_info, type(out.meta)()
                if part:
                    return
        raise InputError(f"{dependency}: not here, and not in dvc.lock; run dvc repro or dvc pull")


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Raise the errors of DVC, and of the clients of its remote, as an InputError of one line."""
    from botocore.exceptions import BotoCoreError, ClientError
    from dvc.exceptions import CacheLinkError, DvcException
    from dvc_data.index import DataIndexDirError

    try:
        yield
    except CacheLinkError as error:  # also what DVC says of a full disk
        raise InputError("DVC: cannot copy or link files of its cache; make room on the disk") from error
    except DvcException as error:
        raise InputError(f"DVC: {' '.join(str(error).split())}") from error
    except (DataIndexDirError, BotoCoreError, ClientError, OSError) as error:
        if getattr(error, "errno", None) in FULL:
            raise
        why = " ".join(str(error.__cause__ or error).split())
        raise OutOfReach(f"DVC: {why}; check its remote, your credentials and the disk") from error


# ------------------------------------------------------------------------------------------------
# What `dvc repro` would do


@dataclass(frozen=True)
class Fate:
    """Whether a stage would run: for its own reasons `why`, or because the stages `upstream` run.

    remark: where the outputs of a cached stage are, if they are not here.
    """

    why: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    remark: str = ""

    @property
    def runs(self) -> bool:
        return bool(self.why or self.upstream)

    @property
    def is_remote(self) -> bool:
        """Whether DVC's remote alone has the outputs, so that the stage runs unless they are pulled."""
        return not self.runs and PULL_FIRST in self.remark


def fates(root: Path, params: Mapping[str, Any]) -> dict[str, Fate]:
    """The fate of every stage by its name in DVC, such as train@r0008; empty if there is no DVC project.

    DVC itself lists only the stages that are stale now, since they may give the same outputs again. What a
    run may cost includes everything downstream of them.

    params: the contents of params.yaml, or planned ones. Nothing is locked or written, so this works while
    `dvc repro` runs.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    fate_of: dict[str, Fate] = {}
    try:
        with Repo(str(root), config={"core": {"no_scm": True}}) as repo:
            graph = repo.index.graph  # from each stage to those whose outputs it depends on
            for stage in plan_repro(graph):
                before = sorted(each.addressing for each in graph.successors(stage))
                upstream = tuple(name for name in before if fate_of[name].runs)
                fate_of[stage.addressing] = _fate(repo, stage, params, upstream)
    except NotDvcRepoError:
        return {}
    except DvcException as error:
        raise InputError(f"dvc.yaml: {' '.join(str(error).split())}; dvc status says more") from None
    return fate_of


def _fate(repo: Any, stage: Any, params: Mapping[str, Any], upstream: tuple[str, ...]) -> Fate:
    if stage.is_data_source:
        return Fate()
    if not any(out.hash_info for out in stage.outs):
        return Fate((NEVER_RUN,), upstream)
    lost, remarks = _outputs(repo, stage)
    why = (
        *(["its command changed"] if stage.cmd_changed else []),
        *(change for dep in stage.params for change in _changed_params(dep, params)),
        *(change for dep in stage.deps if dep not in stage.params for change in _changed_file(repo, dep)),
        *lost,
    )
    return Fate(tuple(dict.fromkeys(why)), upstream, "; ".join(dict.fromkeys(remarks)))


def _changed_params(dep: Any, params: Mapping[str, Any]) -> Iterator[str]:
    """The old and the new value of every parameter that differs."""
    before = dep.hash_info.value or {}
    is_params_yaml = Path(dep.fs_path).name == dep.DEFAULT_PARAMS_FILE
    now = {key: _at(params, key) for key in dep.params} if is_params_yaml else dep.read_params()
    for key in dep.params:
        yield from _changes(key, before.get(key, ...), now.get(key, ...))


def _at(values: Any, key: str) -> Any:
    """The value of a dotted key; ... if there is none."""
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return ...
        values = values[part]
    return values


def _changes(key: str, before: Any, now: Any) -> Iterator[str]:
    """The differences between two values, a line for each leaf; ... stands for a missing value."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            yield from _changes(f"{key}.{name}", before.get(name, ...), now.get(name, ...))
    elif before is ...:
        yield f"{key} is new"
    elif now is ...:
        yield f"{key} is gone"
    elif before != now:
        yield f"{key} {_shown(before)} → {_shown(now)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _changed_file(repo: Any, dep: Any) -> Iterator[str]:
    """The old and the new digest of a file or folder, if they differ.

    A missing one has the digest that its stage or .dvc file says, or counts as unchanged. So does a folder
    that several stages write to if one of their outputs is missing: `_outputs` speaks of those.
    """
    outs = [out for each in repo.index.stages for out in each.outs]
    makers = [out for out in outs if out.fs_path == dep.fs_path]
    if any(not out.exists for out in outs if out.fs_path.startswith(f"{dep.fs_path}/")):
        now = None
    elif dep.exists:
        now = dep.get_hash()
    else:
        now = makers[0].hash_info if makers else None
    if now and now != dep.hash_info:
        yield f"{dep.def_path} {_short(dep.hash_info)} → {_short(now)}"


def _outputs(repo: Any, stage: Any) -> tuple[list[str], list[str]]:
    """Why the state of a stage's outputs makes it run; remarks if it does not."""
    lost, remarks = [], []
    for out in stage.outs:
        if out.use_cache and out.changed_cache():
            if repo.config["core"].get("remote"):
                remarks.append(PULL_FIRST)
            elif out.exists:
                lost.append(f"DVC keeps no copy of {out.def_path}")
            else:
                lost.append(f"{out.def_path} is missing")
        elif not out.exists:
            remarks.append("DVC has a copy")
        elif out.get_hash() != out.hash_info:
            lost.append(f"{out.def_path} is not what the stage made")
    return lost, remarks


def _short(digest: Any) -> str:
    return str(digest.value)[:DIGITS] if digest else "nothing"
