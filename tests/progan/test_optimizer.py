"""Adam on one flat vector against torch's own, and what it does with gradients that are not finite."""

import pytest
import torch
from torch import nn

from progan.optimizer import Adam, flatten


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()


@pytest.mark.parametrize("betas", [(0.0, 0.99), (0.9, 0.999)])
def test_the_same_as_torch(betas):
    ours, theirs = network(), network()
    adam = Adam(ours, betas, 1e-8)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, betas=betas, eps=1e-8)
    for step in range(20):
        x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        loss = ours(x).square().mean()
        gradient, means = adam.gradient(loss, loss.detach()[None])
        assert means == loss
        adam.step(gradient, torch.tensor(0.01, dtype=torch.float64))
        reference.zero_grad()
        theirs(x).square().mean().backward()
        reference.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


def test_parameters_become_views_and_keep_their_values():
    module = network()
    before = [parameter.clone() for parameter in module.parameters()]
    flat = flatten(module)
    for parameter, old in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
    flat.zero_()
    assert all(parameter.abs().sum() == 0 for parameter in module.parameters())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_updates_that_are_not_finite_are_skipped_and_counted(bad):
    module = network()
    adam = Adam(module, (0.5, 0.99), 1e-8)
    rate = torch.tensor(0.01, dtype=torch.float64)
    adam.step(torch.ones_like(adam.values), rate)
    before = {name: tensor.clone() for name, tensor in adam.state_dict().items()} | {
        "values": adam.values.clone()
    }
    gradient = torch.ones_like(adam.values)
    gradient[3] = bad
    adam.step(gradient, rate)
    after = adam.state_dict() | {"values": adam.values}
    assert after.pop("skipped") == before.pop("skipped") + 1 == 1
    assert all(torch.equal(after[name], before[name]) for name in before)
    adam.step(torch.ones_like(adam.values), rate)
    assert adam.skipped == 1
    assert not torch.equal(adam.values, before["values"])


def test_the_first_update_may_be_the_bad_one():
    adam = Adam(network(), (0.0, 0.99), 1e-8)
    before = adam.values.clone()
    adam.step(torch.full_like(adam.values, float("nan")), torch.tensor(0.01, dtype=torch.float64))
    assert torch.equal(adam.values, before)
    assert adam.updates == 0


def test_reset_forgets_the_moments_but_not_the_count_of_skips():
    adam = Adam(network(), (0.5, 0.99), 1e-8)
    rate = torch.tensor(0.01, dtype=torch.float64)
    adam.step(torch.full_like(adam.values, float("nan")), rate)
    adam.step(torch.ones_like(adam.values), rate)
    adam.reset()
    assert adam.updates == adam.first_moment.abs().sum() == adam.second_moment.abs().sum() == 0
    assert adam.skipped == 1


def test_parameters_without_a_part_stay():
    module = network()
    adam = Adam(module, (0.0, 0.99), 1e-8)
    last = module[2].weight.clone()
    loss = module[0](torch.ones(1, 3, dtype=torch.float64)).sum()
    adam.step(adam.gradient(loss, loss.detach()[None])[0], torch.tensor(0.01))
    assert torch.equal(module[2].weight, last)
