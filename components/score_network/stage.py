"""The network that scores generators: the 2015 Inception network, or a classifier trained on the dataset."""

from pathlib import Path

import torch
from torch import Tensor

from components.score_network.description import FILE_NAME, ScoreNetwork
from progan.arithmetic import arithmetic
from progan.config import Config
from progan.dataset.reader import load_images, load_manifest, require_fit
from progan.device import best_device
from progan.errors import InputError
from progan.files import atomic_folder
from progan.metrics import classifier, inception, modes
from progan.progress import show_progress

CLASSIFIER = "classifier.safetensors"


@arithmetic()
def prepare_score_network(config: Config, dataset: Path, out: Path) -> None:
    """Choose the network that scores this dataset's generators, and train it if it is a classifier.

    The folder `out` holds its description, whose kind is "inception" (a file was given, its digest is right),
    "classifier" (trained on the dataset's labels, beside it), "digits" (trained on the planes of MNIST-1K's
    images, where modes are counted) or "none" (neither file nor labels, or too few or too small images).
    """
    measures = config.measures
    manifest = load_manifest(dataset)
    require_fit(config.network, manifest.channels, len(manifest.classes), dataset)
    with atomic_folder(out) as partial:
        if measures.inception_weights is not None:
            inception.load_network(
                Path(measures.inception_weights), measures.inception_sha256 or "", best_device()
            )
            network = ScoreNetwork("inception", sha256=measures.inception_sha256)
        elif measures.mode_samples is not None:
            network = ScoreNetwork("digits", accuracy=_train_on_digits(config, dataset, partial))
        elif not manifest.classes:
            why = "the dataset has no labels and measures.inception_weights is null"
            network = ScoreNetwork("none", why=why)
        elif why_not := classifier.too_little(manifest.images, classifier_resolution(config)):
            network = ScoreNetwork("none", why=f"to train a classifier of the labels, {why_not}")
        else:
            names = tuple(label.name for label in manifest.classes)
            labelled = _labelled(dataset, classifier_resolution(config))
            accuracy = _train(config, *labelled, len(names), partial)
            chance = max(count.images for count in manifest.classes) / manifest.images
            network = ScoreNetwork(
                "classifier", accuracy=accuracy, classes=names, better_than_chance=accuracy > chance
            )
        network.write(partial / FILE_NAME)
    reached = "" if network.accuracy is None else f", accuracy {network.accuracy:.1%}"
    why = "" if network.why is None else f", no score will be measured: {network.why}"
    doubt = "" if network.better_than_chance else ", no better than chance: its score will not be judged"
    print(f"{out}: {network.kind}{reached}{doubt}{why}")
    if network.kind == "none" and config.gate.score_min is not None:
        print("gate.score_min: no generator can reach it without a score; set it to null")


def classifier_resolution(config: Config) -> int:
    """The resolution that the classifier is trained on: the dataset's highest, but at most 64 px."""
    return min(config.dataset.resolution, classifier.LARGEST_SIDE)


def _train_on_digits(config: Config, dataset: Path, folder: Path) -> float:
    """Train on single planes of stacked digits; return the accuracy on held-out ones."""
    manifest = load_manifest(dataset)
    if (manifest.channels, len(manifest.classes)) != (3, modes.MODES):
        raise InputError(
            "measures.mode_samples: modes are counted in images of the source mnistrgb; set it to null here"
        )
    images, labels = _labelled(dataset, classifier_resolution(config))
    first = slice(modes.TRAINING_IMAGES)
    return _train(config, *modes.planes(images[first], labels[first]), modes.DIGITS, folder)


def _labelled(dataset: Path, resolution: int) -> tuple[Tensor, Tensor]:
    """The images, uint8 [N, C, R, R], and the labels, int64 [N], of a dataset with classes."""
    images, labels = load_images(dataset, resolution)
    assert labels is not None
    return torch.from_numpy(images), torch.from_numpy(labels)


def _train(config: Config, images: Tensor, labels: Tensor, classes: int, folder: Path) -> float:
    epochs, seed = config.measures.classifier_epochs, config.measures.seed
    with show_progress("score-network", "steps") as advance:
        network, accuracy = classifier.train(images, labels, classes, epochs, seed, progress=advance)
    classifier.save(network, folder / CLASSIFIER)
    return accuracy
