"""The state that training changes: networks, optimisers, the noise's strength and sums of statistics."""

import copy
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from progan.checkpoints import Checkpoint, prefixed, stripped
from progan.config import Config, PhaseConfig
from progan.distributed import Ranks
from progan.errors import InputError
from progan.network_config import NetworkConfig
from progan.networks import Discriminator, Generator, build_networks
from progan.noise import InstanceNoise
from progan.optimizer import Adam, flatten
from progan.randomness import Randomness

STATISTICS = ("d_loss", "g_loss", "real_score", "fake_score", "gradient_norm")


def state_tensors(**parts: nn.Module | Adam) -> dict[str, Tensor]:
    """The state of networks and optimisers as a checkpoint has it: by part and name, on the CPU."""
    return {
        name: tensor
        for part, owner in parts.items()
        for name, tensor in prefixed(part, owner.state_dict()).items()
    }


def require_network(checkpoint: Checkpoint, network: NetworkConfig) -> None:
    """Raise InputError, naming the first parameter that differs, unless the checkpoint has this `network`."""
    for field in fields(network):  # the architecture first, so the rest are of the same
        trained = getattr(checkpoint.facts.network, field.name)
        configured = getattr(network, field.name)
        if trained != configured:
            raise InputError(
                f"{checkpoint.folder}: made with another network configuration (network.{field.name}: "
                f"{trained}, in params.yaml {configured}); set it as it was, or train the earlier ones again"
            )


def load_grown(module: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Load the levels in `state` into `module`, which may have newer levels as well.

    Raises InputError if `module` has no such tensor, or one of another shape.
    """
    initial = module.state_dict()
    for name, tensor in state.items():
        if name not in initial or initial[name].shape != tensor.shape:
            expected = tuple(initial[name].shape) if name in initial else "no such layer"
            raise InputError(
                f"{where}: made with another network configuration ({name}: {tuple(tensor.shape)}, by "
                f"params.yaml {expected}); set network as it was, or train the earlier phases again"
            )
    module.load_state_dict(initial | state)


@dataclass
class Models:
    """The three networks of a phase, two optimisers, what training draws, and sums of statistics."""

    generator: Generator
    discriminator: Discriminator
    ema: Generator
    generator_adam: Adam
    discriminator_adam: Adam
    ema_values: Tensor
    ema_decay: float
    randomness: Randomness
    noise: InstanceNoise | None
    sums: Tensor  # float [len(STATISTICS)]
    path_length: Tensor  # 0-d, the mean of the path lengths
    ranks: Ranks

    @classmethod
    def build(
        cls,
        config: Config,
        phase: PhaseConfig,
        init: Checkpoint | None,
        device: torch.device,
        ranks: Ranks = Ranks(),
    ) -> "Models":
        """Models for `phase`: weights drawn from the seed, and replaced by those that `init` has."""
        if init is not None:
            require_network(init, config.network)
        torch.manual_seed(config.training.seed + phase.resolution)
        generator, discriminator = build_networks(config.network, phase.resolution)
        ema = copy.deepcopy(generator)
        networks = {"generator": generator, "discriminator": discriminator, "ema": ema}
        for name, network in networks.items():
            if init is not None:
                load_grown(network, init.networks(name), str(init.folder))
            network.to(device)
        ema.requires_grad_(False).eval()
        ema.share_buffers(generator)
        generator.randomness = randomness = Randomness(device, ranks)
        adam = config.training.adam_betas, config.training.adam_epsilon, ranks
        loss = config.training.adversarial
        return cls(
            generator,
            discriminator,
            ema,
            Adam(generator, *adam, loss.path_length),
            Adam(discriminator, *adam, loss.lazy_penalty, config.training.discriminator_rate),
            flatten(ema),
            config.training.averaging(phase.minibatch),
            randomness,
            InstanceNoise(discriminator, randomness) if loss.instance_noise else None,
            torch.zeros(len(STATISTICS), device=device),
            torch.zeros((), device=device),
            ranks,
        )

    def network_tensors(self) -> dict[str, Tensor]:
        """The tensors of generator, discriminator and averaged generator, by name, on the CPU."""
        return state_tensors(**self._networks())

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The state of both optimisers, by name, on the CPU."""
        return state_tensors(**self._optimizers())

    def running_tensors(self) -> dict[str, Tensor]:
        """The state that only snapshots need, by name, on the CPU."""
        return prefixed("running", self._running())

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state from the tensors that the three methods above returned."""
        for name, part in (self._networks() | self._optimizers()).items():
            part.load_state_dict(stripped(name, tensors))
        running = stripped("running", tensors)
        for name, tensor in self._running().items():
            tensor.copy_(running[name])

    def copy_first_rank(self) -> None:
        """Overwrite the whole state with that of the first rank."""
        self.ranks.copy_first_(self.state())

    def state(self) -> list[Tensor]:
        """All tensors that an iteration changes, themselves, in a fixed order."""
        parts = (self._networks() | self._optimizers()).values()
        return [
            *(tensor for part in parts for tensor in part.state_dict().values()),
            *self._running().values(),
        ]

    def reset_optimizers(self) -> None:
        for adam in self._optimizers().values():
            adam.reset()

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema}

    def _optimizers(self) -> dict[str, Adam]:
        return {"generator_adam": self.generator_adam, "discriminator_adam": self.discriminator_adam}

    def _running(self) -> dict[str, Tensor]:
        running = {"sums": self.sums}
        if self.noise:
            running["noise_score"] = self.noise.score
        if self.generator_adam.lazy:
            running["path_length"] = self.path_length
        return running
