import io
import shutil
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from progan.dataset.build import build
from progan.dataset.pyramid import pyramid
from progan.dataset.reader import load_images
from progan.dataset.sources.celeba_hq_images import CelebaHqImages
from progan.dataset.sources.folder import square
from progan.dataset.sources.source import UnusableImage
from progan.errors import InputError

RNG = np.random.default_rng(8)
ATTRIBUTES = """\
4
Bald Smiling Young
0.jpg  -1  1 -1
2.jpg  1 -1  1
10.jpg -1 -1 -1
11.jpg -1 -1 1
"""


def noise(height, width):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def open_them(tmp_path, config):
    return lambda root, **changes: CelebaHqImages.open(
        config(root, source="celeba-hq-images", **changes), tmp_path / "scratch"
    )


@pytest.fixture
def mask_hq(tmp_path):
    """CelebAMask-HQ as it is unpacked, with three photographs and masks of one."""
    root = tmp_path / "CelebAMask-HQ"
    masks = root / "CelebAMask-HQ-mask-anno" / "0"
    for folder in (root / "CelebA-HQ-img", masks):
        folder.mkdir(parents=True)
    for number in (10, 0, 2):
        Image.fromarray(noise(16, 16)).save(root / "CelebA-HQ-img" / f"{number}.jpg", quality=100)
    for part in ("hair", "skin"):
        Image.fromarray(noise(8, 8)).save(masks / f"00000_{part}.png")
    (root / "CelebAMask-HQ-attribute-anno.txt").write_text(ATTRIBUTES)
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text("idx orig_idx orig_file\n")
    return root


def test_celebamask_hq_is_read_in_numeric_order_without_its_masks(mask_hq, open_them):
    source = open_them(mask_hq)
    assert [item.name for item in source.items] == [f"CelebA-HQ-img/{number}.jpg" for number in (0, 2, 10)]
    assert (source.classes, {item.label for item in source.items}) == ((), {None})
    photo = Image.open(mask_hq / "CelebA-HQ-img" / "2.jpg")
    np.testing.assert_array_equal(source.load(source.items[1]).pixels, np.asarray(photo))


def test_celebamask_hqs_attributes_are_labels(mask_hq, open_them):
    source = open_them(mask_hq, label_attributes=("Smiling", "Young"))
    assert source.classes == ("none", "Smiling", "Young", "Smiling+Young")
    assert [item.label for item in source.items] == [1, 2, 0]
    with pytest.raises(
        InputError, match=r"Smile: not in .*/CelebAMask-HQ-attribute-anno\.txt; did you mean Smi"
    ):
        open_them(mask_hq, label_attributes=("Smile",))
    rows = ATTRIBUTES.replace("\n2.jpg", "\n3.jpg")
    (mask_hq / "CelebAMask-HQ-attribute-anno.txt").write_text(rows)
    with pytest.raises(InputError, match=r"attribute-anno\.txt: no row for 2\.jpg; fetch the complete list"):
        open_them(mask_hq, label_attributes=("Smiling",))
    (mask_hq / "CelebAMask-HQ-attribute-anno.txt").unlink()
    with pytest.raises(InputError, match=r"attribute-anno\.txt: no such file"):
        open_them(mask_hq, label_attributes=("Smiling",))


def test_the_zip_of_celebamask_hq_or_its_photographs_alone_suffice(mask_hq, open_them):
    with zipfile.ZipFile(mask_hq.with_suffix(".zip"), "w") as archive:
        for file in sorted(mask_hq.rglob("*.*")):
            archive.write(file, file.relative_to(mask_hq.parent))
    packed = open_them(mask_hq.with_suffix(".zip"), label_attributes=("Bald",))
    assert [item.label for item in packed.items] == [0, 1, 0]
    alone = open_them(mask_hq / "CelebA-HQ-img")
    assert [item.name for item in alone.items] == ["0.jpg", "2.jpg", "10.jpg"]
    for one, other in zip(packed.items, alone.items, strict=True):
        np.testing.assert_array_equal(packed.load(one).pixels, alone.load(other).pixels)


def test_masks_are_never_taken_for_photographs(mask_hq, open_them):
    shutil.rmtree(mask_hq / "CelebA-HQ-img")
    for root in (mask_hq, mask_hq / "CelebAMask-HQ-mask-anno"):
        with pytest.raises(
            InputError, match=f"{root.name}: no photographs in a folder CelebA-HQ-img; check da"
        ):
            open_them(root)


