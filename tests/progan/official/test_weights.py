"""Imported networks against the results of the official arrays in the authors' layouts; refusals."""

import numpy as np
import pytest
import torch

from progan.errors import InputError
from progan.official.weights import read_official
from tests.progan.official.released import (
    SMALL,
    Python2Pickler,
    Python3Pickler,
    tensorflow_networks,
    theano_networks,
    write_released,
    write_tensorflow,
    write_theano,
)

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def assert_same_functions(weights, networks, seed=0):
    """Images of G and Gs and scores of D, for a minibatch of 8 with labels if there are any."""
    random = np.random.default_rng(seed)
    latents = random.standard_normal((8, weights.network.latent_size))
    labels = np.eye(8)[:, : weights.network.label_size]
    latents = np.concatenate([latents, labels], axis=1)
    generator, discriminator, ema = networks
    with torch.no_grad():
        for module, network in ((weights.generator, generator), (weights.ema, ema)):
            images = module(torch.from_numpy(latents).float())
            np.testing.assert_allclose(images, network.images(latents), **TOLERANCE)
        scores = weights.discriminator(images)
    np.testing.assert_allclose(scores, discriminator.scores(images.double().numpy()), **TOLERANCE)
    assert images.std() > 0.1
    assert scores.std(0).min() > 1e-3


@pytest.fixture
def file(tmp_path):
    return tmp_path / "released.pkl"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fused_scale": False},
        {"resolution": 32, "fmap_base": 512, "fmap_decay": 1.5, "fmap_max": 16},
        {"label_size": 3},
        {"label_size": 3, "fused_scale": False, "num_channels": 1},
        {"mbstd_group_size": 0},
        {"use_wscale": False},
        {"use_leakyrelu": False, "use_pixelnorm": False, "normalize_latents": False},
    ],
    ids=str,
)
def test_tensorflow(file, options):
    networks = tensorflow_networks(SMALL | options)
    weights = read_official(write_tensorflow(file, networks))
    assert weights.resolution == (SMALL | options)["resolution"]
    assert_same_functions(weights, networks)


@pytest.mark.parametrize(
    "options", [{}, {"resolution": 4}, {"label_size": 3}, {"use_wscale": False}], ids=str
)
def test_theano(file, options):
    networks = theano_networks(SMALL | options)
    weights = read_official(write_theano(file, networks))
    assert_same_functions(weights, networks)


def test_theano_networks_from_before_the_paper(file):
    networks = theano_networks(functions=("G_progressive_8", "D_progressive_8", "G_progressive_8"))
    assert_same_functions(read_official(write_theano(file, networks)), networks)


def test_equalized_weights_are_stored_as_they_were(file):
    networks = tensorflow_networks()
    weights = read_official(write_tensorflow(file, networks))
    stored = networks[2].variables["4x4/Dense/weight"]
    assert np.array_equal(weights.ema.state_dict()["blocks.r0004.dense.weight"], stored.T)


@pytest.mark.parametrize(
    ("make", "write"), [(tensorflow_networks, write_tensorflow), (theano_networks, write_theano)]
)
def test_a_network_that_has_not_grown_to_the_end(file, make, write):
    """At an integral level of detail it is a network of a lower resolution."""
    networks = make(lod=1.0)
    weights = read_official(write(file, networks))
    assert weights.resolution == 8
    assert not any("r0016" in name for name in weights.ema.state_dict())
    assert_same_functions(weights, networks)


def test_a_network_during_a_fade(file):
    with pytest.raises(InputError, match=r"released.pkl: G: stopped while new layers faded in \(lod 0.25\)"):
        read_official(write_tensorflow(file, tensorflow_networks(lod=0.25)))


def test_a_generator_with_and_a_discriminator_without_fused_scaling(file):
    generator, _, ema = tensorflow_networks()
    discriminator = tensorflow_networks(SMALL | {"fused_scale": False})[1]
    networks = generator, discriminator, ema
    weights = read_official(write_tensorflow(file, networks))
    assert not weights.network.fused_scaling
    assert_same_functions(weights, networks)


@pytest.mark.parametrize("pickler", [Python2Pickler, Python3Pickler])
@pytest.mark.parametrize("protocol", [2, 4])
def test_spellings_of_a_pickle(file, pickler, protocol):
    networks = tensorflow_networks(SMALL | {"resolution": 4})
    states = [network.state for network in networks]
    write_released(file, states, "dnnlib.tflib.network", protocol, pickler)
    assert_same_functions(read_official(file), networks)


def test_other_orders_of_elements_and_bytes(file):
    networks = tensorflow_networks(SMALL | {"resolution": 4})
    for network in networks:
        network.variables = {
            name: value if name == "lod" else np.asfortranarray(value).astype(">f8")
            for name, value in network.variables.items()
        }
    assert_same_functions(read_official(write_tensorflow(file, networks)), networks)


def test_what_is_decided(file):
    network = read_official(write_tensorflow(file)).network
    assert (network.channels, network.latent_size, network.fmap_base, network.fmap_max) == (3, 6, 64, 8)
    assert (network.latent_norm, network.mbstd_group_size, network.fused_scaling) == ("with-labels", 4, True)
    network = read_official(write_theano(file)).network
    assert (network.latent_norm, network.mbstd_group_size, network.fused_scaling) == (
        "before-labels",
        16,
        False,
    )


# ------------------------------------------------------------------------------------------------
# Refusals


def without(name):
    return lambda network: network.variables.pop(name)


def with_option(**options):
    return lambda network: setattr(network, "options", network.options | options)


def with_variable(name, value):
    return lambda network: network.variables.update({name: value})


