"""score_network.json: which network scores generators."""

import pytest

from components.score_network.description import ScoreNetwork
from progan.errors import InputError
from progan.files import write_json

AS_WRITTEN = [
    {"kind": "inception", "sha256": "ab" * 32},
    {"kind": "classifier", "accuracy": 0.75, "classes": ["cats", "dogs"]},
    {"kind": "digits", "accuracy": 0.875},
    {"kind": "none", "why": "no labels"},
]


@pytest.mark.parametrize("values", AS_WRITTEN)
def test_what_no_network_of_its_kind_has_is_not_in_the_file(tmp_path, values):
    """Evaluations go by the digest of this file."""
    write_json(tmp_path / "score_network.json", values)
    content = (tmp_path / "score_network.json").read_bytes()
    description = ScoreNetwork.read(tmp_path)
    assert description.kind == values["kind"]
    description.write(tmp_path)
    assert (tmp_path / "score_network.json").read_bytes() == content


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "the file: must be a mapping of keys to values, not []"),
        ({}, "kind: missing"),
        ({"kind": "best"}, "kind: must be 'inception' or 'classifier' or 'digits' or 'none', not 'best'"),
        ({"kind": "classifier", "accuracy": "0.9"}, "accuracy: must be a number, not '0.9'"),
    ],
)
def test_another_file_is_one_line(tmp_path, values, told):
    write_json(tmp_path / "score_network.json", values)
    with pytest.raises(InputError) as error:
        ScoreNetwork.read(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/score_network.json: {told}; ")
    assert str(error.value).endswith("run dvc repro -fs score-network, then this again")
