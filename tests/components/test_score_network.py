"""score_network.json: which network scores generators."""

from dataclasses import replace

import pytest
from PIL import Image

from components.score_network.description import ScoreNetwork
from components.score_network.stage import prepare_score_network
from progan.dataset.build import build
from progan.errors import InputError
from progan.files import write_json
from progan.validation import sealed


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "inception", "sha256": "ab" * 32},
        {"kind": "classifier", "accuracy": 0.75, "classes": ["cats", "dogs"]},
        {"kind": "none", "why": "no labels"},
    ],
)
def test_what_no_network_of_its_kind_has_is_not_in_the_file(tmp_path, values):
    """Evaluations go by the digest of this file."""
    file, again = tmp_path / "score_network.json", tmp_path / "again.json"
    write_json(file, sealed(values))
    ScoreNetwork.read(file).write(again)
    assert again.read_bytes() == file.read_bytes()


def test_an_unknown_kind_is_one_line(tmp_path):
    file = tmp_path / "score_network.json"
    write_json(file, {"kind": "best"})
    with pytest.raises(InputError) as error:
        ScoreNetwork.read(file)
    assert str(error.value).startswith(f"{file}: kind: must be 'inception' or ")
    assert str(error.value).endswith("run dvc repro -fs score-network, then this again")


@pytest.mark.parametrize(
    ("images", "resolution", "why"),
    [(9, 8, "at least 10 images are needed"), (12, 4, "at least 8 px")],
)
def test_too_few_or_too_small_labelled_images_are_not_scored(
    tmp_path, small_config, capsys, images, resolution, why
):
    for number in range(images):
        (tmp_path / "p" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "p" / "ab"[number % 2] / f"{number}.png")
    changes = {"source": "folder", "path": str(tmp_path / "p"), "resolution": resolution}
    dataset = replace(small_config.dataset, label_attributes=(), **changes)
    build(dataset, tmp_path / "built", workers=1)
    phases = {key: phase for key, phase in small_config.phases.items() if phase.resolution <= resolution}
    config = replace(small_config, dataset=dataset, phases=phases)
    prepare_score_network(config, tmp_path / "built", tmp_path / "network")
    network = ScoreNetwork.read(tmp_path / "network/score_network.json")
    assert network.kind == "none"
    assert why in network.why
    assert network.why in capsys.readouterr().out