def with_bad_number(network):
    network.variables["4x4/Conv/bias"][0] = np.nan


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (without("4x4/Conv/bias"), "4x4/Conv/bias: no such variable, though its options ask for it"),
        (without("lod"), "lod: no such variable"),
        (
            with_variable("32x32/Conv1/bias", np.zeros(4)),
            "'32x32/Conv1/bias': a variable that its options do not",
        ),
        (with_variable("4x4/Conv/bias", np.zeros(5)), r"blocks.r0004.conv.bias is \(5,\), not \(8,\) as its"),
        (with_variable("4x4/Conv/weight", np.zeros(5)), "4x4/Conv/weight: has 1 dimensions, not 4"),
        (with_variable("4x4/Conv/weight", "none"), "something else where an array is expected"),
        (with_bad_number, "blocks.r0004.conv.bias holds numbers that are not finite"),
        (with_option(resolution=32), "32x32/Conv0(_up)?/bias: no such variable"),
        (with_option(resolution=12), "option resolution: a power of two from 4 to 1024, not 12"),
        (with_option(fmap_max=4), "fmap_max is [48], but [48] in another of its networks"),
        (with_option(fmap_base=2**40), "an option of a network is larger than any can be"),
        (with_option(fmap_base="wide"), "option fmap_base: must be a whole number, not 'wide'"),
        (with_option(style_mixing=True), "option 'style_mixing' is True: unknown, cannot be imported"),
    ],
)
def test_networks_that_do_not_fit(file, change, line):
    networks = tensorflow_networks()
    change(networks[-1])
    with pytest.raises(InputError, match=line) as raised:
        read_official(write_tensorflow(file, networks))
    assert str(raised.value).startswith(f"{file}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"fmap_max": 4}, r"G: blocks.r0004.dense.weight is \(128, 6\), not \(64, 6\) as its options say"),
        ({"fmap_base": 2**16, "fmap_max": 2**16}, "G: blocks.r0004.dense.weight is .* as its options say"),
        (
            {"fmap_base": 2**31, "fmap_max": 2**31, "latent_size": 2**31},
            "latent_size: must be from 1 to 65536",
        ),
        ({"fmap_base": 1}, "G: its options describe no valid network"),
        ({"fmap_decay": 1e3}, "fmap_decay: must be from 0 to 10"),
        ({"fmap_decay": -1e3}, "fmap_decay: must be from 0 to 10"),
        ({"fmap_base": 0}, "fmap_base: must be from 1 to"),
        ({"latent_size": -6}, "latent_size: must be from 1 to"),
        ({"num_channels": 4}, "channels: must be 1 .* or 3"),
    ],
    ids=str,
)
def test_options_that_the_weights_belie(file, options, line):
    """Nothing is allocated for the size that they claim."""
    networks = tensorflow_networks()
    for network in networks:
        network.options = network.options | options
    with pytest.raises(InputError, match=line):
        read_official(write_tensorflow(file, networks))


def test_an_epsilon_of_half_precision(file):
    networks = tensorflow_networks(SMALL | {"pixelnorm_epsilon": 1e-4, "dtype": "float16"})
    with pytest.raises(InputError, match="G: option pixelnorm_epsilon is 0.0001: only 1e-08 can be imported"):
        read_official(write_tensorflow(file, networks))


@pytest.mark.parametrize(
    ("place", "option", "value"),
    [
        (0, "use_batchnorm", True),
        (0, "tanh_at_end", 1.0),
        (1, "use_layernorm", True),
        (1, "mbdisc_kernels", 100),
        (1, "mbstat_avg", "spatial"),
    ],
)
def test_theano_networks_without_a_counterpart(file, place, option, value):
    networks = theano_networks()
    networks[place].options = networks[place].options | {option: value}
    with pytest.raises(InputError, match=f"{'GD'[place]}: option {option} is .*: only .* can be imported"):
        read_official(write_theano(file, networks))


def test_theano_networks_with_too_few_parameters(file):
    networks = theano_networks()
    del networks[1].layers["1a"]
    with pytest.raises(InputError, match="D: has 27 parameters, where its options ask for 30"):
        read_official(write_theano(file, networks))


def test_networks_of_other_functions(file):
    networks = tensorflow_networks()
    networks[0].function = "G_style"
    with pytest.raises(InputError, match="G: built by a function other than G_paper or D_paper"):
        read_official(write_tensorflow(file, networks))
    networks = theano_networks()
    networks[1].function = "D_mnist_mode_recovery"
    with pytest.raises(InputError, match="D: built by a function other than G_paper, G_progressive_8"):
        read_official(write_theano(file, networks))


def test_networks_in_another_order(file):
    generator, discriminator, ema = tensorflow_networks()
    with pytest.raises(InputError, match=r"G: not the network expected in this place of \(G, D, Gs\)"):
        read_official(write_tensorflow(file, [discriminator, generator, ema]))
    with pytest.raises(InputError, match="not the networks"):
        read_official(write_tensorflow(file, [generator, discriminator]))


@pytest.mark.parametrize(
    ("make", "write"), [(tensorflow_networks, write_tensorflow), (theano_networks, write_theano)]
)
def test_damaged_files_end_in_one_line_or_are_read(file, make, write):
    content = write(file, make(SMALL | {"resolution": 4, "fmap_max": 2})).read_bytes()
    random = np.random.default_rng(0)
    refusals = []
    for _ in range(30):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] = random.integers(256)
        file.write_bytes(damaged)
        try:
            read_official(file)
        except InputError as error:
            refusals.append(str(error))
    assert 5 < len(refusals) < 30
    assert all(map(str.isprintable, refusals))
