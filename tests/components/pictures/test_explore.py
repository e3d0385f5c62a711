"""The page in which a generator runs: Chromium makes the images that torch makes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.pictures import explore as explore_page
from components.pictures.explore import explore, folded
from components.pictures.sources import sampler_of
from progan.errors import InputError
from progan.sampling import Sampler, latents_of_seeds, to_uint8
from tests import architectures
from tests.browser import WEBGPU, browsers
from tests.checkpoints import FORMS, image_of, write_made_checkpoint

SHOWN = {  # network, resolution
    **{name: (form, 8) for name, form in FORMS.items()},
    "wide": ({"latent_size": 100, "fmap_base": 4096, "fmap_max": 128}, 32),
    "odd numbers of maps": ({"fmap_base": 60, "fmap_decay": 0.5, "fmap_max": 7}, 16),
}
NO_WORKERS = """<meta http-equiv="Content-Security-Policy" content="worker-src 'none'">"""
BUSY = "return document.querySelector(`:is(${arguments[0]}):not([aria-busy=false])`) !== null"
READ = """
    return [...document.querySelectorAll(arguments[0])].map((canvas) => {
      const {width, height} = canvas, pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      return [width, height, [...pixels]];
    })"""
SET = """
    for (const [id, value] of Object.entries(arguments[0])) {
      document.getElementById(id).value = value;
      document.getElementById(id).dispatchEvent(new Event("input"));
    }"""


class Explorer:
    """The page in Chromium: its controls, and the images that it shows."""

    def __init__(self, page):
        self.page, self.driver = page, page.driver

    def open(self, file):
        self.driver.get_log("browser")  # forget those of earlier pages
        self.page.open(str(file).lstrip("/"))

    def shown(self, selector="#image", **controls):
        """The images of the canvases when these are drawn: uint8 [n, R, R, 3]."""
        self.driver.execute_script(SET, controls)
        self.page.until(lambda: not self.driver.execute_script(BUSY, selector))
        images = self.driver.execute_script(READ, selector)
        return np.array([np.array(rgba).reshape(height, width, 4)[..., :3] for width, height, rgba in images])


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    with browsers(tmp_path_factory.mktemp("chromium")) as browser:
        yield Explorer(browser("file://", ("", "")))


@pytest.fixture(scope="module")
def webgpu_explorer(tmp_path_factory):
    with browsers(tmp_path_factory.mktemp("chromium"), WEBGPU) as browser:
        page = browser("file://", ("", ""))
        page.open("usr")  # a folder is a secure context, as files are
        script = "navigator.gpu.requestAdapter().then((adapter) => arguments[0](adapter !== null))"
        if not page.driver.execute_async_script(script):
            pytest.skip("this Chromium has no WebGPU here")
        yield Explorer(page)


@pytest.fixture
def count_as_large(monkeypatch):
    """Returns a function: networks from this resolution count as too large for plain JavaScript."""

    def count(resolution):
        monkeypatch.setattr(
            explore_page, "multiplications", lambda made: 5e9 if made.resolution >= resolution else 1000
        )

    return count


def assert_alike(images, expected):
    """Within one grey level."""
    expected = np.broadcast_to(expected, images.shape)  # grey to RGB
    assert expected.std() > 20
    assert np.abs(images.astype(int) - expected.astype(int)).max() <= 1


def sampled(source, seeds, label=0, truncation=1.0):
    sampler = sampler_of(str(source))
    latents = latents_of_seeds(seeds, sampler.latent_size)
    images = torch.cat(list(sampler.images(latents, torch.full((len(seeds),), label), truncation)))
    return images.permute(0, 2, 3, 1).numpy()


def assert_same_images(explorer, folder, network, resolution):
    """Of a random generator, in the page and in torch."""
    generator = write_made_checkpoint(folder / "made", network, resolution)
    explore(str(folder / "made"), folder / "explore.html")
    explorer.open(folder / "explore.html")
    label = 2 if network.label_size else 0
    assert_alike(explorer.shown(label=label), image_of(generator, 0, label))
    seed = 2**40 + 7
    image = explorer.shown(**{"from": seed, "truncation": 60})
    assert_alike(image, sampled(folder / "made", [seed], label, 0.6))
    if resolution == 8:
        grid = explorer.shown("#grid canvas", truncation=100)
        assert_alike(grid, [image_of(generator, seed, label) for seed in range(24)])
    assert [entry for entry in explorer.driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=[pytest.mark.slow] * (form == "wide")) for form in SHOWN]
)
def test_chromium_makes_the_same_images(tmp_path, small_config, explorer, form):
    changes, resolution = SHOWN[form]
    assert_same_images(explorer, tmp_path, replace(small_config.network, **changes), resolution)


@pytest.mark.parametrize("architecture", architectures.SMALL)
def test_the_other_architectures(tmp_path, explorer, architecture):
    """With classes and without, and of StyleGAN also with a first layer in place of the constant."""
    network = architectures.SMALL[architecture]
    if "stylegan" in architecture:
        network = replace(network, mapping_learning_rate=1.0)  # so that styles differ
    assert_same_images(explorer, tmp_path / "a", network, 8)
    others = {"label_size": 0 if network.label_size else 3}
    others |= {"constant_input": False, "noise": False} if architecture == "stylegan" else {}
    assert_same_images(explorer, tmp_path / "b", replace(network, **others), 16)


def test_the_way_between_two_styles(tmp_path, explorer):
    """In a straight line."""
    network = replace(architectures.SMALL["stylegan2"], mapping_learning_rate=1.0)  # so that styles differ
    generator = write_made_checkpoint(tmp_path / "made", network, 8)
    explore(str(tmp_path / "made"), tmp_path / "explore.html")
    explorer.open(tmp_path / "explore.html")
    a, b = generator.start(latents_of_seeds([3, 8], network.latent_size))
    expected = to_uint8(generator.grow((0.75 * a + 0.25 * b)[None])).permute(0, 2, 3, 1).numpy()
    assert_alike(explorer.shown(**{"from": 3, "to": 8, "position": 25}), expected)


@pytest.mark.parametrize(
    "form",
    [
        "odd numbers of maps",
        *(pytest.param(form, marks=pytest.mark.slow) for form in ("fused", "row a", "wide")),
    ],
)
def test_webgpu_makes_the_same_images(tmp_path, small_config, webgpu_explorer, count_as_large, form):
    count_as_large(4)
    changes, resolution = SHOWN[form]
    assert_same_images(webgpu_explorer, tmp_path, replace(small_config.network, **changes), resolution)


@pytest.mark.parametrize(
    "tolerance",
    [pytest.param(0.01, marks=pytest.mark.slow, id="float32"), pytest.param(100, id="float16")],
)
def test_webgpu_grows_and_fades(
    tmp_path, small_config, webgpu_explorer, count_as_large, monkeypatch, tolerance
):
    """Two levels with classes; the second one is half faded in."""
    monkeypatch.setattr(explore_page, "HALF_TOLERANCE", tolerance)
    count_as_large(8)
    network, names = replace(small_config.network, label_size=2), ["cats", "dogs"]
    small, large = (write_made_checkpoint(tmp_path / str(side), network, side, names) for side in (4, 8))
    samplers = Sampler(small, names), Sampler(large, names, alpha=0.5)
    content = explore_page.page("fading", [explore_page.Shown(each, None, None) for each in samplers])
    (tmp_path / "explore.html").write_text(content)
    webgpu_explorer.open(tmp_path / "explore.html")
    inputs = torch.cat([latents_of_seeds([5], network.latent_size), torch.tensor([[0.0, 1.0]])], 1)
    half_faded = to_uint8(large(inputs, torch.tensor(0.5))).permute(0, 2, 3, 1).numpy()
    assert_alike(webgpu_explorer.shown(**{"from": 5, "label": 1}), half_faded)
    assert_alike(webgpu_explorer.shown(level=0), image_of(small, 5, 1))
    assert_alike(webgpu_explorer.shown(level=1), half_faded)


def test_a_browser_without_webgpu(tmp_path, small_config, explorer, count_as_large):
    """It shows the levels that plain JavaScript can make, and the command that makes the others."""
    first, second = tmp_path / "checkpoints" / "r0004", tmp_path / "checkpoints" / "r0008"
    small = write_made_checkpoint(first, small_config.network, 4)
    write_made_checkpoint(second, small_config.network, 8, init=first)
    count_as_large(8)
    refusal = (
        "Images of 8 × 8 px need WebGPU, which this browser does not offer on this machine.",
        f"progan generate {second} --seeds 0-63 --out images.png",
    )
    explore(str(tmp_path / "checkpoints"), tmp_path / "explore.html")
    explorer.open(tmp_path / "explore.html")
    explorer.page.shows(*refusal, "4 × 4 px")
    assert_alike(explorer.shown(), image_of(small, 0))
    explore(str(second), tmp_path / "explore.html")
    explorer.open(tmp_path / "explore.html")
    explorer.page.shows(*refusal)
    assert not explorer.driver.find_element("id", "page").is_displayed()


def test_the_way_between_two_seeds(plain, tmp_path, explorer):
    """Directions by angle, lengths in proportion."""
    explore("checkpoints/r0016", tmp_path / "explore.html")
    explorer.open(tmp_path / "explore.html")
    image = explorer.shown(**{"from": 3, "to": 8, "position": 25})
    a, b = latents_of_seeds([3, 8], plain.network.latent_size).double()
    axis = b - (a @ b) / (a @ a) * a
    angle = torch.acos(a @ b / (a.norm() * b.norm())) / 4
    direction = torch.cos(angle) * a / a.norm() + torch.sin(angle) * axis / axis.norm()
    latents = direction * (0.75 * a.norm() + 0.25 * b.norm())
    assert_alike(image, to_uint8(plain(latents.float()[None])).permute(0, 2, 3, 1).numpy())
    assert_alike(explorer.shown(position=100), image_of(plain, 8))


def test_growth_and_the_command_line(tmp_path, small_config, explorer, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = replace(small_config.network, label_size=2)
    first, second = Path("checkpoints/r0004"), Path("checkpoints/r0008")
    small = write_made_checkpoint(first, network, 4, ["cats", "dogs"])
    large = write_made_checkpoint(second, network, 8, ["cats", "dogs"], init=first)
    explore("checkpoints", Path("explore.html"))
    explorer.open(tmp_path / "explore.html")
    assert_alike(explorer.shown(label=1), image_of(large, 0, 1))
    assert_alike(explorer.shown(level=0), image_of(small, 0, 1))
    line = (
        "progan generate checkpoints/r0004 --seeds 5 --label 1 \\\n    --truncation 0.5 --out dogs-seed5.png"
    )
    explorer.shown(**{"from": 5, "truncation": 50})
    explorer.page.shows("made", "4 × 4 px, trained for 1.5 kimg", line)


def test_a_fade_that_was_interrupted(plain, tmp_path, explorer):
    """Half of the image is that of the level below, enlarged by repeating pixels."""
    content = explore_page.page("fading", [explore_page.Shown(Sampler(plain, alpha=0.5), None, None)])
    (tmp_path / "explore.html").write_text(content)
    explorer.open(tmp_path / "explore.html")
    images = plain(latents_of_seeds([0], plain.network.latent_size), torch.tensor(0.5))
    assert_alike(explorer.shown(), to_uint8(images).permute(0, 2, 3, 1).numpy())


def test_what_is_saved(conditional, tmp_path, explorer):
    """The image alone, and all of the grid, both at their own size."""
    explore("classes/r0016", tmp_path / "explore.html")
    allowed = {"behavior": "allow", "downloadPath": str(tmp_path / "saved")}
    explorer.driver.execute_cdp_cmd("Browser.setDownloadBehavior", allowed)
    explorer.open(tmp_path / "explore.html")
    shown, grid = explorer.shown("#image, #grid canvas", label=1)[[0, -1]]
    for button in ("save", "save-grid"):
        explorer.driver.find_element("id", button).click()
    files = [tmp_path / "saved" / f"dogs-{name}.png" for name in ("seed0", "seeds0-23")]
    explorer.page.until(lambda: all(file.exists() for file in files))
    image, sheet = (np.asarray(Image.open(file).convert("RGB")) for file in files)
    np.testing.assert_array_equal(image, shown)
    assert sheet.shape == (4 * 18 - 2, 6 * 18 - 2, 3)
    np.testing.assert_array_equal(sheet[-16:, -16:], grid)


def test_in_a_sandboxed_frame_without_workers(plain, tmp_path, explorer):
    """MLflow shows HTML in a frame in which scripts run; a worker may be forbidden there."""
    page = tmp_path / "explore.html"
    explore("checkpoints/r0016", page)
    page.write_text(page.read_text().replace("<title>", f"{NO_WORKERS}<title>"))
    frame = '<!doctype html><iframe sandbox="allow-scripts" src="explore.html"></iframe>'
    (tmp_path / "frame.html").write_text(frame)
    explorer.open(tmp_path / "frame.html")
    explorer.driver.switch_to.frame(0)
    assert_alike(explorer.shown("#grid canvas"), [image_of(plain, seed) for seed in range(24)])
    assert explorer.driver.execute_script("return idle.length") == 1


def test_the_page_needs_nothing_else(plain, tmp_path):
    explore("checkpoints/r0016", tmp_path / "explore.html")
    page = (tmp_path / "explore.html").read_text()
    assert re.findall(r"""(?:src|href)=["']?[^"']|https?://|url\(|@import|import\(|fetch\(""", page) == []


def test_folded_layers_are_the_generator(tmp_path, small_config):
    """Of the form with batch norm, whose running statistics differ from map to map."""
    changes, resolution = SHOWN["row a"]
    generator = write_made_checkpoint(tmp_path / "a", replace(small_config.network, **changes), resolution)
    latents = latents_of_seeds(range(4), small_config.network.latent_size)
    torch.testing.assert_close(folded(generator)(latents), generator(latents), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("limit", "why"), [("SLOWEST_IN_WEBGPU", "billion multiplications"), ("LARGEST_PAGE", "MB")]
)
def test_a_network_that_is_too_large(plain, tmp_path, monkeypatch, limit, why):
    monkeypatch.setattr(explore_page, limit, 1000)
    with pytest.raises(InputError) as caught:
        explore("checkpoints/r0016", tmp_path / "explore.html")
    message = str(caught.value)
    assert message.startswith("checkpoints/r0016: too large for a page (")
    assert why in message
    assert message.endswith(
        "progan generate checkpoints/r0016 --seeds 0-63 --out images.png makes its images"
    )
    assert not (tmp_path / "explore.html").exists()


def test_phases_that_are_too_large_together(tmp_path, small_config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = Path("checkpoints/r0004"), Path("checkpoints/r0008")
    write_made_checkpoint(first, small_config.network, 4)
    write_made_checkpoint(second, small_config.network, 8, init=first)
    explore("checkpoints/r0008", Path("explore.html"))
    monkeypatch.setattr(explore_page, "LARGEST_PAGE", Path("explore.html").stat().st_size)
    with pytest.raises(
        InputError, match="progan explore checkpoints/r0008 writes the page of this phase alone"
    ):
        explore("checkpoints", Path("all.html"))


def test_names_of_classes_cannot_break_out_of_the_page(tmp_path, small_config):
    name = "</script><b>cats"
    network = replace(small_config.network, label_size=2)
    write_made_checkpoint(tmp_path / "made", network, 4, [name, "dogs"])
    explore(str(tmp_path / "made"), tmp_path / "explore.html")
    page = (tmp_path / "explore.html").read_text()
    assert "<b>cats" not in page
    facts = re.search(r'id="facts">(.*?)</script>', page)[1]
    assert json.loads(facts)["classes"][0] == name
