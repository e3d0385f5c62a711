"""A score like the Inception score, from a small classifier trained on the dataset's own labels.

It is for labelled datasets when there are no Inception weights: exp of the mean KL divergence between p(y|x)
and p(y) (Salimans et al. 2016, section 4), with the classifier's p(y|x). It ranges from 1 to the number of
classes and is high if the images are recognisable and all classes occur. Scores of different classifiers are
not comparable, so it is never called Inception score.
"""

import json
import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from progan.errors import InputError
from progan.files import atomic_file, canonical_json
from progan.metrics.features import Features

LARGEST_SIDE = 64
WIDTHS = (32, 64, 128)
HELD_OUT = 0.1
MINIBATCH = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
IMAGES_AT_ONCE = 256


class Classifier(nn.Module):
    """Three convolutions with batch norm, each halving the resolution, then the mean over all positions.

    classes: the number of labels. resolution: the side of its input, 8 to 64 px; larger images are reduced
    to it by box averages, smaller ones enlarged by repeating pixels.
    """

    def __init__(self, classes: int, resolution: int) -> None:
        super().__init__()
        self.classes = classes
        self.resolution = resolution
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.SiLU()]
        self.features = nn.Sequential(*layers)
        self.logits = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32 [N, classes], of uint8 [N, C, R, R] images: C 1 (grey) or 3, R a power of two."""
        return self.logits(self.pool(images))

    def pool(self, images: Tensor) -> Tensor:
        """The features that the logits are a linear function of: float32 [N, 128]."""
        x = images.expand(-1, 3, -1, -1).float() / 127.5 - 1
        x = F.interpolate(x, self.resolution, mode="area")  # an exact box average, or exact repetition
        x = self.features(x)  # [N, 128, resolution / 8, resolution / 8]
        return x.mean(dim=(2, 3))


def too_little(images: int, resolution: int) -> str | None:
    """Why a classifier cannot be trained on so many images of so many pixels; None if it can."""
    if images < 1 / HELD_OUT:
        return f"at least {1 / HELD_OUT:.0f} images are needed, not {images}"
    if resolution < 2 ** len(WIDTHS):
        return f"images must be at least {2 ** len(WIDTHS)} px, not {resolution}"
    return None


def train(
    images: Tensor,
    labels: Tensor,
    classes: int,
    epochs: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Classifier, float]:
    """Train a classifier on nine tenths of the images; return it and its accuracy on the rest.

    images: uint8 [N, C, R, R], C 1 or 3, R a power of two ≥ 8; training runs on their device.
    labels: int64 [N], 0 … classes - 1. seed: determines the initial weights, the held-out images and the
    order of the others; on the CPU the same arguments give the same weights.
    progress: called after each minibatch with the numbers of minibatches done and in all.
    Raises ValueError if there is too little.
    """
    if fault := too_little(len(images), images.shape[-1]):
        raise ValueError(fault)

    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    held_out, training = order.split([int(HELD_OUT * len(order)), len(order) - int(HELD_OUT * len(order))])
    classifier = _initial(classes, min(images.shape[-1], LARGEST_SIDE), seed).to(images.device)
    steps = epochs * math.ceil(len(training) / MINIBATCH)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)

    done = 0
    for _ in range(epochs):
        for minibatch in training[torch.randperm(len(training), generator=generator)].split(MINIBATCH):
            loss = F.cross_entropy(classifier(images[minibatch]), labels[minibatch].to(images.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            if progress is not None:
                progress(done, steps)

    classifier.eval().requires_grad_(False)
    guesses = torch.cat(
        [classifier(images[minibatch]).argmax(1).cpu() for minibatch in held_out.split(IMAGES_AT_ONCE)]
    )
    return classifier, (guesses == labels[held_out].cpu()).double().mean().item()


def extract(classifier: Classifier, batches: Iterable[Tensor]) -> Features:
    """Run `classifier` over minibatches of uint8 [N, C, R, R], C 1 or 3, R a power of two, on any device."""
    device = next(classifier.parameters()).device
    pool, logits = [], []
    with torch.inference_mode():
        for batch in batches:
            features = classifier.pool(batch.to(device))
            pool.append(features.cpu())
            logits.append(classifier.logits(features).cpu())
    return Features(torch.cat(pool), torch.cat(logits))


def score(generated: Features, splits: int) -> dict[str, float]:
    """The score of images: its mean and population standard deviation over `splits` consecutive parts.

    Keys: classifier_score (1 to the number of classes) and classifier_score_std.
    Raises ValueError if there are fewer images than splits.
    """
    logits = generated.logits.double()
    if len(logits) < splits:
        raise ValueError(f"{splits} splits need at least as many images, not {len(logits)}")
    edges = [part * len(logits) // splits for part in range(splits + 1)]
    values = torch.stack([_score(logits[a:b]) for a, b in pairwise(edges)])
    return {
        "classifier_score": values.mean().item(),
        "classifier_score_std": values.std(correction=0).item(),
    }


def save(classifier: Classifier, path: Path) -> None:
    """Write the weights and the shape of `classifier` to a safetensors file, atomically."""
    shape = {"classes": classifier.classes, "resolution": classifier.resolution}
    state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    with atomic_file(path) as partial:
        save_file(state, partial, metadata={"classifier": canonical_json(shape)})


def load(path: Path, device: torch.device) -> Classifier:
    """Read what `save` wrote, in evaluation mode. Raises InputError if `path` is missing or another file."""
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            shape = json.loads(file.metadata()["classifier"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        classifier = Classifier(**shape).to(device)
        classifier.load_state_dict(state)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that trains the score network") from None
    except (SafetensorError, KeyError, OSError, TypeError, ValueError, RuntimeError):
        raise InputError(f"{path}: not a score network; delete it and run the stage that trains it") from None
    return classifier.eval().requires_grad_(False)


def _initial(classes: int, resolution: int, seed: int) -> Classifier:
    """A classifier with weights drawn from `seed`; the global random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Classifier(classes, resolution)


def _score(logits: Tensor) -> Tensor:
    """exp(mean KL(p(y|x) ‖ p(y))) of [N, classes] logits, with p(y) the mean of p(y|x)."""
    log_p = logits.log_softmax(dim=1)
    p = log_p.exp()
    marginal = p.mean(dim=0)
    divergence = (p * (log_p - marginal.log())).sum(dim=1)
    return divergence.mean().exp()
