"""All that is asked of DVC: what dvc.lock names, wherever it lies; what `dvc repro` would do, and why; and
saying there what was made."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from progan.errors import InputError

if TYPE_CHECKING:
    from components.receipts import Receipt
    from components.stages import Task
    from progan.dataset.manifest import Manifest

NEVER_RUN = "not run before"
SHOWN_DIGITS = 7  # of a digest


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
        return receipt if receipt and receipt.is_of(task, identity) else None

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


# ------------------------------------------------------------------------------------------------
# What `dvc repro` would do


@dataclass(frozen=True)
class Fate:
    """Why a stage has to run: `why` of its own, or because of the stages `upstream`; else it is cached.

    remark: of a cached stage whose outputs are not here, where they are.
    """

    why: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    remark: str = ""

    @property
    def runs(self) -> bool:
        return bool(self.why or self.upstream)


def fates(root: Path, params: Mapping[str, Any]) -> dict[str, Fate]:
    """The fate of every stage by its name in DVC, such as train@r0008; none where DVC has no project.

    DVC itself lists only the stages that are stale at once, as what they make may turn out the same; what a
    run may cost has to count everything downstream of them.

    params: the contents of params.yaml, or those planned in their place. Nothing is locked or written, so
    that this can be asked while `dvc repro` works.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    found: dict[str, Fate] = {}
    try:
        with Repo(str(root), config={"core": {"no_scm": True}}) as repo:
            graph = repo.index.graph  # from each stage to those whose outputs it depends on
            for stage in plan_repro(graph):
                before = sorted(each.addressing for each in graph.successors(stage))
                upstream = tuple(name for name in before if found[name].runs)
                found[stage.addressing] = _fate(repo, stage, params, upstream)
    except NotDvcRepoError:
        return {}
    except DvcException as error:
        raise InputError(f"dvc.yaml: {' '.join(str(error).split())}; dvc status says more") from None
    return found


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
    """Old and new value of every parameter that differs."""
    before = dep.hash_info.value or {}
    ours = Path(dep.fs_path).name == dep.DEFAULT_PARAMS_FILE
    now = {key: _at(params, key) for key in dep.params} if ours else dep.read_params()
    for key in dep.params:
        yield from _changes(key, before.get(key, ...), now.get(key, ...))


def _at(values: Any, key: str) -> Any:
    """The value that a dotted key names; ... where there is none."""
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return ...
        values = values[part]
    return values


def _changes(key: str, before: Any, now: Any) -> Iterator[str]:
    """What differs between two values, a line a leaf; ... stands for a value that is not there."""
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
    """Old and new digest of a file or folder that differs.

    One that is not here has the digest of what makes it, a stage or a .dvc file, or counts as unchanged, as
    does a folder of several stages' outputs of which one is not here: what became of those, `_outputs` says.
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
    """What became of a stage's outputs that calls for a run, and what does not."""
    lost, remarks = [], []
    for out in stage.outs:
        if out.use_cache and out.changed_cache():
            if repo.config["core"].get("remote"):
                remarks.append("run dvc pull first")
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
    return str(digest.value)[:SHOWN_DIGITS] if digest else "nothing"
