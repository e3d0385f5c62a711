"""score_network.json: which network scores generators."""

import pytest

from components.score_network.description import ScoreNetwork
from progan.errors import InputError
from progan.files import write_json


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
    write_json(file, values)
    ScoreNetwork.read(file).write(again)
    assert again.read_bytes() == file.read_bytes()


def test_an_unknown_kind_is_one_line(tmp_path):
    file = tmp_path / "score_network.json"
    write_json(file, {"kind": "best"})
    with pytest.raises(InputError) as error:
        ScoreNetwork.read(file)
    assert str(error.value).startswith(f"{file}: kind: must be 'inception' or ")
    assert str(error.value).endswith("run dvc repro -fs score-network, then this again")
