"""What a phase changes as it trains: networks, optimisers, and what is summed or averaged besides."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from progan.checkpoints import Checkpoint, prefixed, stripped
from progan.config import Config, NetworkConfig, PhaseConfig
from progan.distributed import Ranks
from progan.errors import InputError
from progan.networks import Discriminator, Generator
from progan.noise import InstanceNoise
from progan.optimizer import Adam, flatten

STATISTICS = ("d_loss", "g_loss", "real_score", "fake_score", "gradient_norm")


def build_networks(network: NetworkConfig, resolution: int) -> tuple[Generator, Discriminator]:
    """Freshly drawn networks for a phase at `resolution`."""
    return Generator(network, resolution), Discriminator(network, resolution)


def share_buffers(ema: Generator, generator: Generator) -> None:
    """Let `ema` read the running statistics of `generator` itself: they are copied, not averaged again."""
    for average, own in zip(ema.modules(), generator.modules(), strict=True):
        for name, buffer in own.named_buffers(recurse=False):
            setattr(average, name, buffer)


def network_tensors(generator: nn.Module, discriminator: nn.Module, ema: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint keeps of the networks, by name, on the CPU."""
    return (
        prefixed("generator", generator.state_dict())
        | prefixed("discriminator", discriminator.state_dict())
        | prefixed("ema", ema.state_dict())
    )


def optimizer_tensors(generator_adam: Adam, discriminator_adam: Adam) -> dict[str, Tensor]:
    """What a checkpoint keeps of the optimisers, by name, on the CPU."""
    return prefixed("generator_adam", generator_adam.state_dict()) | prefixed(
        "discriminator_adam", discriminator_adam.state_dict()
    )


def require_network(checkpoint: Checkpoint, network: NetworkConfig) -> None:
    """Raise an InputError that names what in `network` is not as the checkpoint was made with."""
    for field in fields(network):
        made = getattr(checkpoint.facts.network, field.name)
        wanted = getattr(network, field.name)
        if made != wanted:
            raise InputError(
                f"{checkpoint.folder}: made with another network configuration (network.{field.name}: "
                f"{made}, in params.yaml {wanted}); set it as it was, or train the phases before again"
            )


def load_grown(module: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Load the levels that `state` has into `module`, which may have grown newer ones besides.

    Raises InputError when a tensor has no place or another shape: a checkpoint of another configuration.
    """
    own = module.state_dict()
    for name, tensor in state.items():
        if name not in own or own[name].shape != tensor.shape:
            has = tuple(own[name].shape) if name in own else "no such layer"
            raise InputError(
                f"{where}: made with another network configuration ({name}: {tuple(tensor.shape)}, not {has} "
                "as by params.yaml); set network as it was, or train the phases before again"
            )
    module.load_state_dict(own | state)


@dataclass
class Models:
    """The three networks of a phase, two optimisers, noise where the loss asks for it, and running sums."""

    generator: Generator
    discriminator: Discriminator
    ema: Generator
    generator_adam: Adam
    discriminator_adam: Adam
    ema_values: Tensor
    noise: InstanceNoise | None
    sums: Tensor  # float [len(STATISTICS)]
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
        """Networks for `phase`: drawn from the seed, then whatever `init` has learnt already."""
        if init is not None:
            require_network(init, config.network)
        torch.manual_seed(config.training.seed + phase.resolution)
        generator, discriminator = build_networks(config.network, phase.resolution)
        if init is not None:
            load_grown(generator, init.networks("generator"), str(init.folder))
            load_grown(discriminator, init.networks("discriminator"), str(init.folder))
        ema, _ = build_networks(config.network, phase.resolution)
        ema.load_state_dict(generator.state_dict())
        if init is not None:
            load_grown(ema, init.networks("ema"), str(init.folder))
        for network in (generator, discriminator, ema):
            network.to(device)
        ema.requires_grad_(False).eval()
        share_buffers(ema, generator)
        adam = config.training.adam_betas, config.training.adam_epsilon, ranks
        noisy = config.training.adversarial.instance_noise
        return cls(
            generator,
            discriminator,
            ema,
            Adam(generator, *adam),
            Adam(discriminator, *adam),
            flatten(ema),
            InstanceNoise(discriminator, device, ranks) if noisy else None,
            torch.zeros(len(STATISTICS), device=device),
            ranks,
        )

    def network_tensors(self) -> dict[str, Tensor]:
        """Generator, discriminator and average by name, on the CPU."""
        return network_tensors(self.generator, self.discriminator, self.ema)

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """Both optimisers' state by name, on the CPU."""
        return optimizer_tensors(self.generator_adam, self.discriminator_adam)

    def running_tensors(self) -> dict[str, Tensor]:
        """What matters inside a phase only, by name, on the CPU."""
        return prefixed("running", self._running())

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what the three above gave."""
        self.generator.load_state_dict(stripped("generator", tensors))
        self.discriminator.load_state_dict(stripped("discriminator", tensors))
        self.ema.load_state_dict(stripped("ema", tensors))
        self.generator_adam.load_state_dict(stripped("generator_adam", tensors))
        self.discriminator_adam.load_state_dict(stripped("discriminator_adam", tensors))
        running = stripped("running", tensors)
        for name, tensor in self._running().items():
            tensor.copy_(running[name])

    def copy_first_rank(self) -> None:
        """Let all of that be the first rank's."""
        networks = self.generator, self.discriminator, self.ema
        for part in (*networks, self.generator_adam, self.discriminator_adam):
            self.ranks.copy_first_(part.state_dict().values())
        self.ranks.copy_first_(self._running().values())

    def reset_optimizers(self) -> None:
        self.generator_adam.reset()
        self.discriminator_adam.reset()

    def _running(self) -> dict[str, Tensor]:
        return {"sums": self.sums} | ({"noise_score": self.noise.score} if self.noise else {})
