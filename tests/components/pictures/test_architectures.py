"""Pictures by the other architectures: from checkpoints, in films, and served by the code that ships."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.pictures.generate import generate
from components.pictures.interpolate import interpolate
from progan.sampling import Sampler, latents_of_seeds
from tests import architectures
from tests.checkpoints import image_of, write_made_checkpoint
from tests.components.pictures.test_films import alike, frames_of, shown


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("checkpoints/r0016")


@pytest.mark.parametrize("architecture", architectures.SMALL)
def test_seeds_are_images(folder, architecture):
    network = architectures.SMALL[architecture]
    generator = write_made_checkpoint(folder, network, 16)
    label = "1" if network.label_size else None
    generate(str(folder), [4], label, 1.0, Path("one.png"))
    image = np.asarray(Image.open("one.png").convert("RGB"))
    expected = image_of(generator, 4, None if label is None else 1)
    scale = image.shape[0] // 16
    assert np.array_equal(image[scale // 2 :: scale, scale // 2 :: scale], expected)


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_a_walk_of_a_stylegan_goes_through_styles(folder, truncation):
    """Halfway between two of them is their mean, in a straight line."""
    network = replace(architectures.SMALL["stylegan2"], mapping_learning_rate=1.0)  # so that styles differ
    generator = write_made_checkpoint(folder, network, 16)
    interpolate(str(folder), [3, 8], 1, None, truncation, 0.4, 10, Path("walk.mp4"))
    frames = [shown(frame, 0, 0, 1) for frame in frames_of("walk.mp4")]
    sampler = Sampler(generator)
    with torch.no_grad():
        ends = generator.start(latents_of_seeds([3, 8], 8))
        styles = torch.stack([ends[0], ends.mean(0), ends[1], ends.mean(0)])
        images = generator.grow(torch.lerp(sampler.center(0), styles, truncation))
    expected = (images * 127.5 + 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    assert all(alike(frame, image) for frame, image in zip(frames, expected, strict=True))
    assert not alike(frames[0], expected[1])
