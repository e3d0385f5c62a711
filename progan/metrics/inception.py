"""Inception score, FID and KID, with the network and the conventions that are usual in the literature.

Salimans et al. 2016 (Inception score), Heusel et al. 2017 (FID), Bińkowski et al. 2018 (KID), through
torch-fidelity with the TensorFlow weights of 2015-12-05. The weights are a local file whose digest is
checked; nothing is downloaded. torch-fidelity is imported only when it is used.
"""

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from progan.errors import InputError
from progan.metrics.features import Features

KID_SUBSET_SIZE = 1000


def load_network(weights: Path, sha256: str, device: torch.device) -> nn.Module:
    """The 2015 Inception network of `weights`, a state dict as torch-fidelity publishes it.

    sha256: the expected digest of the file, hex. Raises InputError if the file is missing, has another
    digest or does not contain this network.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    buffer = _plain_weights(weights, sha256)
    try:
        network = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=buffer
        )
    except (RuntimeError, TypeError):
        raise InputError(
            f"{weights}: holds other weights than the 2015 Inception network's; "
            "fetch weights-inception-2015-12-05-6726825d.pth and set measures.inception_sha256 to its digest"
        ) from None
    return network.to(device)


def extract(network: nn.Module, batches: Iterable[Tensor]) -> Features:
    """Run `network` (from `load_network`) on minibatches of uint8 [N, C, H, W]: C is 1 (tiled to RGB) or 3.

    pool: 2048 features (FID, KID). logits: 1008, without their bias, as in the 2015 graph (Inception score).
    Only the features stay in memory: 12 kB per image.
    """
    device = next(network.parameters()).device
    pool, logits = [], []
    with torch.inference_mode():
        for batch in batches:
            features = network(batch.to(device).expand(-1, 3, -1, -1))
            pool.append(features[0].cpu())
            logits.append(features[1].cpu())
    return Features(torch.cat(pool), torch.cat(logits))


def scores(generated: Features, real: Features, splits: int, seed: int) -> dict[str, float]:
    """Inception score, FID and KID from features.

    splits: the number of consecutive parts of the generated images, for the Inception score.
    seed: determines the 100 random subsets of KID, of 1000 images or half the smaller set.
    Keys: inception_score and inception_score_std (mean and population deviation over the splits),
    fid, kid and kid_std (mean and population deviation over the subsets); lower is better for fid and kid.
    Raises ValueError if there are fewer generated images than splits or fewer than 4 of either kind.
    """
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    fewest = min(len(generated.pool), len(real.pool))
    if len(generated.pool) < splits or fewest < 4:
        raise ValueError(
            f"too few images: {len(generated.pool)} generated, {len(real.pool)} real, {splits} splits"
        )

    inception = isc_features_to_metric(generated.logits, splits, shuffle=False)
    statistics = [fid_features_to_statistics(features.pool) for features in (generated, real)]
    frechet = fid_statistics_to_metric(*statistics, verbose=False)
    kernel = kid_features_to_metric(
        generated.pool,
        real.pool,
        kid_subset_size=min(KID_SUBSET_SIZE, fewest // 2),
        rng_seed=seed,
        verbose=False,
    )
    return {
        "inception_score": inception["inception_score_mean"],
        "inception_score_std": inception["inception_score_std"],
        "fid": frechet["frechet_inception_distance"],
        "kid": kernel["kernel_inception_distance_mean"],
        "kid_std": kernel["kernel_inception_distance_std"],
    }


def _plain_weights(path: Path, sha256: str) -> io.BytesIO:
    """The state dict in `path`, loaded without executing code and saved again.

    torch-fidelity unpickles its file without restriction, so it gets this copy instead.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot read the Inception weights ({error.strerror}); fetch the file, "
            "or set measures.inception_weights to null"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise InputError(
            f"{path}: SHA-256 is {digest}, not {sha256}; "
            "fetch the file again, or correct measures.inception_sha256"
        )
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # the restricted unpickler can raise anything for a file of another kind
        raise InputError(f"{path}: not a PyTorch file of plain weights; fetch the file again") from None
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer
