"""image_list.txt: the photographs that CelebA-HQ's images are built from, and the digests of both."""

import re
from dataclasses import dataclass

from progan.config import DatasetConfig
from progan.dataset.sources.archives import Files
from progan.dataset.sources.celeba_lists import read_lines
from progan.errors import InputError

IMAGE_LIST = "image_list.txt"
COLUMNS = ("idx", "orig_idx", "orig_file", "proc_md5", "final_md5")
ROW = re.compile(r"(\d{1,5})\s+\d+\s+([\w.-]+)\s+([0-9a-f]{32})\s+([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListedImage:
    """A row; the digests are MD5s in lower-case hex, of uint8 values in the order [C,H,W]."""

    index: int
    photo: str  # the file name of the in-the-wild photograph, ASCII
    proc_md5: str  # of the aligned photograph
    final_md5: str  # of the final image, after adding the delta


def read_image_list(config: DatasetConfig, files: Files) -> tuple[ListedImage, ...]:
    """The rows, lowest index first. Raises InputError if the file or a line is missing or wrong."""
    where, lines = read_lines(config, files, IMAGE_LIST, "CelebA-HQ's deltas")
    if not lines or tuple(lines[0].split()) != COLUMNS:
        raise InputError(f"{where}: line 1: {' '.join(COLUMNS)} is expected; fetch it again")
    images: dict[int, ListedImage] = {}
    photos: set[str] = set()
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        row = ROW.fullmatch(line.strip())
        if row is None:
            raise InputError(f"{where}: line {number}: not a row of {', '.join(COLUMNS)}; fetch it again")
        image = ListedImage(int(row[1]), *row.groups()[1:])
        if image.index in images or image.photo in photos:
            raise InputError(
                f"{where}: line {number}: a second row for {image.index} or {image.photo}; fetch it again"
            )
        images[image.index] = image
        photos.add(image.photo)
    if not images:
        raise InputError(f"{where}: no rows; fetch it again")
    return tuple(images[index] for index in sorted(images))
