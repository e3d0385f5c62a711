"""Measure the generator of a finished phase, and show it beside the real images."""

import math
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

REALS_AT_ONCE = 64
GRID_PIXELS = 512  # side of the grids of reals and fakes: 8 × 8 images up to 64 px, fewer above

Images = Callable[[int, int], Iterator[Tensor]]  # from which image to which → minibatches, uint8 [n, C, R, R]


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
    images = torch.from_numpy(load_images(dataset, resolution)[0])
    reals, fakes = _reals_of(images, config), _fakes_of(config, finished)
    evaluation = {
        "phase": key,
        "resolution": resolution,
        "kimg": finished.facts["kimg"],
        "fingerprint": finished.facts["fingerprint"],
        "checkpoint": finished.digest,
        "dataset": finished.facts["dataset"]["digest"],
        **_measure(config, reals, len(images), fakes, score_network),
    }
    fake_images = torch.cat(list(fakes(0, 64)))
    write_png(samples, beside(grid(images[:64], GRID_PIXELS), grid(fake_images, GRID_PIXELS)))
    write_json(out, _finite_or_null(evaluation))
    distance, floor = evaluation["swd"]["average"], evaluation["swd_floor"]
    print(f"{out}: SWD {distance:.1f}; real images among themselves {floor:.1f}")


def _finite_or_null(value: Any) -> Any:
    """`value` with null for every NaN and infinity, which JSON has not: the gate fails on them."""
    if isinstance(value, dict):
        return {key: _finite_or_null(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _fakes_of(config: Config, checkpoint: Checkpoint) -> Images:
    """What the checkpoint's averaged generator makes of seeded latents."""
    generator, _ = build_networks(config.network, checkpoint.facts["resolution"])
    load_grown(generator, checkpoint.networks("ema"), str(checkpoint.folder))
    generator.to(best_device()).eval()
    latent_size, seed = config.network.latent_size, config.measures.seed
    return lambda begin, end: generate(generator, seeded_latents(end, latent_size, seed)[begin:])


def _reals_of(images: Tensor, config: Config) -> Images:
    """The real images (uint8 [N, C, R, R]), half of them mirrored where training did that."""
    random = torch.Generator().manual_seed(config.measures.seed)
    mirror = torch.rand(len(images), generator=random) < (0.5 if config.training.mirror else 0.0)

    def batches(begin: int, end: int) -> Iterator[Tensor]:
        for some in torch.arange(begin, end).split(REALS_AT_ONCE):
            yield torch.where(mirror[some].view(-1, 1, 1, 1), images[some].flip(3), images[some])

    return batches


def _measure(
    config: Config, reals: Images, real_count: int, fakes: Images, score_network: Path
) -> dict[str, Any]:
    """SWD, MS-SSIM and the score of `fakes` against the `real_count` `reals`.

    SWD is taken on `swd_images` a side, or on half the reals if that is fewer, so that its floor, real
    images against other real images, is between sets of the same size.
    """
    measures = config.measures
    seed = measures.seed
    count = min(measures.swd_images, real_count // 2)
    described = swd.describe(reals(0, count), seed)
    floor = swd.noise_floor(described, swd.describe(reals(count, 2 * count), seed + 1), seed)
    pairs = min(measures.ms_ssim_pairs, real_count // 2)
    return {
        "swd": swd.sliced_wasserstein(described, swd.describe(fakes(0, count), seed + 1), seed),
        "swd_floor": floor,
        "swd_images": count,
        "ms_ssim": mean_ms_ssim(fakes(0, 2 * measures.ms_ssim_pairs)),
        "ms_ssim_reals": mean_ms_ssim(reals(0, 2 * pairs)),
        **_scores(config, reals(0, min(measures.score_images, real_count)), fakes, score_network),
    }


def _scores(config: Config, reals: Iterator[Tensor], fakes: Images, score_network: Path) -> dict[str, float]:
    """What the score network says, under its own name; nothing when there is none."""
    measures = config.measures
    facts = read_json(score_network / DESCRIPTION)
    generated = fakes(0, measures.score_images)
    if facts["kind"] == "classifier":
        network = classifier.load(score_network / "classifier.safetensors", best_device())
        return classifier.score(network, generated, measures.score_splits)
    if facts["kind"] == "inception":
        weights, splits = Path(measures.inception_weights or ""), measures.score_splits
        return inception.measure(
            generated, reals, weights, facts["sha256"], splits, measures.seed, best_device()
        )
    return {}
