"""The paper of each architecture, as pages and model cards name it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """An architecture's name with its article, and its paper."""

    kind: str
    tag: str  # of the Hub
    authors: str
    address: str
    bibtex: str


PAPERS = {
    "progan": Paper(
        "A progressive GAN",
        "progressive-gan",
        "Karras et al. 2018",
        "https://arxiv.org/abs/1710.10196",
        """@inproceedings{karras2018progressive,
  title = {Progressive Growing of {GANs} for Improved Quality, Stability, and Variation},
  author = {Karras, Tero and Aila, Timo and Laine, Samuli and Lehtinen, Jaakko},
  booktitle = {International Conference on Learning Representations},
  year = {2018}
}""",
    ),
    "stylegan": Paper(
        "A StyleGAN",
        "stylegan",
        "Karras et al. 2019",
        "https://arxiv.org/abs/1812.04948",
        """@inproceedings{karras2019style,
  title = {A Style-Based Generator Architecture for Generative Adversarial Networks},
  author = {Karras, Tero and Laine, Samuli and Aila, Timo},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2019}
}""",
    ),
    "stylegan2": Paper(
        "A StyleGAN2",
        "stylegan2",
        "Karras et al. 2020",
        "https://arxiv.org/abs/1912.04958",
        """@inproceedings{karras2020analyzing,
  title = {Analyzing and Improving the Image Quality of {StyleGAN}},
  author = {Karras, Tero and Laine, Samuli and Aittala, Miika and Hellsten, Janne and Lehtinen, Jaakko
    and Aila, Timo},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2020}
}""",
    ),
    "biggan": Paper(
        "A BigGAN",
        "biggan",
        "Brock et al. 2019",
        "https://arxiv.org/abs/1809.11096",
        """@inproceedings{brock2019large,
  title = {Large Scale {GAN} Training for High Fidelity Natural Image Synthesis},
  author = {Brock, Andrew and Donahue, Jeff and Simonyan, Karen},
  booktitle = {International Conference on Learning Representations},
  year = {2019}
}""",
    ),
}
