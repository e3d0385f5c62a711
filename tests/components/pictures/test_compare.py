"""The page that shows generators side by side."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from components.pictures.compare import compare
from progan.checkpoints import read_checkpoint
from progan.errors import InputError
from tests.checkpoints import image_of, write_made_checkpoint
from tests.evaluations import EVALUATION
from tests.made_up import file

SRC = re.compile(r'<img.*? src="data:image/png;base64,([^"]+)" alt="([^"]+)"')


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Returns a function that compares generators and returns the page."""
    monkeypatch.chdir(tmp_path)

    def page(*addresses, seeds=(3, 8), label=None):
        compare(addresses, seeds, label, Path("compare.html"))
        return Path("compare.html").read_text()

    return page


def pictures(html):
    """The images by their alternative texts: uint8 [R, R, C]."""
    return {
        alt: np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text, alt in SRC.findall(html)
    }


def table(html, heading):
    """The rows of the table below a heading: the texts of their cells."""
    section = html.partition(f"<h2>{heading}</h2>")[2].partition("<h2>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", section.partition("<tbody>")[2], re.DOTALL)
    return [
        [
            " ".join(re.sub(r"<[^>]+>", " ", cell).split())
            for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)
        ]
        for row in rows
    ]


def measured(folder, **measures):
    """Put an evaluation of the checkpoint `folder` into its project."""
    checkpoint = read_checkpoint(Path(folder))
    evaluation = replace(
        EVALUATION, checkpoint=checkpoint.digest, phase=checkpoint.facts.phase, measures=measures
    )
    evaluation.write(Path(folder).parents[1] / f"evaluation/{checkpoint.facts.phase}.json")


def test_generators_of_other_sizes_show_the_same_seeds(page, small_config, tmp_path):
    small, large = small_config.network, replace(small_config.network, latent_size=12, label_size=2)
    first = write_made_checkpoint(tmp_path / "a/r0008", small, 8)
    second = write_made_checkpoint(tmp_path / "b/r0016", large, 16, ["cats", "dogs"])
    html = page("a/r0008", "b/r0016")
    images = pictures(html)
    assert len(images) == 2 * 2 * 2
    for label, name in enumerate(["cats", "dogs"]):
        for seed in (3, 8):
            for address, generator, given in (("a/r0008", first, None), ("b/r0016", second, label)):
                image = images[f"{address}, seed {seed}, {name}"]
                assert np.abs(image.astype(int) - image_of(generator, seed, given)).max() <= 1
    assert table(html, "What differs in params.yaml") == [
        ["network.latent_size", "8", "12"],
        ["network.label_size", "0", "2"],
    ]
    assert "None of them has been evaluated" in html
    assert not re.search(r'(?:src|href)="(?!data:)', html), "it needs no other file"
    assert len(pictures(page("a/r0008", "b/r0016", label="dogs"))) == 2 * 2


def test_the_best_of_each_row_is_marked(page, small_params, small_config, tmp_path):
    """Lower, higher, or near real images; nothing is marked where all look equal or neither way is better."""
    values = [
        {"swd_average": 30.0, "ms_ssim": 0.2, "classifier_score": 2.0, "fid": 9.0, "nearest_ratio": 1.0},
        {"swd_average": 20.0, "ms_ssim": 0.31, "classifier_score": 1.0, "fid": 9.01, "nearest_ratio": 2.0},
    ]
    for number, measures in enumerate(values):
        project = tmp_path / f"project{number}"
        write_made_checkpoint(project / "checkpoints/r0008", small_config.network, 8, seed=number)
        file(project / "params.yaml", yaml.safe_dump(small_params).encode())
        measured(project / "checkpoints/r0008", **measures, ms_ssim_reals=0.3)
    html = page("project0/checkpoints/r0008", "project1/checkpoints/r0008")
    assert table(html, "Measures") == [
        ["SWD × 1000 lower is better", "30.0", "20.0"],
        ["MS-SSIM best as real images; above: alike", "0.200 / 0.300", "0.310 / 0.300"],
        ["FID lower is better", "9.0", "9.0"],
        ["Classifier score higher is better", "2.00", "1.00"],
        ["Nearest training image about 1 or above; near 0: copies", "1.00", "2.00"],
    ]
    assert re.findall(r'class="best">([^<]+)', html) == ["20.0", "0.310", "2.00"]
    assert "Nothing that is known" in html


@pytest.mark.parametrize(
    ("addresses", "options", "message"),
    [
        (["a/r0008"], {}, "a/r0008: name at least two generators to compare"),
        (["a/r0008", "nowhere"], {}, "nowhere: no finished phase here"),
        (["a/r0008", "x.onnx"], {}, "x.onnx: an ONNX file has neither parameters nor measures"),
        (["a/r0008", "a/r0008"], {"label": "cats"}, "label cats: this generator was trained without labels"),
        (["a/r0008", "a/r0008"], {"seeds": range(2000)}, "4,000 images: a page holds at most 2,000"),
    ],
)
def test_mistakes_are_one_line(page, small_config, tmp_path, addresses, options, message):
    write_made_checkpoint(tmp_path / "a/r0008", small_config.network, 8)
    with pytest.raises(InputError) as caught:
        page(*addresses, **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert not Path("compare.html").exists()
