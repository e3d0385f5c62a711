"""Measure the generator of a finished phase, and draw its images beside real ones."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from components.evaluate.evaluation import Evaluation
from components.evaluate.samples import GRID_PIXELS, classes_shown
from components.score_network.description import FILE_NAME, ScoreNetwork
from components.score_network.stage import CLASSIFIER
from progan.arithmetic import arithmetic
from progan.checkpoints import read_checkpoint
from progan.config import Config
from progan.dataset.reader import load_training_set
from progan.device import best_device
from progan.errors import InputError
from progan.metrics import classifier, inception, modes, nearest, precision_recall, swd
from progan.metrics.ms_ssim import mean_ms_ssim
from progan.models import require_network
from progan.networks import Generator
from progan.render import above, beside, grid, images_across, write_picture
from progan.sampling import generate, load_generator, seeded_inputs

REALS_AT_ONCE = 64
MODE_ROUNDS = 10  # of `mode_samples` images each, as in the paper
NEAREST_SHOWN, NEIGHBOURS, NEAREST_SIDE = 8, 3, 128  # fakes, training images below each, maximum side

Images = Callable[[int, int], Iterator[Tensor]]  # (begin, end) → minibatches, uint8 [n, C, R, R]


@arithmetic()
def evaluate(
    config: Config,
    key: str,
    *,
    dataset: Path,
    checkpoint: Path,
    score_network: Path,
    evaluation: Path,
    samples: Path,
    nearest: Path,
) -> None:
    """Write the measures of `checkpoint` to `evaluation` (JSON), and two pictures (PNG): `samples`, reals
    beside fakes, and `nearest`, fakes above their nearest training images."""
    finished = read_checkpoint(checkpoint)
    if finished.facts.phase != key:
        raise InputError(f"{checkpoint}: holds phase {finished.facts.phase}, not {key}; run that phase first")
    resolution = config.phase(key).resolution
    loaded, loaded_labels = load_training_set(dataset, resolution, config.network)
    images = torch.from_numpy(loaded)
    labels = None if loaded_labels is None else torch.from_numpy(loaded_labels)
    require_network(finished, config.network)
    generator = load_generator(finished).to(best_device())
    reals, fakes = _reals_of(images, config), _fakes_of(generator, labels, config)
    nearest_measures, nearest_picture = _nearest(images, fakes, config)
    swd_images = min(config.measures.swd_images, len(images) // 2)
    measures = {
        **_swd(swd_images, config.measures.seed, reals, fakes),
        **_ms_ssim(config, reals, len(images), fakes),
        **_scores(config, reals, len(images), fakes, score_network),
        **_prefixed("nearest", nearest_measures),
    }
    write_picture(samples, _samples(images, labels, generator, config))
    write_picture(nearest, nearest_picture)
    Evaluation(
        phase=key,
        resolution=resolution,
        kimg=finished.facts.kimg,
        identity=finished.facts.identity,
        checkpoint=finished.digest,
        dataset=finished.facts.dataset.digest,
        swd_images=swd_images,
        measures={name: value if math.isfinite(value) else None for name, value in measures.items()},
        score_at_chance=not ScoreNetwork.read(score_network / FILE_NAME).better_than_chance,
    ).write(evaluation)
    distance, floor = measures["swd_average"], measures["swd_floor_average"]
    print(f"{evaluation}: SWD {distance:.1f}; noise floor {floor:.1f}")


def _fakes_of(generator: Generator, labels: Tensor | None, config: Config) -> Images:
    """The images of `generator` for seeded latents and, if it is conditional, the labels of the reals."""
    network, seed = config.network, config.measures.seed
    return lambda begin, end: generate(generator, seeded_inputs(end, network, seed, labels)[begin:])


def _samples(images: Tensor, labels: Tensor | None, generator: Generator, config: Config) -> Image:
    """Reals (uint8 [N, C, R, R]) on the left, fakes on the right; with labels, one row per class that fits.

    If a class has too few reals for a row, the rest of the row stays white.
    """
    columns, reals, fake_labels = None, images[:64], None
    if labels is not None:
        columns = images_across(generator.resolution, GRID_PIXELS)
        rows = torch.arange(classes_shown(config.network, generator.resolution))
        reals = torch.cat([_row(images[labels == row], columns) for row in rows])
        fake_labels = rows.repeat_interleave(columns)
    inputs = seeded_inputs(len(reals), config.network, config.measures.seed, fake_labels)
    fakes = torch.cat(list(generate(generator, inputs)))
    return beside(grid(reals, GRID_PIXELS, columns), grid(fakes, GRID_PIXELS, columns))


def _row(images: Tensor, columns: int) -> Tensor:
    """The first `columns` images, padded with white ones."""
    white = images.new_full((max(columns - len(images), 0), *images.shape[1:]), 255)
    return torch.cat([images[:columns], white])


def _nearest(images: Tensor, fakes: Images, config: Config) -> tuple[dict[str, float], Image]:
    """How close fakes are to the training images (uint8 [N, C, R, R]), and a picture of the closest ones.

    Its top row shows the fakes that are closest to a training image; below each are its nearest training
    images.
    """
    count, mirror, random = config.measures.nearest_images, config.training.mirror, torch.Generator()
    generated = torch.cat([nearest.reduce(batch, NEAREST_SIDE) for batch in fakes(0, count)])
    sample = torch.randperm(len(images), generator=random.manual_seed(config.measures.seed))[:count]
    queries = torch.cat([nearest.reduce(generated), nearest.reduce(images[sample])]).to(best_device())
    own = torch.cat([torch.full((count,), -1), sample])
    per_query = min(NEIGHBOURS, len(images) - 1)
    neighbours = nearest.neighbours(queries, images.split(REALS_AT_ONCE), per_query, mirror, own)
    of_fakes, of_reals = neighbours[:count], neighbours[count:]
    closest = of_fakes.distances[:, 0].argsort()[:NEAREST_SHOWN]
    rows = [
        torch.where(mirrored.view(-1, 1, 1, 1), images[indices].flip(3), images[indices])
        for indices, mirrored in zip(of_fakes.indices[closest].T, of_fakes.mirrored[closest].T, strict=True)
    ]
    below = nearest.reduce(torch.cat(rows), NEAREST_SIDE)
    top, bottom = (
        grid(part.round().to(torch.uint8), GRID_PIXELS, len(closest)) for part in (generated[closest], below)
    )
    return nearest.measure(of_fakes, of_reals), above(top, bottom)


def _reals_of(images: Tensor, config: Config) -> Images:
    """The real images (uint8 [N, C, R, R]), half of them mirrored if training mirrors."""
    random = torch.Generator().manual_seed(config.measures.seed)
    mirror = torch.rand(len(images), generator=random) < (0.5 if config.training.mirror else 0.0)

    def batches(begin: int, end: int) -> Iterator[Tensor]:
        for batch in torch.arange(begin, end).split(REALS_AT_ONCE):
            yield torch.where(mirror[batch].view(-1, 1, 1, 1), images[batch].flip(3), images[batch])

    return batches


def _swd(count: int, seed: int, reals: Images, fakes: Images) -> dict[str, float]:
    """SWD between `count` reals and `count` fakes, and its noise floor, that between two sets of reals."""
    descriptors = swd.describe(reals(0, count), seed)
    floor = swd.sliced_wasserstein(descriptors, swd.describe(reals(count, 2 * count), seed + 1), seed)
    distances = swd.sliced_wasserstein(descriptors, swd.describe(fakes(0, count), seed + 1), seed)
    return _prefixed("swd", distances) | _prefixed("swd_floor", floor)


def _ms_ssim(config: Config, reals: Images, real_count: int, fakes: Images) -> dict[str, float]:
    pairs = config.measures.ms_ssim_pairs
    return {
        "ms_ssim": mean_ms_ssim(fakes(0, 2 * pairs)),
        "ms_ssim_reals": mean_ms_ssim(reals(0, 2 * min(pairs, real_count // 2))),
    }


def _prefixed(prefix: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _scores(
    config: Config, reals: Images, real_count: int, fakes: Images, score_network: Path
) -> dict[str, float]:
    """The scores by the score network, under its own name; empty if there is no network."""
    measures, scorer, device = config.measures, ScoreNetwork.read(score_network / FILE_NAME), best_device()
    if scorer.kind == "none":
        return {}
    if scorer.kind == "digits":
        digits, samples = classifier.load(score_network / CLASSIFIER, device), measures.mode_samples or 0
        return modes.measure(digits, fakes(0, MODE_ROUNDS * samples), samples)
    sets = fakes(0, measures.score_images), reals(0, min(measures.score_images, real_count))
    if scorer.kind == "classifier":
        network = classifier.load(score_network / CLASSIFIER, device)
        generated, real = (classifier.extract(network, images) for images in sets)
        scores = classifier.score(generated, measures.score_splits)
    else:
        weights = Path(measures.inception_weights or "")
        inception_network = inception.load_network(weights, scorer.sha256 or "", device)
        generated, real = (inception.extract(inception_network, images) for images in sets)
        scores = inception.scores(generated, real, measures.score_splits, measures.seed)
    return scores | precision_recall.measure(real.pool, generated.pool, device)
