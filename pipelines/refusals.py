"""Faults that neither compiling nor a local run shows, and that would fail a run on a cluster days later."""

import re
from collections.abc import Iterator

from pipelines.profile import Profile
from progan.config import Config
from progan.distributed import check_shares
from progan.errors import InputError
from progan.memory import training_bytes
from progan.validation import refusal

DIGEST = re.compile(r"@sha256:([0-9a-f]{64})$")


def check_for_cluster(config: Config, profile: Profile) -> None:
    """Raise an InputError that names every reason for which a run on a cluster would fail."""
    faults = [*_image(profile), *_shares(config, profile), *_gpu_memory(config, profile)]
    if faults:
        raise refusal("on a cluster", faults)


def _image(profile: Profile) -> Iterator[tuple[str, str]]:
    digest = DIGEST.search(profile.image)
    if digest is None:
        yield "image", f"{profile.image} has no digest, by which the cache tells images apart; add @sha256:…"
    elif set(digest[1]) == {"0"}:
        yield "image", f"{profile.image} is only an example; name yours in infra/cluster.yaml or with --image"


def _shares(config: Config, profile: Profile) -> Iterator[tuple[str, str]]:
    """The minibatches that the GPUs of their phases cannot share evenly."""
    for phase_key, phase in config.phases.items():
        try:
            check_shares(config, phase, max(1, profile.pod(phase_key).gpus))
        except InputError as error:
            key, _, problem = str(error).partition(": ")
            yield key, problem


def _gpu_memory(config: Config, profile: Profile) -> Iterator[tuple[str, str]]:
    """The phases that do not fit in the memory of their GPUs."""
    for key in config.phases:
        pod = profile.pod(key)
        needed = training_bytes(config, key, pod.gpus) / 2**30 if pod.gpus else 0
        if needed > pod.gpu_memory_gib:
            yield (
                f"phases.{key}",
                f"needs about {needed:.0f} GiB on each GPU, which has {pod.gpu_memory_gib:g}; lower the "
                "minibatch, or use more or larger GPUs",
            )
