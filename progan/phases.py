"""The schedule of a phase: a pure function of the images shown, so nothing is lost at a restart."""

import math
from dataclasses import dataclass

from progan.config import PhaseConfig


@dataclass(frozen=True)
class Schedule:
    """When a phase fades, stabilises and ends, counted in real images shown within the phase.

    The phase's minibatch and learning rate apply from the start of its fade, as in the authors' code.
    """

    phase: PhaseConfig

    @property
    def fade_images(self) -> int:
        return round(self.phase.fade_kimg * 1000)

    @property
    def total_images(self) -> int:
        """Images of the whole phase, rounded up to full minibatches."""
        images = self.fade_images + round(self.phase.stable_kimg * 1000)
        return math.ceil(images / self.phase.minibatch) * self.phase.minibatch

    def alpha(self, images_shown: int) -> float:
        """Weight of the newest layers: linear in the images shown during the fade, then 1."""
        return 1.0 if self.is_stable(images_shown) else images_shown / self.fade_images

    def is_stable(self, images_shown: int) -> bool:
        """Whether the fade is over; at that moment the optimisers are reset."""
        return images_shown >= self.fade_images
