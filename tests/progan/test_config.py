"""params.yaml: what is accepted, and that every fault is told with its key."""

import math
import runpy
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest

from progan import config
from progan.errors import InputError
from progan.losses import LOSSES
from progan.network_config import NetworkConfig, ProganConfig, StyleganConfig
from progan.validation import field_types

ROOT = Path(__file__).parents[2]
GO_TOGETHER = "inception_weights and inception_sha256 go together; give both or neither"


def error_of(values):
    with pytest.raises(InputError) as caught:
        config.parse(values, "params.yaml")
    return str(caught.value)


def test_the_projects_own_file():
    loaded = config.load()
    assert list(loaded.phases) == ["r0004", "r0008", "r0016", "r0032"]
    assert loaded.phases["r0008"].fade_kimg == 1.0


def test_parameters_are_read_without_torch():
    """Commands that train nothing answer at once."""
    script = "import sys; from progan import config; config.load(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_as_text_and_back(small_params, small_config):
    text = config.to_text(small_config)
    assert config.from_text(text) == small_config == config.parse(small_params, "params.yaml")
    assert not {"\n", " "} & set(text)


# ------------------------------------------------------------------------------------------------
# Faults


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("training.ema_decy", 0.9, "unknown; did you mean ema_decay?"),
        ("training.xyz", 0.9, "unknown; known here: seed, adam_betas"),
        ("training.ema_decay", 1, "must be at least 0 and below 1, not 1.0"),
        ("training.adam_betas", [0, 1], "must be at least 0 and below 1 each, not (0.0, 1.0)"),
        ("training.mirror", "perhaps", "must be true or false, not 'perhaps'"),
        (
            "training.loss",
            "wgan-gb",
            f"must be one of {', '.join(LOSSES)}, not 'wgan-",
        ),
        ("training.update", "both", "must be 'alternating' or 'joint', not 'both'"),
        ("training.label_weight", -1, "must be 0 or more, not -1.0"),
        ("dataset", None, "must be a mapping of keys to values, not null"),
        ("dataset.resolution", 48, "must be a power of two from 4 to 1024, not 48"),
        ("dataset.resolution", 2048, "must be a power of two from 4 to 1024, not 2048"),
        ("dataset.lowest_resolution", 32, "must not be above resolution, 16"),
        ("dataset.seed", -1, "must be from 0 to 4294967295, not -1"),
        ("dataset.max_images", 0, "must be from 1 to 2147483648, not 0"),
        ("dataset.max_skipped", 2, "must be from 0 to 1, not 2.0"),
        ("network.fmap_max", "wide", "must be a whole number, not 'wide'"),
        ("network.channels", 2, "must be 1 (grey) or 3 (RGB), not 2"),
        ("network.convs_per_block", 3, "must be 1 or 2, not 3"),
        ("network.minibatch_discrimination", 100, "replaces minibatch stddev; set mbstd_group_size to 0"),
        ("measures.score_images", 1, "must be at least score_splits, 2"),
        ("register.model", "a/b", "must be letters, digits, . _ or -, not 'a/b'"),
        ("gate.stop_after", "r0016", "must be one of null, r0004, r0008, not r0016"),
        ("gate.stop_after", "r0064", "must be one of null, r0004, r0008, not r0064"),
        ("phases", {}, "must be one phase or more, not {}"),
        ("phases.r0008", [], "must be a mapping of keys to values, not []"),
        ("phases.8", {}, "unknown"),
        ("phases.r0008.init", "checkpoints/r0016", "must be checkpoints/r0004, the phase before it, not"),
        ("phases.r0008.fade_kimg", -1, "must be from 0 to 1000000000, not -1.0"),
        ("phases.r0008.fade_kimg", 1e308, "must be from 0 to 1000000000, not 1e+308"),
        ("phases.r0008.learning_rate", math.inf, "must be a finite number, not inf"),
        ("phases.r0008.learning_rate", 10**400, "must be a finite number, not 1000"),
        ("training.loss_parameters.penalty", math.nan, "must be a finite number, not nan"),
        ("training.seed", -1, "must be from 0 to 4294967295, not -1"),
        ("training.adam_epsilon", -1.0, "must be positive, not -1.0"),
        ("network.latent_size", 10**12, "must be from 1 to 65536, not 1000000000000"),
        ("network.fmap_decay", -2000, "must be from 0 to 10, not -2000.0"),
        ("gate.swd_max", math.nan, "must be a finite number, not nan"),
        ("dataset.source", "\ud800", "must be text in Unicode, not '\\ud800'"),
        ("dataset.path", "", "must be a folder or an archive, not ''"),
        ("phases.r0004.stable_kimg", 0, "must be positive if fade_kimg is 0"),
    ],
)
def test_one_fault_is_one_line_that_names_the_key(small_params, key, value, told):
    *sections, last = key.split(".")
    section = small_params
    for name in sections:
        section = section[name]
    if last == "8":  # DVC would silently make no stage of a whole number
        last, told = 8, "as a key, it must be text, not 8"
    section[last] = value
    error = error_of(small_params)
    assert error.startswith(f"params.yaml: {key}: {told}")
    assert "\n" not in error


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset": {"resolution": 8}}, "phases.r0016: the dataset ends at 8 px; raise dataset.resolution"),
        ({"dataset": {"lowest_resolution": 8}}, "phases.r0004: the dataset begins at 8 px; lower dataset."),
        ({"network": {"mbstd_group_size": 16, "fmap_max": 4}}, None),
        ({"network": {"discriminator_divisor": 16}}, "network.fmap_base: leaves no feature maps at 16 px"),
        (
            {"training": {"update": "joint", "critic_steps": 5}},
            "training.critic_steps: must be 1 if update is joint, not 5",
        ),
        ({"measures": {"inception_weights": "x.pth"}}, f"measures.inception_sha256: {GO_TOGETHER}"),
    ],
)
def test_parameters_that_contradict_each_other(small_params, changes, told):
    for section, values in changes.items():
        small_params[section] |= values
    if told is None:  # a group larger than the minibatch is the whole minibatch
        config.parse(small_params, "params.yaml")
    else:
        assert error_of(small_params).startswith(f"params.yaml: {told}")


