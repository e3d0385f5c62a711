"""What would fail on a cluster only is refused before anything is compiled or started."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import cli
from pipelines.compiling import compiled
from pipelines.profile import load_profile
from pipelines.refusals import check_for_cluster
from progan import config
from progan.errors import InputError
from tests.conftest import IMAGE, ROOT
from tests.pipelines.compiled_once import compiled_once


@pytest.fixture
def profile():
    return load_profile(ROOT / "infra/cluster.yaml", IMAGE)


@pytest.mark.parametrize("image", ["progan", "registry.example.org/progan:1.2", "progan@sha256:abc"])
def test_an_image_without_a_digest(small_config, profile, image):
    with pytest.raises(InputError, match=f"^on a cluster: image: {image} has no digest"):
        check_for_cluster(small_config, replace(profile, image=image))


def test_the_examples_image(small_config):
    with pytest.raises(InputError, match="is only an example; name yours in infra/cluster.yaml"):
        compiled(small_config, load_profile(ROOT / "infra/cluster.yaml"), "d" * 64)


def test_a_phase_that_no_card_holds(small_config, profile):
    network = replace(small_config.network, latent_size=512, fmap_base=8192, fmap_max=512)
    phases = small_config.phases | {"r0016": replace(small_config.phases["r0016"], minibatch=512)}
    large = replace(small_config, network=network, phases=phases)
    small_card = replace(profile.pod("r0004"), gpu_memory_gib=8)
    there = replace(profile, pods=profile.pods | {"r0004": small_card})
    with pytest.raises(InputError, match=r"phases\.r0016: needs about \d+ GiB on each GPU, which has 8"):
        check_for_cluster(large, there)
    check_for_cluster(large, replace(there, pods=profile.pods | {"r0004": replace(small_card, gpus=8)}))


def test_a_minibatch_that_the_gpus_cannot_share_and_all_faults_at_once(small_config, profile):
    three = replace(profile, pods=profile.pods | {"r0016": replace(profile.pod("r0004"), gpus=3)})
    told = r"phases\.r0016\.minibatch: 8 images are not shared evenly by 3 ranks"
    with pytest.raises(InputError, match=f"^on a cluster: {told}"):
        check_for_cluster(small_config, three)
    with pytest.raises(InputError, match=f"on a cluster: 2 faults\n  image: .*\n  {told}"):
        check_for_cluster(small_config, replace(three, image="progan"))


def test_the_command(new_project, monkeypatch, profile):
    """Nothing is written when something is refused."""
    monkeypatch.chdir(new_project().root)
    command = ("compile", "--profile", str(ROOT / "infra/cluster.yaml"))
    refused = CliRunner().invoke(cli.app, command)
    assert str(refused.exception).startswith("on a cluster: image: ")
    assert not Path("pipeline.yaml").exists()
    assert CliRunner().invoke(cli.app, [*command, "--image", IMAGE]).exit_code == 0
    assert Path("pipeline.yaml").read_text() == compiled_once(config.load(), profile, "")
