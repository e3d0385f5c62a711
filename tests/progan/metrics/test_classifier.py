"""The score network: it learns, is repeatable, survives the disk, and scores as the formula says."""

import math

import numpy as np
import pytest
import torch

from progan.errors import InputError
from progan.metrics import classifier
from progan.metrics.classifier import Classifier, extract, load, save, score, train
from progan.metrics.features import Features


def _labelled(count, side, seed=0, channels=3):
    """Noise that is striped across, striped down, or flat: three classes for a convolution to distinguish."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    stripes = torch.arange(side) % 4 // 2 * 60
    patterns = torch.stack(
        [stripes[:, None].expand(side, side), stripes.expand(side, side), torch.full((side, side), 30)]
    )
    noise = torch.randint(100, (count, channels, side, side), generator=generator)
    return (patterns[labels][:, None] + noise).to(torch.uint8), labels


def _score(network, images, splits):
    return score(extract(network, images), splits)


@pytest.fixture(scope="module")
def trained():
    images, labels = _labelled(500, 16)
    return train(images, labels, 3, 4, seed=1)


def test_it_learns_easy_classes(trained):
    network, accuracy = trained
    assert accuracy > 0.9
    assert not network.training
    images, labels = _labelled(200, 16, seed=5)
    assert (network(images).argmax(1) == labels).double().mean() > 0.9


def test_the_accuracy_is_of_images_that_were_held_out():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (200, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(2, (200,), generator=generator)
    _, accuracy = train(images, labels, 2, 10, seed=1)
    assert accuracy in [right / 20 for right in range(21)]
    assert accuracy < 0.9  # meaningless labels can be memorised, but not predicted


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_own_state():
    images, labels = _labelled(100, 8, channels=1)
    state = torch.get_rng_state()
    (first, accuracy), (again, accuracy_again), (other, _) = (
        train(images, labels, 3, 1, seed) for seed in (1, 1, 2)
    )
    assert accuracy == accuracy_again
    for one, two in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.logits.weight, other.logits.weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_counts_minibatches():
    images, labels = _labelled(100, 8)
    steps_done = []
    train(images, labels, 3, 3, 1, progress=lambda done, steps: steps_done.append((done, steps)))
    assert steps_done == [(done, 6) for done in range(1, 7)]  # 90 images are 2 minibatches


def test_images_of_any_size_are_brought_to_the_networks_own():
    network = Classifier(3, 8).eval()
    images, _ = _labelled(5, 8)
    enlarged = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(network(enlarged), network(images))
    small = images[:, :, ::2, ::2]
    torch.testing.assert_close(network(small), network(small.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    grey = images[:, :1]
    torch.testing.assert_close(network(grey), network(grey.repeat(1, 3, 1, 1)))


def test_large_images_are_classified_at_64():
    images, labels = _labelled(10, 128)
    network, _ = train(images, labels, 3, 1, seed=1)
    assert network.resolution == 64


def test_the_score_is_the_formulas():
    images = torch.randint(256, (25, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    logits = images[:, 0, 0].numpy().astype(float) / 32
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    parts = []
    for part in (p[0:8], p[8:16], p[16:25]):
        marginal = part.mean(0)
        parts.append(math.exp(np.mean([sum(row * np.log(row / marginal)) for row in part])))
    measured = score(Features(images, torch.from_numpy(logits).float()), 3)
    assert measured == pytest.approx(
        {"classifier_score": np.mean(parts), "classifier_score_std": np.std(parts)}, rel=1e-6
    )


def test_features_do_not_depend_on_the_minibatch(trained):
    """The logits are the network's own, and linear in the features."""
    network, _ = trained
    images, _ = _labelled(25, 16)
    for size in (1, 7, 25):
        features = extract(network, images.split(size))
        assert features.pool.shape == (25, 128)
        torch.testing.assert_close(features.logits, network(images))
        torch.testing.assert_close(network.logits(features.pool), features.logits)


def test_a_saved_network_scores_the_same(trained, tmp_path):
    network, _ = trained
    images, _ = _labelled(50, 16)
    save(network, tmp_path / "a" / "network.safetensors")
    save(network, tmp_path / "b.safetensors")
    loaded = load(tmp_path / "b.safetensors", torch.device("cpu"))
    assert (loaded.classes, loaded.resolution, loaded.training) == (3, 16, False)
    assert _score(loaded, [images], 5) == _score(network, [images], 5)
    assert (tmp_path / "a" / "network.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_file_that_is_not_a_score_network_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent: no such file"):
        load(tmp_path / "absent", torch.device("cpu"))
    (tmp_path / "text").write_text("hello")
    classifier.save_file({"x": torch.zeros(1)}, tmp_path / "other")
    for name in ("text", "other"):
        with pytest.raises(InputError, match=rf"{name}: not a score network") as caught:
            load(tmp_path / name, torch.device("cpu"))
        assert "\n" not in str(caught.value)


def test_invalid_training_sets_and_splits_are_refused():
    images, labels = _labelled(20, 8)
    with pytest.raises(ValueError, match="at least 10 images are needed, not 9"):
        train(images[:9], labels[:9], 3, 1, 1)
    with pytest.raises(ValueError, match="at least 8 px, not 4"):
        train(images[:, :, ::2, ::2], labels, 3, 1, 1)
    with pytest.raises(ValueError, match="6 splits need at least as many images, not 5"):
        score(Features(images[:5], torch.zeros(5, 3)), 6)