def test_groups_divide_the_minibatch(small_params):
    small_params["network"]["mbstd_group_size"] = 3
    assert error_of(small_params).splitlines() == [
        "params.yaml: 3 faults",
        *(
            f"  phases.{key}.minibatch: must be a multiple of network.mbstd_group_size, 3"
            for key in small_params["phases"]
        ),
    ]


def test_all_faults_are_told_at_once(small_params):
    """Of every section and kind, and of several parameters together where those are valid themselves."""
    small_params["paint"] = None
    del small_params["dataset"]["verify"]
    small_params["network"] |= {"fmap_max": "wide", "channels": 2}
    small_params["training"]["sed"] = small_params["training"].pop("seed")
    small_params["phases"]["r0016"]["init"] = "checkpoints/r0004"
    small_params["measures"] |= {"score_images": 0, "inception_weights": "x.pth"}
    small_params["gate"]["stop_after"] = "r0016"
    assert error_of(small_params).splitlines() == [
        "params.yaml: 9 faults",
        "  paint: must be a mapping of keys to values, not null",
        "  dataset.verify: missing; it has no default",
        "  network.fmap_max: must be a whole number, not 'wide'",
        "  network.channels: must be 1 (grey) or 3 (RGB), not 2",
        "  training.sed: unknown; did you mean seed?",
        "  measures.score_images: must be from 1 to 2147483648, not 0",
        f"  measures.inception_sha256: {GO_TOGETHER}",
        "  phases.r0016.init: must be checkpoints/r0008, the phase before it, not checkpoints/r0004",
        "  gate.stop_after: must be one of null, r0004, r0008, not r0016",
    ]


