"""Convert the authors' released weights to a checkpoint."""

from dataclasses import asdict
from pathlib import Path

import yaml

from progan import RESULTS_VERSION
from progan.checkpoints import CheckpointFacts, DatasetFacts, OfficialFile, Versions, write_checkpoint
from progan.errors import InputError
from progan.files import digest_of, sha256_file
from progan.models import state_tensors
from progan.official.weights import read_official
from progan.optimizer import Adam
from progan.resolutions import phase_key


def import_official(file: Path, kimg: float, out: Path) -> None:
    """Write the networks in the pickle `file` to the checkpoint folder `out`, which must not exist yet.

    The optimisers have no state. kimg: thousands of images that the networks were trained with, which the
    pickle does not contain.
    """
    if out.exists():
        raise InputError(f"{out}: exists already; delete it or name another folder with --out")
    if not 0 <= kimg < 1e9:
        raise InputError(f"--kimg: thousands of images, not {kimg:g}")
    weights = read_official(file)
    digest = sha256_file(file)
    images_shown = round(kimg * 1000)
    deciding = {"results_version": RESULTS_VERSION, "official": digest, "images_shown": images_shown}
    facts = CheckpointFacts(
        phase=phase_key(weights.resolution),
        resolution=weights.resolution,
        images_shown=images_shown,
        kimg=images_shown / 1000,
        identity=digest_of(deciding),
        init=None,
        network=weights.network,
        training=None,
        schedule=None,
        dataset=DatasetFacts("unknown", None, f"unknown, of {digest}"),
        versions=Versions.here(),
        official=OfficialFile(file.name, digest),
    )
    generator, discriminator = weights.generator, weights.discriminator
    networks = state_tensors(generator=generator, discriminator=discriminator, ema=weights.ema)
    adams = {"generator_adam": generator, "discriminator_adam": discriminator}
    optimizers = state_tensors(**{name: Adam(network, (0.0, 0.99), 1e-8) for name, network in adams.items()})
    write_checkpoint(out, facts, networks, optimizers)
    print(f"{out}: {facts.phase} imported; params.yaml needs for it:")
    print(yaml.safe_dump({"network": asdict(facts.network)}, sort_keys=False), end="")
