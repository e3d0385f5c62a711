"""Write a folder for the Hugging Face Hub: a generator as an ONNX file, samples of it, and its model card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from components.evaluate.measures import measures_in
from components.page import template
from components.papers import PAPERS
from components.pictures.export import write_onnx
from components.pictures.records import PAINTED, Record, record_of
from components.pictures.sources import inputs_of
from components.tracking.client import public_address, tracking_uri
from progan.errors import InputError
from progan.files import atomic_folder
from progan.render import columns_for, grid, write_picture
from progan.sampling import Sampler

CARD, ONNX, SAMPLES = "README.md", "generator.onnx", "samples.png"
TASK = "unconditional-image-generation"
SAMPLE_SEEDS, SAMPLE_CLASSES, SAMPLE_PIXELS = 16, 8, 1024


@dataclass(frozen=True)
class Terms:
    """Under which terms weights may be used: those of the images they were trained on."""

    licence: str  # as the Hub calls it
    text: str
    link: str | None = None  # to a licence of its own
    dataset: str | None = None  # the name of the images on the Hub


CELEBA = Terms(
    "other",
    "CelebA is available for non-commercial research only, and its photographs belong to their owners.",
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
)
NO_LICENCE = "The authors of the dataset state no licence."
UNKNOWN = Terms("unknown", "The licence of the images is that of whoever took or collected them.")
OFFICIAL = Terms("cc-by-nc-4.0", "The paper's authors released these weights under CC BY-NC 4.0.")
TERMS = {  # by the source of the dataset
    PAINTED: Terms("mit", "`progan paint` drew the images; they are under the licence of the project, MIT."),
    "celeba": CELEBA,
    "celeba-hq": CELEBA,
    "celeba-hq-images": CELEBA,
    "celeba-wild": CELEBA,
    "cifar10": Terms("unknown", NO_LICENCE, dataset="uoft-cs/cifar10"),
    "cifar100": Terms("unknown", NO_LICENCE, dataset="uoft-cs/cifar100"),
    "lsun": Terms("unknown", NO_LICENCE),
    "mnist": Terms("cc-by-sa-3.0", "MNIST is available under CC BY-SA 3.0.", dataset="ylecun/mnist"),
    "mnistrgb": Terms("cc-by-sa-3.0", "MNIST is available under CC BY-SA 3.0.", dataset="ylecun/mnist"),
    "svhn": Terms(
        "other",
        "SVHN is available for non-commercial use only.",
        "http://ufldl.stanford.edu/housenumbers/",
        "ufldl-stanford/svhn",
    ),
}


def export_card(address: str, out: Path, licence: str | None) -> None:
    """Write the ONNX file of the generator at `address`, samples and the model card to the new folder `out`.

    licence: of the weights, as the Hub calls it; None for that of the training images.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--card: {out}: exists already; name a new folder")
    record = record_of(address)
    sampler = Sampler.of(record.checkpoint)
    with atomic_folder(out) as partial:
        write_onnx(record.checkpoint, sampler, partial / ONNX)
        write_picture(partial / SAMPLES, _samples(sampler))
        (partial / CARD).write_text(model_card(record, licence))
    print(f"{out}: {record.name} as {ONNX}, with {CARD} and {SAMPLES}")


def model_card(record: Record, licence: str | None = None) -> str:
    """The text of the card, with its YAML header."""
    terms = OFFICIAL if record.facts.official else TERMS.get(record.source or "", UNKNOWN)
    name = record.model or f"progan-{record.facts.dataset.name}-{record.facts.resolution}"
    rows = measures_in([record.measures])
    header = _header(record, name, terms, licence)
    return "---\n{}---\n\n{}\n".format(
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=100),
        template("pictures/model_card.md").render(
            record=record,
            facts=record.facts,
            paper=PAPERS[record.facts.network.architecture],
            name=name,
            rows=rows,
            licence=header["license"],
            terms=None if licence else terms,
            columns=min(len(record.facts.classes), SAMPLE_CLASSES),
            address=public_address(tracking_uri()),
        ),
    )


def _header(record: Record, name: str, terms: Terms, licence: str | None) -> dict[str, Any]:
    """The metadata of the card: https://huggingface.co/docs/hub/model-cards."""
    link = {"license_name": "terms-of-the-images", "license_link": terms.link} if terms.link else {}
    facts = record.facts
    images = {} if facts.official else {"datasets": [terms.dataset or facts.dataset.name]}
    conditional = ["class-conditional"] if facts.classes else []
    kind = PAPERS[facts.network.architecture].tag
    return {
        **({"license": licence} if licence else {"license": terms.licence, **link}),
        "library_name": "onnx",
        "pipeline_tag": TASK,
        "tags": ["gan", kind, "image-generation", *conditional, "onnx", "progan"],
        **images,
        **_results(record, name),
    }


def _results(record: Record, name: str) -> dict[str, Any]:
    """The finite measures, in the form `model-index`; empty if there are none."""
    facts = record.facts
    metrics = [
        {"type": row.name, "name": row.title, "value": round(value, row.digits)}
        for row in measures_in([record.measures])
        if (value := record.measures[row.name]) is not None
    ]
    if not metrics:
        return {}
    dataset = {"type": facts.dataset.name, "name": f"{facts.dataset.name}, {facts.resolution} px"}
    result = {"task": {"type": TASK, "name": "Image generation"}, "dataset": dataset, "metrics": metrics}
    return {
        "metrics": [metric["type"] for metric in metrics],
        "model-index": [{"name": name, "results": [result]}],
    }


def _samples(sampler: Sampler) -> Image.Image:
    """A sheet of samples; a row of each of the first classes."""
    labels = list(range(min(len(sampler.classes), SAMPLE_CLASSES))) or [0]
    seeds = range(SAMPLE_SEEDS if len(labels) == 1 else SAMPLE_CLASSES)
    images = torch.cat(list(sampler.images(*inputs_of(sampler, seeds, labels))))
    sheet = grid(images, SAMPLE_PIXELS, columns_for(len(seeds), len(labels)))
    sheet.thumbnail((SAMPLE_PIXELS, SAMPLE_PIXELS))
    return sheet