NO_YAML = [
    *("a: [", "\x00", "- a list", "", "a: 1\na: 2", "a: 2001-13-45", "a: !!int abc", "a: !!float x"),
    *("a: 0b_", "a: !!timestamp abc", "a: !!bool abc", "a: !!python/name:os.system"),
    *(f"a: {'1' * 4301}", f"a: {'[' * 2000}"),
]


@pytest.mark.parametrize("text", NO_YAML)
def test_what_is_no_parameter_file(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(
        InputError, match=r"params\.yaml: (not valid YAML|the file: must be a mapping)"
    ) as error:
        config.load(path)
    assert "\n" not in str(error.value)


def test_a_folder_is_no_parameter_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\); check what it is"):
        config.load(tmp_path)


def test_values_are_frozen_and_checked_however_they_are_made(small_config):
    with pytest.raises(AttributeError):
        small_config.training.seed = 2
    with pytest.raises(ValueError, match="minibatch: must be from 1 to 2147483648, not 0"):
        replace(small_config.phases["r0004"], minibatch=0)


def test_numbers_may_be_whole_or_with_an_exponent(small_params):
    """YAML 1.1 takes 1e-8 for text."""
    small_params["training"] |= {"adam_epsilon": "1e-8", "label_weight": 1}
    training = config.parse(small_params, "params.yaml").training
    assert (training.adam_epsilon, repr(training.label_weight)) == (1e-8, "1.0")


# ------------------------------------------------------------------------------------------------
# Losses


@pytest.mark.parametrize(
    ("loss", "parameters", "told"),
    [
        ("wgan-gp", {"penalty": 10, "target": 1}, ".drift: missing; wgan-gp needs it"),
        (
            "wgan-gp",
            {"penalty": 10, "target": 1, "drift": 0, "r1": 1},
            ".r1: unknown to wgan-gp; known here:",
        ),
        ("hinge", {"r1": 10}, ".r1: unknown to hinge; it has none"),
        ("wgan-gp", {"penalty": 10, "target": 0, "drift": 0}, ": target must be positive"),
        ("non-saturating", {"r1": -1}, ": r1 must not be negative"),
        ("non-saturating", {"r1": 1, "path_length": -1}, ": path_length must not be negative"),
        (
            "non-saturating",
            {"r1": 1, "r1_interval": 0.5},
            ": r1_interval and path_length_interval must be whole",
        ),
        ("non-saturating", {"r1_interval": 2}, ".r1: missing; non-saturating needs it"),
        ("non-saturating", {"r1": "much"}, ".r1: must be a number, not 'much'"),
        ("hinge", None, ": must be a mapping of keys to values, not null"),
    ],
)
def test_loss_parameters_are_those_of_the_loss(small_params, loss, parameters, told):
    small_params["training"] |= {"loss": loss, "loss_parameters": parameters}
    assert error_of(small_params).startswith(f"params.yaml: training.loss_parameters{told}")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_accepted(small_params, loss):
    parameters = {"wgan-gp": {"penalty": 10, "target": 1, "drift": 0}, "non-saturating": {"r1": 0}}
    small_params["training"] |= {"loss": loss, "loss_parameters": parameters.get(loss, {})}
    assert config.parse(small_params, "params.yaml").training.loss == loss


def test_an_average_has_one_decay(small_params):
    told = "params.yaml: training.ema_decay: must be null with ema_kimg, and a number without it"
    small_params["training"]["ema_kimg"] = 1.0
    assert error_of(small_params) == told
    small_params["training"] |= {"ema_decay": None, "ema_kimg": None}
    assert error_of(small_params) == told
    small_params["training"]["ema_kimg"] = 1.0
    training = config.parse(small_params, "params.yaml").training
    assert training.averaging(8) ** 125 == pytest.approx(0.5)


