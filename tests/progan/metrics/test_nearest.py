"""Nearest training images: the true ones for any minibatches, and copies distinguished from new images."""

import numpy as np
import pytest
import torch

from progan.metrics import nearest

NONE = torch.full((1,), -1)


def faces(count, side, seed):
    """uint8 [N, 3, R, R] smooth images that all differ."""
    random = torch.Generator().manual_seed(seed)
    rough = torch.rand(count, 3, 8, 8, generator=random)
    return (255 * torch.nn.functional.interpolate(rough, size=side, mode="bilinear")).to(torch.uint8)


def brute_force(query, training, mirror):
    """Distance, index and mirroring of every training image, by numpy, nearest first."""

    def small(image):
        block = max(image.shape[-1] // 32, 1)
        c, side, _ = image.shape
        return image.reshape(c, side // block, block, side // block, block).mean((2, 4), dtype=np.float64)

    ways = [training, training[..., ::-1]] if mirror else [training]
    distances = [[np.sqrt(((small(query) - small(t)) ** 2).mean()) for t in way] for way in ways]
    smallest = np.min(distances, axis=0)
    order = smallest.argsort()
    return smallest[order], order, np.argmin(distances, axis=0)[order]


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("side", [4, 64])
def test_the_nearest_are_those_of_brute_force(mirror, side):
    training, queries = faces(23, side, seed=1), faces(3, side, seed=2)
    queries[2] = training[5].flip(2)
    neighbours = nearest.neighbours(nearest.reduce(queries), training.split(6), 4, mirror, NONE.expand(3))
    for number, query in enumerate(queries.numpy()):
        distances, indices, mirrored = brute_force(query, training.numpy(), mirror)
        np.testing.assert_allclose(neighbours.distances[number], distances[:4], atol=1e-3)
        assert neighbours.indices[number].tolist() == indices[:4].tolist()
        assert neighbours.mirrored[number].tolist() == (mirrored[:4] == 1).tolist()
    assert (neighbours.distances[2, 0] < 1e-3) == mirror


def test_a_training_image_is_not_its_own_neighbour():
    training = faces(9, 16, seed=1)
    training[7] = training[2]
    neighbours = nearest.neighbours(nearest.reduce(training), training.split(4), 1, True, torch.arange(9))
    assert [neighbours.indices[2].item(), neighbours.indices[7].item()] == [7, 2]
    others = [0, 1, 3, 4, 5, 6, 8]
    assert neighbours.distances[[2, 7]].max() < 1e-3
    assert neighbours.distances[others].min() > 1


def test_copies_are_distinguished_from_new_images():
    training, new = faces(200, 32, seed=1), faces(20, 32, seed=2)
    noise = torch.randint(-4, 5, new.shape, generator=torch.Generator().manual_seed(3))
    copies = (training[:20].flip(3) + noise).clamp(0, 255).to(torch.uint8)
    one_copy = torch.cat([new[:19], copies[:1]])

    def measured(fakes):
        queries = nearest.reduce(torch.cat([fakes, training[100:120]]))
        own = torch.cat([NONE.expand(20), torch.arange(100, 120)])
        neighbours = nearest.neighbours(queries, training.split(64), 1, True, own)
        return nearest.measure(neighbours[:20], neighbours[20:])

    assert measured(new)["ratio"] == pytest.approx(1, abs=0.1)
    assert measured(new)["ratio_least"] > 0.8
    assert measured(copies)["ratio"] < 0.1
    assert measured(one_copy)["ratio"] > 0.9
    assert measured(one_copy)["ratio_least"] < 0.1


def test_more_neighbours_than_images():
    images = faces(3, 8, seed=1)
    with pytest.raises(ValueError, match="3 nearest images cannot be found among 3"):
        nearest.neighbours(nearest.reduce(images), [images], 3, False, torch.arange(3))


def test_duplicate_real_images_give_no_finite_ratio():
    same = faces(1, 8, seed=1).expand(4, -1, -1, -1)
    neighbours = nearest.neighbours(nearest.reduce(same), [same], 1, False, torch.tensor([-1, -1, 2, 3]))
    assert not np.isfinite(nearest.measure(neighbours[:2], neighbours[2:])["ratio"])
