"""Make a checkpoint of the authors' released weights."""

from dataclasses import asdict
from pathlib import Path

import yaml

from progan import RESULTS_VERSION, __version__
from progan.errors import InputError
from progan.files import digest_of, sha256_file
from progan.official.weights import read_official
from progan.optimizer import Adam
from progan.resolutions import phase_key
from progan.snapshots import prefixed, write_checkpoint


def import_official(file: Path, kimg: float, out: Path) -> None:
    """Write the networks in the pickle `file` to the checkpoint folder `out`, which must not exist yet.

    The optimisers start afresh; `kimg` is what the networks have been trained with, which no pickle says.
    """
    if out.exists():
        raise InputError(f"{out}: exists already; delete it or name another folder with --out")
    if not 0 <= kimg < 1e9:
        raise InputError(f"--kimg: thousands of images, not {kimg:g}")
    weights = read_official(file)
    digest = sha256_file(file)
    images_shown = round(kimg * 1000)
    decides = {"results_version": RESULTS_VERSION, "official": digest, "images_shown": images_shown}
    facts = {
        "format": 1,
        "phase": phase_key(weights.resolution),
        "resolution": weights.resolution,
        "images_shown": images_shown,
        "kimg": images_shown / 1000,
        "fingerprint": digest_of(decides),
        "network": asdict(weights.network),
        "training": None,
        "schedule": None,
        "dataset": {"name": "unknown", "images": None, "digest": f"unknown, of {digest}"},
        "official": {"file": file.name, "sha256": digest},
        "versions": {"progan": __version__, "results": RESULTS_VERSION},
    }
    networks = (
        prefixed("generator", weights.generator.state_dict())
        | prefixed("discriminator", weights.discriminator.state_dict())
        | prefixed("ema", weights.ema.state_dict())
    )
    generator_adam, discriminator_adam = (
        Adam(module, betas=(0.0, 0.99), epsilon=1e-8) for module in (weights.generator, weights.discriminator)
    )
    optimizers = prefixed("generator_adam", generator_adam.state_dict()) | prefixed(
        "discriminator_adam", discriminator_adam.state_dict()
    )
    write_checkpoint(out, networks, optimizers, facts)
    print(f"{out}: {facts['phase']} imported; params.yaml must have with it:")
    print(yaml.safe_dump({"network": facts["network"]}, sort_keys=False), end="")
