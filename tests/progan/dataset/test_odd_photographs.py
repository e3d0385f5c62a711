"""A folder of everything that people's folders hold, all at once."""

import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from progan.dataset.build import build
from progan.dataset.reader import load_images

SIDE = 32
# Turned, and with a copyright that is a double instead of text
ENTRIES = struct.pack("<HHHIHHHHI", 2, 0x0112, 3, 1, 6, 0, 0x8298, 12, 1) + struct.pack("<Id", 38, 1.0)
BROKEN_EXIF = b"Exif\0\0II*\0\x08\0\0\0" + ENTRIES


@pytest.fixture
def picture():
    rough = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(rough).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


@pytest.fixture
def odd(tmp_path, picture):
    """Returns the folder and the names of all that show `picture`, as far as each format can."""
    root, grey = tmp_path / "odd", picture.convert("L")
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "x" * 2**21, zip=True)
    transparent = picture.convert("RGBA")
    transparent.putalpha(255)
    pictures = {
        "train/exif.jpg": (picture.transpose(Image.Transpose.ROTATE_90), {"exif": BROKEN_EXIF}),
        "train/no-exif.jpg": (picture, {"exif": b"Exif\0\0" + bytes(range(99))}),
        "train/profile.jpg": (picture, {"icc_profile": bytes(2**21)}),
        "train/xmp.png": (picture, {"pnginfo": texts, "icc_profile": bytes(2**21)}),
        "train/cmyk.jpg": (picture.convert("CMYK"), {"quality": 100}),
        "train/alpha.png": (transparent, {}),
        "val/grey.png": (grey, {}),
        "val/deep.png": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), {}),
        "val/deep.tif": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), {}),
        **{f"val/a.{suffix}": (picture, {"format": "JPEG"}) for suffix in ("jfif", "jpe", "JPG")},
        **{f"val/a.{suffix}": (picture, {}) for suffix in ("bmp", "tiff", "webp")},
        **{f"{cafe}/u\u0308.png": (picture, {}) for cafe in ("cafe\u0301", "caf\u00e9")},
        "caf\u00e9/\u00fc.png": (picture, {}),
        "test/new\nline '\".png": (picture, {}),
    }
    if features.check("avif"):
        pictures["val/a.avif"] = (picture, {})
    for name, (image, options) in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name, **options)
    (root / "..hidden").mkdir()
    picture.save(root / "..hidden/1.png")
    (tmp_path / "elsewhere").mkdir()
    picture.save(tmp_path / "elsewhere/1.png")
    (root / "linked").symlink_to("../elsewhere")
    (root / "test/link.png").symlink_to("../../elsewhere/1.png")
    (root / "test/loop").symlink_to("..")
    (root / "test/lost.png").symlink_to("gone.png")
    Image.new("RGB", (3, 500)).save(root / "test/slim.png")
    (root / "test/empty.jpg").write_bytes(b"")
    (root / "test/cut.jpg").write_bytes((root / "val/a.JPG").read_bytes()[:200])
    (root / "test/text.png").write_text("no photograph")
    (root / "val/phone.heix").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (root / "notes.txt").write_text("no photograph")
    return root, sorted([*pictures, "linked/1.png", "test/link.png"])


def test_every_file_is_used_or_named(tmp_path, config, odd, picture):
    root, names = odd
    manifest = build(config(root, seed=None, resolution=16, max_skipped=0.2), tmp_path / "out", workers=1)
    assert [count.name for count in manifest.classes] == ["caf\u00e9", "linked", "test", "train", "val"]
    assert manifest.passed_over_items == ("notes.txt", "val/phone.heix")
    assert {skip.name.removeprefix("test/") for skip in manifest.skipped_items} == {
        "empty.jpg", "cut.jpg", "text.png", "lost.png",
    }  # fmt: skip
    assert manifest.images == len(names) + 1
    assert manifest.enlarged == 1

    images, labels = load_images(tmp_path / "out", 16)
    names = sorted([*names, "test/slim.png"])
    shown = np.asarray(picture.resize((16, 16), Image.Resampling.LANCZOS)).astype(int)
    grey = np.asarray(picture.convert("L").convert("RGB").resize((16, 16), Image.Resampling.LANCZOS))
    for name, image, label in zip(names, images.transpose(0, 2, 3, 1), labels, strict=True):
        expected = grey if name.startswith(("val/grey", "val/deep")) else shown
        if name != "test/slim.png":
            assert np.abs(image - expected).mean() < 8, name
        folder = name.partition("/")[0]
        assert manifest.classes[label].name == ("caf\u00e9" if folder.startswith("caf") else folder)
