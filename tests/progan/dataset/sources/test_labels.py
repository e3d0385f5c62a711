"""Where the labels of photographs come from."""

import json
import zipfile

import numpy as np
import pytest

from progan.dataset.build import build
from progan.dataset.reader import load_images
from progan.dataset.sources.by_name import open_source
from progan.dataset.sources.folder import Folder
from progan.errors import InputError

NAMES = [f"{number // 4:05d}/img{number}" for number in range(8)]


@pytest.fixture
def numbered(tmp_path, photos):
    """Eight photographs in folders that are no classes."""
    return photos(tmp_path / "p", NAMES)


def labels_of(source):
    return {item.name: source.classes[item.label] for item in source.items}


def stylegan_list():
    return json.dumps({"labels": [[f"{name}.png", number % 3 + 8] for number, name in enumerate(NAMES)]})


def test_stylegans_list_beside_the_images(tmp_path, config, numbered):
    (numbered / "dataset.json").write_text(stylegan_list())
    source = Folder.open(config(numbered, labels="dataset.json"), tmp_path)
    assert source.classes == ("8", "9", "10")
    assert labels_of(source) == {f"{name}.png": str(number % 3 + 8) for number, name in enumerate(NAMES)}
    assert source.passed_over == ()
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for file in numbered.rglob("*.*"):
            archive.write(file, f"top/{file.relative_to(numbered)}")
    packed = Folder.open(config(tmp_path / "p.zip", labels="dataset.json"), tmp_path)
    assert labels_of(packed) == {f"top/{name}": label for name, label in labels_of(source).items()}


@pytest.mark.parametrize("column", ["file", "file_name", "filename"])
def test_a_csv_file(tmp_path, config, photos, column):
    root = photos(tmp_path / "p", ["cafe\u0301", "a/2", "a/3"])
    (root / "mine.csv").write_text(
        f'age,{column},label\n1,caf\u00e9.png,"old, very"\n2,a/2.png,young\n3,a/3.png,young\n9,gone.png,x\n',
        encoding="utf-8-sig",
    )
    source = Folder.open(config(root, labels="mine.csv"), tmp_path)
    assert labels_of(source) == {"cafe\u0301.png": "old, very", "a/2.png": "young", "a/3.png": "young"}


def test_no_labels_of_any_source(tmp_path, config, photos):
    root = photos(tmp_path / "p", ["train/1", "val/2"])
    manifest = build(config(root, labels="none"), tmp_path / "none", workers=1)
    assert (manifest.classes, manifest.parameters["labels"]) == ((), "none")
    images, labels = load_images(tmp_path / "none", 8)
    assert labels is None
    manifest = build(config(root), tmp_path / "folders", workers=1)
    assert "labels" not in manifest.parameters
    np.testing.assert_array_equal(images, load_images(tmp_path / "folders", 8)[0])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.csv", None, "dataset.labels: no gone.csv in .*p; name a file there, source or none"),
        (
            "a.csv",
            "file,label\n00000/img0.png,x\n",
            r"a\.csv: no label for 00000/img1\.png and 6 others; add",
        ),
        (
            "a.csv",
            "picture,label\n",
            r"a\.csv: a CSV file in UTF-8 with the columns file and label is expected",
        ),
        ("a.csv", "file,label\n1.png\n", r"a\.csv: a CSV file in UTF-8"),
        ("a.csv", b"file,label\n\xff,1\n", r"a\.csv: a CSV file in UTF-8"),
        ("a.json", "{}", r'a\.json: \{"labels": \[\["file", number\], …\]\} is expected'),
        ("a.json", '{"labels": null}', r"a\.json: .* is expected"),
        ("a.json", '{"labels": [["x.png", [0.5, 1]]]}', r"a\.json: .* is expected"),
        ("a.json", "[", r"a\.json: .* is expected"),
    ],
)
def test_lists_that_are_refused(tmp_path, config, numbered, name, text, message):
    if text is not None:
        (numbered / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as error:
        Folder.open(config(numbered, labels=name), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["lsun", "folder", "celeba-hq-images"])
def test_only_photographs_in_files_have_a_list(tmp_path, config, source):
    """Images in tables have a column, those of other sources what comes with them."""
    root = tmp_path / ("CelebAMask-HQ-mask-anno" if source == "celeba-hq-images" else "p")
    root.mkdir()
    (root / "a.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="dataset.labels: a.csv is for photographs in files, which"):
        open_source(config(root, source=source, labels="a.csv"), tmp_path)
