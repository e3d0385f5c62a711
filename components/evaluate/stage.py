"""Measure the generator of a finished phase, and show it beside the real images."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.score_network.stage import DESCRIPTION
from progan.config import Config
from progan.dataset.reader import load_images
from progan.device import best_device
from progan.errors import InputError
from progan.files import read_json, write_json
from progan.metrics import classifier, inception, swd
from progan.metrics.ms_ssim import mean_ms_ssim
from progan.render import beside, grid, write_png
from progan.sampling import generate, seeded_latents
from progan.snapshots import Checkpoint, load_grown, read_checkpoint
from progan.training import build_networks

GRID_PIXELS = 512  # side of the grids of reals and fakes: 8 × 8 images up to 64 px, fewer above

Fakes = Callable[[int], Iterator[Tensor]]  # how many → minibatches, uint8 [n, C, R, R]


def evaluate(
    config: Config, key: str, checkpoint: Path, dataset: Path, score_network: Path, out: Path, samples: Path
) -> None:
    """Write the measures of `checkpoint` to `out` (JSON), and reals beside fakes to `samples` (PNG)."""
    finished = read_checkpoint(checkpoint)
    if finished.facts["phase"] != key:
        raise InputError(
            f"{checkpoint}: holds phase {finished.facts['phase']}, not {key}; run that phase first"
        )
    resolution = config.phase(key).resolution
    reals = torch.from_numpy(load_images(dataset, resolution)[0])
    fakes = _fakes_of(config, finished)
    evaluation = {
        "phase": key,
        "resolution": resolution,
        "kimg": finished.facts["kimg"],
        "fingerprint": finished.facts["fingerprint"],
        "checkpoint": finished.digest,
        "dataset": finished.facts["dataset"]["digest"],
        **_measure(config, _as_trained(reals, config), fakes, score_network),
    }
    fake_images = torch.cat(list(fakes(64)))
    write_png(samples, beside(grid(reals[:64], GRID_PIXELS), grid(fake_images, GRID_PIXELS)))
    write_json(out, evaluation)
    distance, floor = evaluation["swd"]["average"], evaluation["swd_floor"]
    print(f"{out}: SWD {distance:.1f}; real images among themselves {floor:.1f}")


def _fakes_of(config: Config, checkpoint: Checkpoint) -> Fakes:
    """The checkpoint's averaged generator as a function that makes its first so many images."""
    generator, _ = build_networks(config.network, checkpoint.facts["resolution"])
    load_grown(generator, checkpoint.networks("ema"), str(checkpoint.folder))
    generator.to(best_device())
    latent_size, seed = config.network.latent_size, config.measures.seed
    return lambda count: generate(generator, seeded_latents(count, latent_size, seed))


def _as_trained(reals: Tensor, config: Config) -> Tensor:
    """Mirror half of the images where training did (facts §5)."""
    if not config.training.mirror:
        return reals
    random = torch.Generator().manual_seed(config.measures.seed)
    mirror = torch.rand(len(reals), 1, 1, 1, generator=random) < 0.5
    return torch.where(mirror, reals.flip(3), reals)


def _measure(config: Config, reals: Tensor, fakes: Fakes, score_network: Path) -> dict[str, Any]:
    """SWD, MS-SSIM and the score of `fakes` against `reals`, uint8 [N, C, R, R].

    SWD is taken on `swd_images` a side, or on half the reals if that is fewer, so that its floor, real
    images against other real images, is between sets of the same size.
    """
    measures = config.measures
    seed = measures.seed
    count = min(measures.swd_images, len(reals) // 2)
    described = swd.describe(reals[:count].split(256), seed)
    floor = swd.noise_floor(described, swd.describe(reals[count : 2 * count].split(256), seed + 1), seed)
    return {
        "swd": swd.sliced_wasserstein(described, swd.describe(fakes(count), seed + 1), seed),
        "swd_floor": floor,
        "swd_images": count,
        "ms_ssim": mean_ms_ssim(fakes(2 * measures.ms_ssim_pairs)),
        "ms_ssim_reals": mean_ms_ssim(reals[: 2 * min(measures.ms_ssim_pairs, len(reals) // 2)].split(256)),
        **_scores(config, reals, fakes, score_network),
    }


def _scores(config: Config, reals: Tensor, fakes: Fakes, score_network: Path) -> dict[str, float]:
    """What the score network says, under its own name; nothing when there is none."""
    measures = config.measures
    facts = read_json(score_network / DESCRIPTION)
    if facts["kind"] == "classifier":
        network = classifier.load(score_network / "classifier.safetensors", best_device())
        return classifier.score(network, fakes(measures.score_images), measures.score_splits)
    if facts["kind"] == "inception":
        weights = Path(measures.inception_weights or "")
        shown = reals[: measures.score_images].split(256)
        splits, seed = measures.score_splits, measures.seed
        return inception.measure(
            fakes(measures.score_images), shown, weights, facts["sha256"], splits, seed, best_device()
        )
    return {}