def test_lazy_terms_are_alternating(small_params):
    lazy = {"r1": 1, "r1_interval": 16}
    small_params["training"] |= {"loss": "non-saturating", "loss_parameters": lazy, "update": "joint"}
    assert error_of(small_params).startswith("params.yaml: training.update: must be alternating with")
    lazy |= {"r1_interval": 1, "path_length": 2.0}
    told = "params.yaml: training.loss_parameters.path_length: is of styles, and progan has none"
    small_params["training"]["update"] = "alternating"
    assert error_of(small_params) == told


# ------------------------------------------------------------------------------------------------
# Architectures


STYLES = {
    "mapping_layers": 2,
    "mapping_learning_rate": 0.01,
    "style_size": 8,
    "style_mixing": 0.9,
    "noise": True,
}
SHARED = [field.name for field in fields(NetworkConfig)]


def with_network(small_params, **values):
    """The common parameters of the network, with `values`."""
    network = {name: value for name, value in small_params["network"].items() if name in SHARED}
    return small_params | {"network": network | values}


def test_an_architecture_has_its_own_parameters(small_params):
    params = with_network(small_params, architecture="stylegan", **STYLES, constant_input=True)
    assert error_of(params) == "params.yaml: network.truncation_cutoff: missing; it has no default"
    params["network"] |= {"truncation_cutoff": 8, "fused_scaling": True}
    assert error_of(params).startswith("params.yaml: network.fused_scaling: unknown")
    del params["network"]["fused_scaling"]
    assert isinstance(config.parse(params, "params.yaml").network, StyleganConfig)
    params["network"]["architecture"] = "stylegan3"
    told = "params.yaml: network.architecture: must be one of progan, stylegan, stylegan2"
    assert error_of(params).startswith(told)


def test_without_an_architecture_it_is_progan(small_params):
    small_params["network"].pop("architecture", None)
    network = config.parse(small_params, "params.yaml").network
    assert isinstance(network, ProganConfig)
    assert network.architecture == "progan"


def test_what_does_not_grow_has_one_phase(small_params):
    params = with_network(small_params, architecture="stylegan2", **STYLES)
    assert error_of(params) == (
        "params.yaml: phases: must be a single one, from scratch: stylegan2 does not grow"
    )
    last = params["phases"]["r0016"] | {"init": "data/multires/r0016", "fade_kimg": 0}
    loaded = config.parse(params | {"phases": {"r0016": last}}, "params.yaml")
    assert config.from_text(config.to_text(loaded)) == loaded


def test_what_biggan_cannot_be(small_params):
    own = {"class_embedding": 4, "hierarchical_latents": True, "attention_resolution": 12}
    params = with_network(small_params, architecture="biggan", **own)
    last = params["phases"]["r0016"] | {"init": "data/multires/r0016", "fade_kimg": 0}
    params |= {"phases": {"r0016": last}}
    params["network"] |= {"latent_size": 8, "mbstd_group_size": 4}
    params["training"] |= {"loss": "least-squares", "loss_parameters": {}}
    assert error_of(params).splitlines()[1:] == [
        "  network.attention_resolution: must be 0 or a power of two from 8 to 1024, not 12",
        "  network.mbstd_group_size: must be 0: BigGAN has no minibatch standard deviation",
    ]
    params["network"] |= {"attention_resolution": 8, "mbstd_group_size": 0}
    assert error_of(params).splitlines()[1:] == [
        "  training.loss: puts noise into the discriminator; biggan takes none",
        "  network.latent_size: must be a multiple of 3, the chunks of hierarchical latents at 16 px",
    ]


# ------------------------------------------------------------------------------------------------
# Phases


