"""params.yaml: what is accepted, and that every error names the key and what to do."""

import subprocess
import sys

import pytest
import yaml

from progan import config
from progan.errors import InputError


def error_of(values):
    with pytest.raises(InputError) as caught:
        config.parse(values, "params.yaml")
    return str(caught.value)


def test_a_folder_is_no_parameter_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\); check what it is"):
        config.load(tmp_path)


def test_the_projects_own_file():
    loaded = config.load()
    assert list(loaded.phases) == ["r0004", "r0008", "r0016", "r0032"]
    assert loaded.phases["r0008"].fade_kimg == 1.0


@pytest.mark.parametrize(
    ("section", "key", "value", "told"),
    [
        ("training", "ema_decy", 0.9, "training.ema_decy: unknown parameter; did you mean ema_decay?"),
        ("training", "xyz", 0.9, "training.xyz: unknown parameter; known here: seed, adam_betas"),
        ("training", "ema_decay", 1.0, "training: ema_decay must be in [0, 1), not 1.0"),
        ("training", "adam_betas", [0.0, 1.0], "training: adam_betas: beta2 must be in [0, 1), not 1.0"),
        ("training", "mirror", "perhaps", "training.mirror: input should be a valid boolean"),
        ("training", "loss", "wgan-gb", "training: loss: none is called wgan-gb; did you mean wgan-gp?"),
        ("training", "loss", "l", "training: loss: none is called l; known here: wgan-gp, non-saturating"),
        ("training", "update", "both", "training.update: input should be 'alternating' or 'joint'"),
        ("training", "label_weight", -1, "training: label_weight must not be negative"),
        ("dataset", "resolution", 48, "dataset: resolution must be a power of two from 4 to 1024, not 48"),
        (
            "dataset",
            "resolution",
            2048,
            "dataset: resolution must be a power of two from 4 to 1024, not 2048",
        ),
        ("dataset", "resolution", 8, "phases.r0016: the dataset ends at 8 px; raise dataset.resolution"),
        ("dataset", "lowest_resolution", 8, "phases.r0004: the dataset begins at 8 px; lower dataset."),
        ("dataset", "lowest_resolution", 32, "dataset: lowest_resolution must not be above resolution, 16"),
        ("dataset", "seed", -1, "dataset: seed must be null or from 0 to 4294967295"),
        ("dataset", "verify", "loose", "dataset.verify: input should be 'strict' or 'report'"),
        ("dataset", "max_skipped", 2, "dataset: max_skipped is a fraction from 0 to 1, not 2.0"),
        ("network", "fmap_max", "wide", "network.fmap_max: input should be a valid integer"),
        ("network", "channels", 2, "network: channels must be 1 (grey) or 3 (RGB), not 2"),
        (
            "network",
            "mbstd_group_size",
            3,
            "phases.r0004.minibatch: must be a multiple of network.mbstd_group_size",
        ),
        ("network", "latent_norm", "always", "network.latent_norm: input should be 'none', 'before-labels'"),
        ("network", "convs_per_block", 3, "network.convs_per_block: input should be 1 or 2"),
        ("network", "discriminator_divisor", 0, "network: discriminator_divisor must be positive"),
        (
            "network",
            "discriminator_divisor",
            16,
            "network: no feature maps are left at 16 px; raise fmap_base",
        ),
        ("network", "label_size", -1, "network: label_size must be 0 (none) or more"),
        ("network", "minibatch_discrimination", 100, "network: minibatch_discrimination takes the place of"),
        ("measures", "score_splits", 100, "measures: score_images must be at least score_splits"),
        (
            "measures",
            "inception_weights",
            "x.pth",
            "measures: inception_weights and inception_sha256 go together",
        ),
        ("register", "model", "a/b", "register: model must be letters, digits"),
        ("gate", "stop_after", "r0016", "gate.stop_after: must be one of null, r0004, r0008, not r0016"),
        ("gate", "stop_after", "r0064", "gate.stop_after: must be one of null, r0004, r0008, not r0064"),
    ],
)
def test_errors_name_the_key(small_params, section, key, value, told):
    small_params[section][key] = value
    assert error_of(small_params).startswith(f"params.yaml: {told}")


@pytest.mark.parametrize(
    ("loss", "parameters", "told"),
    [
        ("wgan-gp", {"penalty": 10, "target": 1}, ": loss_parameters.drift: wgan-gp needs it"),
        (
            "wgan-gp",
            {"penalty": 10, "traget": 1, "drift": 0},
            ": loss_parameters.traget: unknown to wgan-gp; did you mean target?",
        ),
        (
            "wgan-gp",
            {"r1": 10, "penalty": 10, "target": 1, "drift": 0},
            ": loss_parameters.r1: unknown to wgan-gp; known here: penalty, target, drift",
        ),
        ("hinge", {"r1": 10}, ": loss_parameters.r1: unknown to hinge; it has none"),
        ("wgan-gp", {"penalty": 10, "target": 0, "drift": 0}, ": loss_parameters.target must be positive"),
        ("non-saturating", {"r1": -1}, ": loss_parameters.r1 must not be negative"),
        ("non-saturating", {"r1": "much"}, ".loss_parameters.r1: input should be a valid number"),
        ("hinge", None, ".loss_parameters: input should be a valid dictionary"),
    ],
)
def test_loss_parameters_are_those_of_the_loss(small_params, loss, parameters, told):
    small_params["training"] |= {"loss": loss, "loss_parameters": parameters}
    assert error_of(small_params).startswith(f"params.yaml: training{told}")


