"""Convert the authors' released weights to a checkpoint."""

from dataclasses import asdict
from pathlib import Path

import yaml

from progan import RESULTS_VERSION, __version__
from progan.errors import InputError
from progan.files import digest_of, sha256_file
from progan.models import network_tensors, optimizer_tensors
from progan.official.weights import read_official
from progan.optimizer import Adam
from progan.resolutions import phase_key
from progan.snapshots import write_checkpoint


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
    decides = {"results_version": RESULTS_VERSION, "official": digest, "images_shown": images_shown}
    facts = {
        "format": 1,
        "phase": phase_key(weights.resolution),
        "resolution": weights.resolution,
        "images_shown": images_shown,
        "kimg": images_shown / 1000,
        "identity": digest_of(decides),
        "init": None,
        "network": asdict(weights.network),
        "training": None,
        "schedule": None,
        "dataset": {"name": "unknown", "images": None, "digest": f"unknown, of {digest}"},
        "official": {"file": file.name, "sha256": digest},
        "versions": {"progan": __version__, "results": RESULTS_VERSION},
    }
    networks = network_tensors(weights.generator, weights.discriminator, weights.ema)
    adams = (Adam(module, (0.0, 0.99), 1e-8) for module in (weights.generator, weights.discriminator))
    write_checkpoint(out, networks, optimizer_tensors(*adams), facts)
    print(f"{out}: {facts['phase']} imported; to train it further, params.yaml must contain:")
    print(yaml.safe_dump({"network": facts["network"]}, sort_keys=False), end="")
