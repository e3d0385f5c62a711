"""What compiles and runs here, and would fail on a cluster only, days later."""

import re
from collections.abc import Iterator

from pipelines.profile import Profile
from progan.config import Config
from progan.distributed import check_shares
from progan.errors import InputError
from progan.memory import training_bytes
from progan.validation import refusal

DIGEST = re.compile(r"@sha256:([0-9a-f]{64})$")


def refuse(config: Config, profile: Profile) -> None:
    """Raise an InputError that names everything for which a cluster would fail."""
    faults = [*_image(profile), *_shares(config, profile), *_gpu_memory(config, profile)]
    if faults:
        raise refusal("on a cluster", faults)


def _image(profile: Profile) -> Iterator[tuple[str, str]]:
    digest = DIGEST.search(profile.image)
    if digest is None:
        yield "image", f"{profile.image} has no digest, and the cache tells images apart by it; add @sha256:…"
    elif set(digest[1]) == {"0"}:
        yield "image", f"{profile.image} is the example's; name yours in infra/cluster.yaml, or with --image"


def _shares(config: Config, profile: Profile) -> Iterator[tuple[str, str]]:
    """The minibatch of each phase that its GPUs cannot share."""
    for key, phase in config.phases.items():
        try:
            check_shares(config, phase, max(1, profile.pod(key).gpus))
        except InputError as error:
            where, _, problem = str(error).partition(": ")
            yield where, problem


def _gpu_memory(config: Config, profile: Profile) -> Iterator[tuple[str, str]]:
    """The phases that a card does not have the memory for."""
    for key in config.phases:
        pod = profile.pod(key)
        needed = training_bytes(config, key, pod.gpus) / 2**30 if pod.gpus else 0
        if needed > pod.gpu_memory_gib:
            yield (
                f"phases.{key}",
                f"takes about {needed:.0f} GiB of a GPU, which has {pod.gpu_memory_gib:g}; lower the "
                "minibatch, or give it more or larger GPUs",
            )