def test_two_photographs_with_the_same_number(mask_hq, open_them):
    (mask_hq / "old" / "CelebA-HQ-img").mkdir(parents=True)
    shutil.copy(mask_hq / "CelebA-HQ-img" / "2.jpg", mask_hq / "old" / "CelebA-HQ-img" / "2.jpg")
    with pytest.raises(InputError, match=r"both CelebA-HQ-img/2\.jpg and old/CelebA-HQ-img/2\.jpg; remove"):
        open_them(mask_hq)


def test_folders_of_images_are_classes(tmp_path, open_them, photos):
    root = photos(tmp_path / "p", ["train/male/1", "train/female/2", "val/male/3"])
    source = open_them(root)
    assert source.classes == ("female", "male")
    assert [(item.name, item.label) for item in source.items] == [
        ("train/female/2.png", 0),
        ("train/male/1.png", 1),
        ("val/male/3.png", 1),
    ]
    assert open_them(photos(tmp_path / "q", ["all/1", "all/2"])).classes == ()


@pytest.mark.parametrize("side", [8, 16, 64])
def test_a_square_of_a_power_of_two_is_handed_over_whole(tmp_path, open_them, side):
    pixels = noise(side, side)
    Image.fromarray(pixels).save(tmp_path / "1.png")
    source = open_them(tmp_path)
    picture = source.load(source.items[0])
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert not picture.enlarged


@pytest.mark.parametrize(("height", "width"), [(4, 4), (17, 17), (24, 24), (16, 32), (8, 5)])
def test_anything_else_is_cropped_and_resized(tmp_path, open_them, height, width):
    pixels = noise(height, width)
    Image.fromarray(pixels).save(tmp_path / "1.png")
    source = open_them(tmp_path)
    picture = source.load(source.items[0])
    np.testing.assert_array_equal(picture.pixels, square(Image.fromarray(pixels), 8).pixels)
    assert picture.enlarged == (min(height, width) < 8)


def test_only_celebamask_hq_has_attributes(tmp_path, open_them, photos):
    with pytest.raises(InputError, match=r"p: only CelebA-HQ-img/ comes with attributes; use label_attr"):
        open_them(photos(tmp_path / "p", ["1"]), label_attributes=("Smiling",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no photographs .* in it; check dataset\.path"):
        open_them(tmp_path / "empty")


def test_a_broken_image_in_a_parquet_file_alone_is_unusable(tmp_path, open_them):
    images = [png(noise(8, 8)), None, png(noise(8, 8))[:150]]
    pq.write_table(pa.table({"image": pa.array(images, pa.binary())}), tmp_path / "a.parquet")
    source = open_them(tmp_path)
    source.load(source.items[0])
    for item, why in zip(source.items[1:], ("the file is empty", "unreadable|truncated"), strict=True):
        with pytest.raises(UnusableImage, match=why):
            source.load(item)


def test_a_data_set_of_parquet_files_is_built(tmp_path, config):
    """Levels are means of the native images, not of those resized to the highest level."""
    tops = [noise(16, 16) for _ in range(60)]
    labels = RNG.integers(0, 2, 60)
    (tmp_path / "p").mkdir()
    for begin, end in ((0, 25), (25, 60)):
        rows = {
            "image": pa.array([{"bytes": png(top), "path": None} for top in tops[begin:end]]),
            "label": pa.array([("female", "male")[label] for label in labels[begin:end]]),
        }
        pq.write_table(pa.table(rows), tmp_path / "p" / f"{begin:03d}.parquet", row_group_size=10)
    parameters = config(tmp_path / "p", source="celeba-hq-images", resolution=8, seed=11)
    manifest = build(parameters, tmp_path / "out", workers=1)
    order = np.arange(60)
    np.random.RandomState(11).shuffle(order)
    for resolution in (4, 8):
        images, built_labels = load_images(tmp_path / "out", resolution)
        expected = [pyramid(tops[place])[resolution].transpose(2, 0, 1) for place in order]
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(built_labels, labels[order])
    assert [count.name for count in manifest.classes] == ["female", "male"]
    assert (manifest.enlarged, manifest.skipped) == (0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]
