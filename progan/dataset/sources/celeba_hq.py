"""Source `celeba-hq`: the 30,000 images of CelebA-HQ, rebuilt from in-the-wild CelebA and its deltas.

Required below the folder `dataset.path`, at any depth: a folder img_celeba/ with the photographs,
list_landmarks_celeba.txt, image_list.txt, the archives deltas00000.zip … deltas29000.zip, and
list_attr_celeba.txt when attributes serve as labels.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from progan.config import DatasetConfig
from progan.dataset.sources.align import align_face
from progan.dataset.sources.archives import Files, open_files
from progan.dataset.sources.celeba_lists import attribute_classes, photos_by_short_name, read_landmarks
from progan.dataset.sources.celeba_wild import IMAGES, is_in_the_wild
from progan.dataset.sources.deltas import decrypt_delta, undo_wrapping
from progan.dataset.sources.folder import read_photo
from progan.dataset.sources.image_list import IMAGE_LIST, ListedImage, read_image_list
from progan.dataset.sources.photo import decode_photo
from progan.dataset.sources.source import Check, Item, Picture, UnusableImage
from progan.errors import InputError
from progan.files import digest_of

IMAGES_PER_ARCHIVE = 1000
MAX_DELTA_BYTES = 2**24  # four times the size of an incompressible delta


@dataclass(frozen=True)
class Face:
    """One image of CelebA-HQ, and the photograph and landmarks that it is built from."""

    listed: ListedImage
    photo: str | None  # its path; None if it is missing
    landmarks: tuple[int, ...]  # x and y of five points


@dataclass(frozen=True)
class CelebaHq:
    """Aligned faces plus their deltas. Each is compared with the digests in image_list.txt.

    `exact`: the digest matches. `close`: it does not, but the delta belongs to the photograph, so that only
    the JPEG decoder differs from the authors' (libjpeg 8d); used unless `strict`. `failed`: never used.
    """

    files: Files
    archives: dict[int, Files]  # delta archives by the index of their first image
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    faces: dict[str, Face]  # by item name
    identity: str
    strict: bool
    side: int = 1024
    channels: int = 3

    @classmethod
    def open(cls, config: DatasetConfig, scratch: Path) -> "CelebaHq":
        """List the images and their inputs. Raises InputError if one of them is missing or wrong."""
        if Path(config.path).is_file():
            raise InputError(f"{config.path}: celeba-hq is read from a folder; unpack it and give that")
        files = open_files(Path(config.path), scratch)
        listed = read_image_list(config, files)
        archives = open_archives(config, files, listed, scratch)
        photos = photos_by_short_name(config, sorted(filter(is_in_the_wild, files.sizes)))
        if not any(image.photo in photos for image in listed):
            raise InputError(
                f"{config.path}: none of {IMAGE_LIST}'s photographs in a folder {IMAGES}; check dataset.path"
            )
        table = read_landmarks(config, files)
        classes = attribute_classes(config, files, [image.photo for image in listed])
        faces = {
            f"{image.index:05d}-{image.photo}": Face(image, photos.get(image.photo), table.row(image.photo))
            for image in listed
        }
        items = tuple(Item(name, classes.label(face.listed.photo)) for name, face in faces.items())
        identity = digest_of([files.identity, list(map(astuple, faces.values())), classes.labels])
        return cls(files, archives, classes.names, items, faces, identity, config.verify == "strict")

    def load(self, item: Item) -> Picture:
        face = self.faces[item.name]
        try:
            pixels, check = rebuild(face.listed, *self.read(face))
        except UnusableImage as error:
            raise UnusableImage(str(error), Check("failed", str(error))) from None
        if check.result == "close" and self.strict:
            raise UnusableImage(f"not exact: {check.detail}", check)
        return Picture(pixels, check=check)

    def read(self, face: Face) -> tuple[np.ndarray, np.ndarray]:
        """The aligned photograph and its delta, both uint8 [S,S,3]. Raises UnusableImage."""
        if face.photo is None:
            raise UnusableImage(f"no photograph {IMAGES}/{face.listed.photo}")
        photo = read_photo(self.files, face.photo)
        delta = decrypt_delta(self.read_delta(face.listed.index), photo, face.listed.photo, self.side)
        landmarks = np.reshape(face.landmarks, (5, 2))
        return align_face(decode_photo(photo, upright=False), landmarks, self.side).pixels, delta

    def read_delta(self, index: int) -> bytes:
        """The encrypted delta of the image `index`. Raises UnusableImage."""
        archive, name = self.archives[first_index(index)], f"delta{index:05d}.dat"
        where = f"{archive_name(index)}: {name}"
        if name not in archive.sizes:
            raise UnusableImage(f"{where} is missing")
        if archive.sizes[name] > MAX_DELTA_BYTES:
            raise UnusableImage(f"{where} is too large to be a delta")
        try:
            return read_photo(archive, name)
        except UnusableImage as error:
            raise UnusableImage(f"{where}: {error}") from None


def open_archives(
    config: DatasetConfig, files: Files, listed: Iterable[ListedImage], scratch: Path
) -> dict[int, Files]:
    """The delta archives of the images, by index of their first image; InputError if one is missing."""
    firsts = sorted({first_index(image.index) for image in listed})
    names = {archive_name(first) for first in firsts}
    paths = photos_by_short_name(
        config, sorted(name for name in files.sizes if PurePosixPath(name).name in names)
    )
    missing = [f"{first:05d}" for first in firsts if archive_name(first) not in paths]
    if missing:
        raise InputError(
            f"{config.path}: no deltas{{{','.join(missing)}}}.zip; fetch what is missing, "
            f"or take its rows out of {IMAGE_LIST}"
        )
    return {first: open_files(Path(config.path, paths[archive_name(first)]), scratch) for first in firsts}


def first_index(index: int) -> int:
    """The index of the first image in the archive that holds the delta of the image `index`."""
    return index - index % IMAGES_PER_ARCHIVE


def archive_name(index: int) -> str:
    return f"deltas{first_index(index):05d}.zip"


def rebuild(listed: ListedImage, aligned: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, Check]:
    """The image, uint8 [S,S,3] like its two parts, and its check. Raises UnusableImage."""
    pixels = aligned + delta  # modulo 256
    if md5(pixels) == listed.final_md5:
        return pixels, Check("exact", "")
    if md5(aligned) == listed.proc_md5:
        raise UnusableImage(
            f"its delta gives another image than {IMAGE_LIST} says, and one of them is damaged"
        )
    pixels = undo_wrapping(pixels, aligned)
    change = np.abs(pixels.astype(np.int16) - aligned).max()
    return pixels, Check("close", f"another JPEG decoder; largest difference made by the delta {change}")


def md5(pixels: np.ndarray) -> str:
    """An image's digest as in CelebA-HQ's list: MD5 (hex) of its uint8 values in the order [C,H,W]."""
    return hashlib.md5(pixels.transpose(2, 0, 1).tobytes(), usedforsecurity=False).hexdigest()
