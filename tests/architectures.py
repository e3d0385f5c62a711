"""The architectures beside Progressive GAN: as the presets have their authors' settings, and small ones."""

import dataclasses

from progan import config, presets


def published(preset):
    return config.parse(presets.params(preset), preset).network


STYLEGAN = published("stylegan-ffhq-1024")
STYLEGAN2 = published("stylegan2-ffhq-1024")
BIGGAN = published("biggan-imagenet-128")

STYLES = {"latent_size": 8, "fmap_base": 32, "fmap_max": 8, "mapping_layers": 2, "style_size": 7}
SMALL = {
    "stylegan": dataclasses.replace(STYLEGAN, **STYLES, truncation_cutoff=3),
    "stylegan2": dataclasses.replace(STYLEGAN2, **STYLES),
    "biggan": dataclasses.replace(
        BIGGAN,
        latent_size=12,
        fmap_base=64,
        fmap_max=16,
        label_size=3,
        class_embedding=4,
        attention_resolution=8,
    ),
}