@pytest.mark.parametrize(
    ("loss", "parameters"), [("non-saturating", {"r1": 0}), ("least-squares", {}), ("hinge", {})]
)
def test_every_other_loss_is_accepted(small_params, loss, parameters):
    small_params["training"] |= {"loss": loss, "loss_parameters": parameters}
    assert config.parse(small_params, "params.yaml").training.loss_parameters == parameters


def test_a_joint_update_has_one_critic_step(small_params):
    small_params["training"] |= {"update": "joint", "critic_steps": 5}
    told = "params.yaml: training: critic_steps must be 1 where update is joint, not 5"
    assert error_of(small_params) == told


def test_parameters_are_read_without_torch():
    """Commands that train nothing answer at once."""
    script = "import sys; from progan import config; config.load(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_missing_key_is_named(small_params):
    del small_params["training"]["seed"]
    assert (
        error_of(small_params)
        == "params.yaml: training.seed: missing; add it, as the file that comes with the project has it"
    )


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        (
            "r0004",
            {"fade_kimg": 1.0},
            "phases.r0004: the first phase has fade_kimg 0 and init data/multires/r0004: nothing is there",
        ),
        ("r0004", {"init": "checkpoints/r0002"}, "phases.r0004: the first phase has fade_kimg 0 and init"),
        ("r0008", {"resolution": 16}, "phases.r0008: a phase at 16 px must be named r0016"),
        ("r0008", {"init": "checkpoints/r0016"}, "phases.r0008.init: must be checkpoints/r0004"),
        ("r0008", {"fade_kimg": -1.0}, "phases.r0008: fade_kimg must not be negative"),
        ("r0008", {"minibatch": 0}, "phases.r0008: minibatch must be positive"),
    ],
)
def test_phases_that_do_not_chain(small_params, key, change, told):
    small_params["phases"][key] |= change
    assert told in error_of(small_params)


def test_a_phase_left_out(small_params):
    del small_params["phases"]["r0008"]
    assert "phases.r0016: must follow r0008" in error_of(small_params)


def test_growing_may_begin_at_any_resolution(small_params):
    """As all levels at once do, without growing: row (a) of the paper's Table 1."""
    for key in ("r0004", "r0008"):
        del small_params["phases"][key]
    small_params["phases"]["r0016"] |= {"init": "data/multires/r0016", "fade_kimg": 0.0}
    (only,) = config.parse(small_params, "params.yaml").phases.values()
    assert only.is_first
    small_params["phases"]["r0016"]["fade_kimg"] = 1.0
    assert "phases.r0016: the first phase has fade_kimg 0" in error_of(small_params)


def test_only_the_first_phase_has_nothing_before_it(small_config):
    assert [phase.is_first for phase in small_config.phases.values()] == [True, False, False]


def test_whole_numbers_as_keys_are_refused(small_params):
    """DVC would silently make no stage of them."""
    small_params["phases"][8] = small_params["phases"].pop("r0008")
    assert error_of(small_params) == "params.yaml: phases.8: keys are strings here, such as r0004"


@pytest.mark.parametrize("text", ["a: [", "\x00", "- a list", ""])
def test_what_is_no_parameter_file(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml: (not valid YAML|the file: a mapping)"):
        config.load(path)


def test_values_are_frozen(small_config):
    with pytest.raises(AttributeError):
        small_config.training.seed = 2


def test_a_small_change_in_yaml_is_the_same_value(small_params, small_config):
    assert config.parse(yaml.safe_load(yaml.safe_dump(small_params)), "params.yaml") == small_config


def test_as_text_and_back(small_config):
    text = config.to_text(small_config)
    assert config.from_text(text) == small_config
    assert config.to_text(config.from_text(text)) == text
    assert "\n" not in text
    assert ": " not in text


def warm(small_params, **changes):
    """Parameters that begin at 16 px from a registered checkpoint of 8 px."""
    start = {"model": "faces", "version": "7", "checkpoint": "ab" * 32}
    small_params["phases"] = {"r0016": small_params["phases"]["r0016"] | {"init": "checkpoints/r0008"}}
    return small_params | {"warm_start": {"r0008": start}} | changes


def test_a_warm_start(small_params):
    loaded = config.parse(warm(small_params), "params.yaml")
    assert loaded.phases["r0016"].fade_kimg > 0
    assert not loaded.phases["r0016"].is_first
    assert config.from_text(config.to_text(loaded)) == loaded


@pytest.mark.parametrize(
    ("start", "init", "told"),
    [
        ({}, "checkpoints/r0008", "phases.r0016: the first phase has fade_kimg 0 and init data/multires/r00"),
        ({}, "data/multires/r0016", "nothing is there to fade from (or warm_start.r0008 says what is)"),
        ({"r0004": ...}, "checkpoints/r0008", "warm_start: must be of r0008 alone, the phase before r0016;"),
        ({"r0008": ..., "r0004": ...}, "checkpoints/r0008", "not r0008, r0004"),
        ({"r0008": ...}, "data/multires/r0016", "phases.r0016.init: must be checkpoints/r0008, which warm_"),
    ],
)
def test_warm_starts_that_do_not_fit(small_params, start, init, told):
    values = warm(small_params)
    (given,) = values["warm_start"].values()
    values["warm_start"] = dict.fromkeys(start, given)
    values["phases"]["r0016"]["init"] = init
    assert told in error_of(values)


def test_a_warm_start_by_no_digest(small_params):
    values = warm(small_params)
    values["warm_start"]["r0008"]["checkpoint"] = "ab12"
    assert "checkpoint: the SHA-256 of its networks.safetensors is expected, not ab12" in error_of(values)
