"""The architectures beside Progressive GAN: as their authors published them, and small ones of each."""

import dataclasses

from progan.network_config import BigganConfig, Stylegan2Config, StyleganConfig

STYLEGAN = StyleganConfig(  # FFHQ, 1024 px
    architecture="stylegan",
    channels=3,
    latent_size=512,
    fmap_base=8192,
    fmap_decay=1.0,
    fmap_max=512,
    mbstd_group_size=4,
    label_size=0,
    mapping_layers=8,
    mapping_learning_rate=0.01,
    style_size=512,
    constant_input=True,
    noise=True,
    style_mixing=0.9,
    truncation_cutoff=8,
)
STYLEGAN2 = Stylegan2Config(  # configuration F
    architecture="stylegan2",
    channels=3,
    latent_size=512,
    fmap_base=16384,
    fmap_decay=1.0,
    fmap_max=512,
    mbstd_group_size=4,
    label_size=0,
    mapping_layers=8,
    mapping_learning_rate=0.01,
    style_size=512,
    style_mixing=0.9,
)
BIGGAN = BigganConfig(  # ImageNet, 128 px, ch = 96
    architecture="biggan",
    channels=3,
    latent_size=120,
    fmap_base=6144,
    fmap_decay=1.0,
    fmap_max=1536,
    mbstd_group_size=0,
    label_size=1000,
    class_embedding=128,
    hierarchical_latents=True,
    attention_resolution=64,
)

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
