"""The inputs of an iteration: real images as the networks see them, and its random draws."""

import dataclasses

import torch

from progan import step


def test_reals_by_hand():
    images = torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8)
    plain = step.prepare_reals(images, None, None)
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain[0, 0], torch.tensor([[-1.0, 1.0], [-0.6, 0.6]]))
    mirrored = step.prepare_reals(images, torch.tensor([True]), None)
    torch.testing.assert_close(mirrored[0, 0], torch.tensor([[1.0, -1.0], [0.6, -0.6]]))
    faded = step.prepare_reals(images, None, torch.tensor(0.5))  # half way to the mean, which is 0
    torch.testing.assert_close(faded[0, 0], torch.tensor([[-0.5, 0.5], [-0.3, 0.3]]))


def test_draws_are_a_pure_function(small_config):
    network = dataclasses.replace(small_config.network, label_size=3)
    labels = torch.tensor([0, 2, 2, 2])

    def drawn(seed, shown):
        return step.draw(seed, shown, 64, network, labels)

    for first, second in zip(drawn(1, 16), drawn(1, 16), strict=True):
        assert torch.equal(first, second)
    for other in (drawn(2, 16), drawn(1, 32)):
        assert not torch.equal(drawn(1, 16).critic_latents, other.critic_latents)
        assert not torch.equal(drawn(1, 16).generator_labels, other.generator_labels)
    draws = drawn(1, 16)
    assert not torch.equal(draws.critic_latents, draws.generator_latents)
    assert 0 <= draws.mix.min() <= draws.mix.max() < 1
    assert 16 < draws.mirror.sum() < 48
    zeros, ones, twos = draws.generator_labels.sum(0).tolist()  # as often as in the training set
    assert 4 < zeros < 28
    assert ones == 0
    assert zeros + twos == 64


def test_draws_without_labels_are_those_with_them_but_for_the_labels(small_config):
    network = small_config.network
    without = step.draw(1, 16, 8, network, torch.zeros(64, dtype=torch.int64))
    with_labels = step.draw(1, 16, 8, dataclasses.replace(network, label_size=3), torch.arange(3))
    assert without.generator_labels.shape == (8, 0)
    for name in ("critic_latents", "generator_latents", "mix", "mirror"):
        assert torch.equal(getattr(without, name), getattr(with_labels, name))


def test_random_streams_differ():
    seeds = [step.stream_seed(*entropy) for entropy in [(1, 16), (1, 32), (2, 16), (1, 16, 1), (1, 32, 1)]]
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
