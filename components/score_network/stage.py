"""The network behind the score: the 2015 Inception network, or a classifier of the dataset's labels."""

from pathlib import Path
from typing import Any

import torch

from progan.config import Config
from progan.dataset.reader import load_images, load_manifest
from progan.device import best_device
from progan.files import atomic_folder, write_json
from progan.metrics import classifier, inception
from progan.progress import show_progress

DESCRIPTION = "score_network.json"


def prepare_score_network(config: Config, dataset: Path, out: Path) -> None:
    """Decide which network scores this dataset's generators, and train it where it is our own.

    The folder `out` holds score_network.json with `kind`: "inception" (a file was given, its digest is
    right), "classifier" (trained on the dataset's labels, beside it) or "none" (neither file nor labels).
    """
    measures = config.measures
    manifest = load_manifest(dataset)
    with atomic_folder(out) as beside:
        if measures.inception_weights is not None:
            inception.load_network(
                Path(measures.inception_weights), measures.inception_sha256 or "", best_device()
            )
            facts: dict[str, Any] = {"kind": "inception", "sha256": measures.inception_sha256}
        elif not manifest.classes:
            facts = {
                "kind": "none",
                "why": "the dataset has no labels and measures.inception_weights is null",
            }
        else:
            names = [label.name for label in manifest.classes]
            accuracy = _train_classifier(config, dataset, len(names), beside)
            facts = {"kind": "classifier", "accuracy": accuracy, "classes": names}
        write_json(beside / DESCRIPTION, facts)
    print(f"{out}: {facts['kind']}" + (f", accuracy {accuracy:.1%}" if facts["kind"] == "classifier" else ""))


def _train_classifier(config: Config, dataset: Path, classes: int, folder: Path) -> float:
    """Train on the highest resolution up to 64 px; the accuracy on images held out."""
    resolution = min(max(load_manifest(dataset).resolutions), classifier.LARGEST_SIDE)
    images, labels = load_images(dataset, resolution)
    if labels is None:
        raise AssertionError("a dataset with classes has labels")
    epochs, seed = config.measures.classifier_epochs, config.measures.seed
    with show_progress("score-network", "steps") as advance:
        network, accuracy = classifier.train(
            torch.from_numpy(images), torch.from_numpy(labels), classes, epochs, seed, progress=advance
        )
    classifier.save(network, folder / "classifier.safetensors")
    return accuracy
