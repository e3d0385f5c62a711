"""The Inception measures: the file is checked, torch-fidelity is called correctly, the formulas hold."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from progan.errors import InputError
from progan.metrics import inception
from progan.metrics.features import Features

pytest.importorskip("torch_fidelity")
CPU = torch.device("cpu")


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _features(count, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return Features(
        pool=torch.randn(count, 24, generator=generator) + shift,
        logits=2 * torch.randn(count, 10, generator=generator),
    )


class _Pictures(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


@pytest.mark.slow  # the formulas below are quick
def test_measure_is_torch_fidelitys_own_answer(inception_weights, monkeypatch):
    from torch_fidelity import calculate_metrics

    # The eigenvalues of a 2048² matrix take 15 s; FID has its formula in a test below.
    monkeypatch.setattr(np.linalg, "eigvals", np.diagonal)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(256, (8, 3, 32, 32), generator=generator, dtype=torch.uint8)
    generated, real = (noise // torch.arange(1, 9)[:, None, None, None]).to(torch.uint8).split(4)
    network = inception.load_network(inception_weights, _sha256(inception_weights), CPU)
    features = (inception.extract(network, images.split(2)) for images in (generated, real))
    measured = inception.scores(*features, splits=2, seed=5)
    expected = calculate_metrics(
        input1=_Pictures(generated),
        input2=_Pictures(real),
        cuda=False,
        batch_size=2,
        isc=True,
        fid=True,
        kid=True,
        isc_splits=2,
        kid_subset_size=2,
        samples_shuffle=False,
        rng_seed=5,
        feature_extractor_weights_path=str(inception_weights),
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )
    names = {
        "inception_score": "inception_score_mean",
        "inception_score_std": "inception_score_std",
        "fid": "frechet_inception_distance",
        "kid": "kernel_inception_distance_mean",
        "kid_std": "kernel_inception_distance_std",
    }
    assert measured == pytest.approx({name: expected[theirs] for name, theirs in names.items()}, rel=1e-3)
    assert measured["inception_score"] > 1.001
    assert abs(measured["fid"]) > 1e-3


def test_features_do_not_depend_on_the_batch_size_and_grey_is_tiled(inception_weights):
    network = inception.load_network(inception_weights, _sha256(inception_weights), CPU)
    grey = torch.randint(256, (2, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    whole = inception.extract(network, [grey])
    parts = inception.extract(network, grey.repeat(1, 3, 1, 1).split(1))
    assert whole.pool.shape == (2, 2048)
    assert whole.logits.shape == (2, 1008)
    torch.testing.assert_close(whole.pool, parts.pool, rtol=1e-3, atol=1e-4 * whole.pool.abs().max().item())
    torch.testing.assert_close(
        whole.logits, parts.logits, rtol=1e-3, atol=1e-4 * whole.logits.abs().max().item()
    )


def test_the_inception_score_is_the_formulas():
    generated = _features(50, 1)
    measured = inception.scores(generated, _features(50, 2), splits=4, seed=0)
    p = np.exp(generated.logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    parts = []
    for part in (p[0:12], p[12:25], p[25:37], p[37:50]):  # in order, cut at n · 50 / 4
        parts.append(np.exp(np.mean(np.sum(part * np.log(part / part.mean(0)), axis=1))))
    assert measured["inception_score"] == pytest.approx(np.mean(parts))
    assert measured["inception_score_std"] == pytest.approx(np.std(parts))


def test_fid_is_the_formulas():
    generated, real = _features(400, 1, shift=0.3), _features(300, 2)
    a, b = generated.pool.double().numpy(), real.pool.double().numpy()
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert inception.scores(generated, real, 1, 0)["fid"] == pytest.approx(expected, rel=1e-5)
    assert inception.scores(real, real, 1, 0)["fid"] == pytest.approx(0, abs=1e-6)


def test_kid_is_the_formulas_over_100_subsets_of_half_a_small_set():
    generated, real = _features(40, 1, shift=0.3), _features(30, 2)
    random = np.random.RandomState(7)
    values = []
    for _ in range(100):
        a = generated.pool.double().numpy()[random.choice(40, 15, replace=False)]
        b = real.pool.double().numpy()[random.choice(30, 15, replace=False)]
        aa, bb, ab = ((x @ y.T / 24 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
        within = (aa.sum() - np.trace(aa) + bb.sum() - np.trace(bb)) / (15 * 14)
        values.append(within - 2 * ab.mean())
    measured = inception.scores(generated, real, 1, seed=7)
    assert measured["kid"] == pytest.approx(np.mean(values), rel=1e-4)
    assert measured["kid_std"] == pytest.approx(np.std(values), rel=1e-4)
    assert inception.scores(generated, real, 1, seed=8)["kid"] != measured["kid"]


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="too few images: 5 generated, 50 real, 6 splits"):
        inception.scores(_features(5, 1), _features(50, 2), splits=6, seed=0)
    with pytest.raises(ValueError, match="too few images"):
        inception.scores(_features(50, 1), _features(3, 2), splits=2, seed=0)


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemError('a pickle was executed')",)


def _assert_refused(path, sha256, message):
    with pytest.raises(InputError, match=message) as caught:
        inception.load_network(path, sha256, CPU)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_wrong_file_is_refused_in_one_line_and_never_executed(tmp_path):
    _assert_refused(tmp_path / "absent.pth", "0" * 64, "No such file.*fetch the file")
    text, bomb, other, number = (tmp_path / name for name in ("text", "bomb", "other", "number"))
    text.write_bytes(b"hello")
    _assert_refused(text, "0" * 64, f"SHA-256 is {_sha256(text)}, not 0000.*inception_sha256")
    bomb.write_bytes(pickle.dumps(_Bomb(), protocol=2))
    torch.save({"fc.weight": torch.zeros(2)}, other)
    torch.save(torch.zeros(2), number)
    for path in (text, bomb):
        _assert_refused(path, _sha256(path), "not a PyTorch file of plain weights")
    for path in (other, number):
        _assert_refused(path, _sha256(path), "other weights than the 2015 Inception network")
    torch.save({"fc.weight": _Bomb()}, bomb)
    _assert_refused(bomb, _sha256(bomb), "not a PyTorch file of plain weights")


def test_nothing_is_ever_downloaded(inception_weights, monkeypatch, tmp_path):
    from torch_fidelity import feature_extractor_inceptionv3 as architecture

    def refuse(*arguments, **keywords):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(architecture, "load_state_dict_from_url", refuse)
    inception.load_network(inception_weights, _sha256(inception_weights), CPU)
    with pytest.raises(InputError):
        inception.load_network(tmp_path / "absent.pth", _sha256(inception_weights), CPU)
