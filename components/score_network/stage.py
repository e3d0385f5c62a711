"""The network whose answers the score is computed from: the 2015 Inception network, or a classifier of our own."""

from pathlib import Path

import torch

from progan.config import Config
from progan.dataset.reader import load_images, load_manifest
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
            inception.check_weights(Path(measures.inception_weights), measures.inception_sha256 or "")
            facts = {"kind": "inception", "sha256": measures.inception_sha256}
        elif not manifest.classes:
            facts = {"kind": "none", "why": "the dataset has no labels and measures.inception_weights is null"}
        else:
            resolution = max(config.phases.values(), key=lambda phase: phase.resolution).resolution
            accuracy = _train_classifier(config, dataset, resolution, len(manifest.classes), beside)
            facts = {"kind": "classifier", "resolution": resolution, "accuracy": accuracy, "classes": manifest.classes}
        write_json(beside / DESCRIPTION, facts)
    print(f"{out}: {facts['kind']}" + (f", accuracy {accuracy:.1%}" if facts["kind"] == "classifier" else ""))


def _train_classifier(config: Config, dataset: Path, resolution: int, classes: int, folder: Path) -> float:
    images, labels = load_images(dataset, resolution)
    epochs, seed = config.measures.classifier_epochs, config.measures.seed
    with show_progress("score-network", "images") as advance:
        network, accuracy = classifier.train(
            torch.from_numpy(images), torch.from_numpy(labels), classes, epochs, seed, progress=advance
        )
    classifier.save(network, folder / "classifier.safetensors")
    return accuracy
