"""The model card: its header as the Hub reads it, and commands that run."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from PIL import Image

from components.papers import PAPERS
from components.pictures.model_card import TERMS, export_card, model_card
from components.pictures.records import Record, record_of
from components.register.promotion import promote
from components.tracking.client import client
from progan.checkpoints import OfficialFile
from progan.dataset.sources.by_name import SOURCES
from progan.errors import InputError
from progan.network_config import NetworkConfig
from progan.networks import ARCHITECTURES
from progan.validation import variants_of
from tests.components.register.conftest import finished_run, run  # noqa: F401
from tests.components.register.finished_run import run_gate_and_register

LEFT_TO_DO = re.compile(r"needed|todo|tbd|more information|none\b", re.IGNORECASE)


def blocks(card, language):
    return re.findall(rf"```{language}\n(.*?)```", card, re.DOTALL)


def test_the_card_of_a_version(run, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_gate_and_register(run)
    promote(run.register.model, "1", "none", "")
    export_card(f"models:/{run.register.model}@champion", Path("hub"), None)
    assert sorted(path.name for path in Path("hub").iterdir()) == [
        "README.md",
        "generator.onnx",
        "samples.png",
    ]
    card = Path("hub/README.md").read_text()
    header = yaml.safe_load(card.split("---\n")[1])
    assert {name: header[name] for name in ("license", "library_name", "pipeline_tag", "datasets")} == {
        "license": "mit",
        "library_name": "onnx",
        "pipeline_tag": "unconditional-image-generation",
        "datasets": ["noise"],
    }
    results = ModelCard(card).data.eval_results
    assert {each.metric_type: each.metric_value for each in results} == {
        "swd_average": 50.0, "swd_16": 50.0, "ms_ssim": 0.4, "classifier_score": 2.0,
    }  # fmt: skip
    for text in (
        f"# {run.register.model} version 1",
        "| MS-SSIM | 0.400 | – | best as real images",
        "| images | 64 |",
        "on 2 × NVIDIA H100 (",
        "| 4 px | 0.0 | 0.08 | 8 | 0.004 |",
        "| loss | wgan-gp, penalty 10.0, target 1.0, drift 0.001 |",
        "| precision | float32 |",
        "`data`",
    ):
        assert text in card
    assert not LEFT_TO_DO.search(card)
    client().delete_model_version_tag(run.register.model, "1", "git_commit")
    with pytest.raises(InputError, match="without the tags of progan register .'git_commit'.; register it"):
        record_of(f"models:/{run.register.model}/1")
    monkeypatch.chdir("hub")
    for code in blocks(card, "python"):
        exec(code, {})
    assert Image.open("images.png").size == (8 * 4, 4)


def test_the_card_of_a_conditional_checkpoint(conditional):
    """It was trained nobody knows how, on images of which nobody states a licence."""
    record = record_of("classes/r0016")
    card = model_card(record)
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["license"] == "unknown"
    assert "model-index" not in header
    assert "a row of each class, from the top: cats, dogs" in card
    assert 'inputs["labels"] = np.zeros(8, np.int64)  # 0: cats' in card
    assert "It was not evaluated." in card
    assert yaml.safe_load(model_card(record, "cc0-1.0").split("---\n")[1])["license"] == "cc0-1.0"


@pytest.mark.parametrize(
    ("source", "licence", "dataset"),
    [("celeba-hq", "other", "made"), ("painted", "mit", "made"), ("mnist", "cc-by-sa-3.0", "ylecun/mnist")],
)
def test_the_licence_is_that_of_the_images(plain, source, licence, dataset):
    header = ModelCard(model_card(replace(record_of("checkpoints/r0016"), source=source))).data
    assert (header.license, header.datasets) == (licence, [dataset])
    assert (licence == "other") == ("license_link" in header.to_dict())


def test_the_authors_weights_keep_their_licence(plain):
    record = record_of("checkpoints/r0016")
    facts = replace(record.facts, official=OfficialFile("karras.pkl", "a" * 64))
    card = model_card(Record("official", replace(record.checkpoint, facts=facts), {}, {}))
    header = ModelCard(card).data.to_dict()
    assert header["license"] == "cc-by-nc-4.0"
    assert "datasets" not in header
    assert "The authors' file `karras.pkl`" in card


def test_the_terms_of_every_source_are_known_or_the_users():
    assert set(TERMS) - {"painted"} == set(SOURCES) - {"folder", "tfrecords"}


def test_every_architecture_has_a_paper():
    assert PAPERS.keys() == ARCHITECTURES.keys() == variants_of(NetworkConfig).keys()