def test_phases_that_do_not_chain(small_params):
    first, second = small_params["phases"]["r0004"], small_params["phases"]["r0008"]
    start = "params.yaml: phases.r0004: the first phase has fade_kimg 0 and init data/multires/r0004: there"
    first["fade_kimg"] = 1.0
    assert error_of(small_params).startswith(start)
    first |= {"fade_kimg": 0, "init": "checkpoints/r0002"}
    assert error_of(small_params).startswith(start)
    first["init"] = "data/multires/r0004"
    second["resolution"] = 16
    assert error_of(small_params) == "params.yaml: phases.r0008: a phase at 16 px must be named r0016"
    del small_params["phases"]["r0008"]
    assert error_of(small_params) == "params.yaml: phases.r0016: must follow r0008"


def test_growing_may_begin_at_any_resolution(small_params):
    """As all levels at once do, without growing: row (a) of the paper's Table 1."""
    only = small_params["phases"]["r0016"] | {"init": "data/multires/r0016", "fade_kimg": 0.0}
    small_params["phases"] = {"r0016": only}
    assert config.parse(small_params, "params.yaml").phases["r0016"].is_first
    only["fade_kimg"] = 1.0
    assert "phases.r0016: the first phase has fade_kimg 0" in error_of(small_params)


def test_only_the_first_phase_has_nothing_before_it(small_config):
    assert [phase.is_first for phase in small_config.phases.values()] == [True, False, False]


@pytest.fixture
def warm_params(small_params):
    """Parameters that begin at 16 px from a registered checkpoint of 8 px."""
    small_params["phases"] = {"r0016": small_params["phases"]["r0016"] | {"init": "checkpoints/r0008"}}
    start = {"model": "faces", "version": "7", "checkpoint": "ab" * 32}
    return small_params | {"warm_start": {"r0008": start}}


def test_a_warm_start(warm_params):
    loaded = config.parse(warm_params, "params.yaml")
    assert loaded.phases["r0016"].fade_kimg > 0
    assert not loaded.phases["r0016"].is_first
    assert config.from_text(config.to_text(loaded)) == loaded


@pytest.mark.parametrize(
    ("starts", "init", "told"),
    [
        ([], "checkpoints/r0008", "phases.r0016: the first phase has fade_kimg 0 and init data/multires/r00"),
        ([], "data/multires/r0016", "there is nothing to fade from (unless warm_start.r0008 names it)"),
        (["r0004"], "checkpoints/r0008", "warm_start: must be of r0008 alone, the phase before r0016;"),
        (["r0008", "r0004"], "checkpoints/r0008", "not r0008, r0004"),
        (["r0008"], "data/multires/r0016", "phases.r0016.init: must be checkpoints/r0008, which warm_"),
    ],
)
def test_warm_starts_that_do_not_fit(warm_params, starts, init, told):
    warm_params["warm_start"] = dict.fromkeys(starts, warm_params["warm_start"]["r0008"])
    warm_params["phases"]["r0016"]["init"] = init
    assert told in error_of(warm_params)


def test_a_warm_start_by_no_digest(warm_params):
    warm_params["warm_start"]["r0008"]["checkpoint"] = "ab12"
    told = "params.yaml: warm_start.r0008.checkpoint: must be 64 hexadecimal digits, not 'ab12'"
    assert error_of(warm_params) == told


# ------------------------------------------------------------------------------------------------
# docs/params.md


@pytest.fixture(scope="module")
def docs():
    return runpy.run_path(str(ROOT / "docs/params.py"))


def test_the_page_is_what_is_generated(docs):
    text = (ROOT / "docs/params.md").read_text()
    assert docs["page"](text) == text, "run: python docs/params.py"


@dataclass(frozen=True)
class WithDefault:
    precision: Annotated[Literal["float32", "tf32"], "precision of convolutions"] = "float32"


def test_a_default_is_told(docs):
    field = WithDefault.__dataclass_fields__["precision"]
    told = docs["_value"](field_types(WithDefault)["precision"], field)
    assert told == '`float32` or `tf32`; `"float32"` if missing'
