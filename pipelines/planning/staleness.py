"""What `dvc repro` would do here, and why: dvc.lock against parameters and files as they are now.

DVC itself lists only the stages that are stale at once, as what they make may turn out the same; what a run
may cost has to count everything downstream of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from progan.errors import InputError

NEVER_RUN = "not run before"
SHOWN_DIGITS = 7  # of a digest


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
