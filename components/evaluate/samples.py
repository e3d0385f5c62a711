"""The layout of the samples that `evaluate` draws, and report and registry describe."""

from progan.network_config import NetworkConfig
from progan.render import images_across

GRID_PIXELS = 512  # side of the grids of reals and fakes: 8 × 8 images up to 64 px, fewer above


def classes_shown(network: NetworkConfig, resolution: int) -> int:
    """The number of classes, from the first on, that have a row in the samples at this resolution."""
    return min(network.label_size, images_across(resolution, GRID_PIXELS))
