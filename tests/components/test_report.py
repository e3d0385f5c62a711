"""The reports of a finished run, of an unfinished one, and of imported weights."""

import csv
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from markupsafe import Markup
from PIL import Image

from components.register.registration import Registration
from components.report import charts
from components.report.stage import report
from components.train.live_state import LiveState
from progan.dataset.manifest import ClassCount, Level, Manifest
from progan.errors import InputError
from progan.files import read_json, write_json
from progan.health import Problem
from progan.history import History
from tests.evaluations import EVALUATION, verdict
from tests.histories import history
from tests.layout import report_files

MEASURES = {
    "swd_16": 50.0, "swd_average": 51.0, "swd_floor_16": 5.0, "swd_floor_average": 5.5, "ms_ssim": 0.4,
    "ms_ssim_reals": 0.2, "nearest_distance": 30.0, "nearest_distance_reals": 24.0, "nearest_ratio": 1.25,
    "nearest_ratio_least": 0.75,
}  # fmt: skip
LEVELS = [16, 32, 64, 128, 256, 512, 1024]


@pytest.fixture
def page(whole_page, monkeypatch):
    """The same with empty charts: drawing one takes half a second."""
    monkeypatch.setattr(charts, "_svg", lambda draw, title, unit: Markup("<svg></svg>"))
    return whole_page


@pytest.fixture
def whole_page(tmp_path, monkeypatch, small_config):
    """Returns a function that writes the report of the current folder and returns it."""
    monkeypatch.chdir(tmp_path)

    def page(failure=None, config=small_config, snapshots=None):
        report(config, report_files(config), failure, snapshots)
        return Path("report/report.html").read_text()

    return page


def write_history(key, **readings):
    history(**readings).write(Path(f"history/{key}.csv"))


def write_evaluation(key, score_at_chance=False, **measures):
    evaluation = replace(EVALUATION, phase=key, measures=MEASURES | measures, score_at_chance=score_at_chance)
    evaluation.write(Path(f"evaluation/{key}.json"))
    Path("samples").mkdir(exist_ok=True)
    Image.new("RGB", (2 * 600 + 24, 600)).save(f"samples/{key}.png")
    Image.new("RGBA", (600, 300)).save(f"samples/{key}-nearest.png")


def write_verdict(key, passed):
    verdict(replace(EVALUATION, phase=key), passed).write(Path("verdict.json"))


def external_sources(html):
    """The addresses that a browser would fetch to show the page."""
    matches = re.findall(
        r"""(?:src|href|action|poster)=["']?([^"'\s>]+)|url\(([^)]*)\)|@import ([^;]*)""", html
    )
    return [
        source for groups in matches for source in groups if source and not source.startswith(("data:", "#"))
    ]


def text_of(html):
    """The text, without tags and pictures."""
    body = re.sub(r"<(style|svg).*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_a_run_that_failed_at_once(page):
    html = page("FAILED no photographs <here>")
    assert "The run did not finish" in html
    assert "FAILED no photographs &lt;here&gt;" in html
    assert "No dataset was built" in html
    for title in ("Samples", "Measures", "Training", "Throughput"):
        assert f"<h2>{title}" not in html


def write_record(key, updated, problems=()):
    """The live record of a phase in training, in a folder of snapshots; returns the folder."""
    rows = history(images=60, seconds=30.0).rows
    live = LiveState(key, "training", 60, 100, None, updated, 0.01, rows[-1].columns, problems)
    folder = Path(f"snapshots/{key}-abc/live")
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps(asdict(live)))
    History(rows).write(folder / "history.csv")
    Image.new("RGB", (512, 512)).save(folder / "grid.png")
    return "snapshots"


def test_a_run_that_still_trains(page):
    write_history("r0004", time=1e9)
    write_evaluation("r0004")
    problem = Problem("the images are much alike", "start the phase again")
    snapshots = write_record("r0008", 1e9 + 60, (problem,))
    html = page(snapshots=snapshots)
    text = text_of(html)
    assert "Not finished : r0008 training, 0.06 of 0.1 kimg, as of 2001-09-09 01:47 UTC" in text
    assert "the images are much alike: start the phase again" in text
    assert "Images of the averaged generator at that time" in text
    assert "No verdict yet" not in text
    with Path("report/training.csv").open() as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["r0004", "r0004", "r0008", "r0008"]


@pytest.mark.parametrize(("key", "updated"), [("r0008", 1e9 - 1), ("r0016", 1e9 + 60)])
def test_the_record_of_an_earlier_training_is_not_of_this_run(page, key, updated):
    """It is older than the phase before, or of a phase that cannot have begun."""
    write_history("r0004", time=1e9)
    write_evaluation("r0004")
    text = text_of(page(snapshots=write_record(key, updated)))
    assert "No verdict yet" in text
    assert "Not finished" not in text


def test_one_phase_is_evaluated_and_one_is_not(page):
    for key in ("r0004", "r0008"):
        write_history(key)
    write_evaluation("r0004")
    html = page("FAILED")
    assert html.count("data:image/png") == 3
    assert "trained to 8 px in 2m 10s" in html
    assert "registered" not in html
    with Path("report/training.csv").open() as file:
        assert {row["phase"] for row in csv.DictReader(file)} == {"r0004", "r0008"}


def test_the_score_of_a_classifier_at_chance(page):
    write_evaluation("r0004", score_at_chance=True, classifier_score=1.5, classifier_score_std=0.1)
    text = text_of(page())
    assert "Classifier score 1.50 means nothing: the classifier is no better than chance" in text
    assert "Nearest training image 1.25 about 1 or above" in text


def test_a_failed_gate_and_no_registration(page):
    write_history("r0004")
    write_evaluation("r0004")
    write_verdict("r0004", passed=False)
    html = page()
    assert "<strong>Failed</strong> at r0004: nothing was registered" in html
    assert "✗ swd is 50" in html
    assert "did not finish" not in html


def test_weights_that_were_imported_have_no_history(page):
    write_evaluation("r0016")
    write_verdict("r0016", passed=True)
    html = page()
    assert "weights that were not trained here" in html
    assert "SWD × 1000 51.0 noise floor 5.5" in text_of(html)
    assert "<h2>Training" not in html
    assert "<h2>Throughput" not in html


def test_the_report_of_a_finished_run(whole_page, monkeypatch):
    """Every part in order, each number where it belongs, and no external source."""
    monkeypatch.setenv("PROGAN_GIT_COMMIT", "0123abc")
    for key in ("r0004", "r0008"):
        write_history(key, device="Card 80GB", gpus=4)
        write_evaluation(key, classifier_score=2.5, classifier_score_std=0.1)
    write_verdict("r0008", passed=True)
    Registration("faces", "7", "abc").write(Path("registration.json"))
    html = whole_page()
    text = text_of(html)
    for expected in (
        "Passed at r0008: registered as version 7",
        "Nearest training image 1.25 about 1 or above; near 0: copies",
        "the generated image that is closest of all, the ratio is 0.75 ×",
        "Classifier score 2.50 ± 0.10",
        "r0004 0.1 51.0 / 5.5 50.0 / 5.0 0.400 / 0.200 2.50 1.25",
        "r0008 0.08 + 0.08 2 1m 05s 4 × Card 80GB 0.07 8 0.004",  # 100 images in 65 s
        "all 0.2 2 2m 10s 0.14",
        "git checkout 0123abc PROGAN_GPUS=4 make run",
        "trained on 4 × Card 80GB",
        "checkpoint r0008, digest " + "c" * 64,
        "faces version 7, MLflow run abc",
        "learning_rate: 0.004",
    ):
        assert expected in text
    places = [html.index(f"<h2>{title}") for title in (
        "Samples", "Is it copying?", "Measures", "Training", "Throughput and cost", "Environment",
    )]  # fmt: skip
    assert html.index("Passed") < places[0]
    assert places == sorted(places)
    assert html.count("<svg") == 5
    assert "#0102" not in html, "a colour of the charts that was not replaced"
    assert external_sources(html) == []
    assert whole_page() == html


def test_the_cost_if_a_price_is_known(page):
    write_history("r0004")  # of an older version, without a device
    assert "r0004 0 + 0.08 2 1m 05s 8 0.004 all" in text_of(page())
    write_history("r0004", device="Card", gpus=4)
    assert "price" not in text_of(page()).lower()
    write_history("r0008", device="Card", gpus=4, gpu_hour_price="36 USD")
    write_history("r0016", device="Card", gpus=4, gpu_hour_price="72 USD")
    text = text_of(page())
    for expected in ("GPU hours price", "0.07 – 8", "0.07 2.60 USD 8", "0.07 5.20 USD 8", "0.22 7.80 USD"):
        assert expected in text  # 65 s on four GPUs
    assert "Price: time × GPUs × the cluster profile's price of a GPU hour" in text


def test_the_names_of_the_classes(page, small_config):
    write_evaluation("r0004")
    classes = tuple(ClassCount(name, 1) for name in ("cats", "dogs & birds"))
    manifest = Manifest(2, "folder", "pets", {}, 0, 3, classes, 0, 0, (), {}, {"r0004": Level.of([])})
    write_json(Path("multires/dataset.json"), manifest.to_json())
    assert "A row of each class" not in page()
    conditional = replace(small_config, network=replace(small_config.network, label_size=2))
    assert "A row of each class, from the top: cats, dogs &amp; birds<" in page(config=conditional)


def test_a_measure_that_is_not_finite_is_a_dash_and_no_metric(page):
    write_history("r0008")
    write_evaluation("r0004")
    write_evaluation("r0008", **dict.fromkeys(("swd_16", "swd_average", "ms_ssim", "nearest_ratio")))
    assert "MS-SSIM – real images 0.200 Nearest training image –" in text_of(page())
    assert "ms_ssim" not in read_json(Path("report/metrics/r0008.json"))
    assert read_json(Path("report/metrics/r0004.json")) == {"kimg": 0.1, **MEASURES}
    Path("evaluation/r0008.json").unlink()
    page()
    assert [path.name for path in Path("report/metrics").iterdir()] == ["r0004.json"]


@pytest.mark.parametrize("name", ["r0004.png", "r0004-nearest.png"])
def test_a_damaged_picture_is_one_line(page, name):
    write_evaluation("r0004")
    picture = Path("samples", name)
    picture.write_bytes(picture.read_bytes()[:100])
    with pytest.raises(InputError, match=f"samples/{name}: missing or damaged; run dvc repro evaluate@r0004"):
        page()


def test_a_large_picture_is_embedded_smaller(page):
    write_evaluation("r0004")
    Image.new("RGB", (2 * 1100 + 24, 1100)).save("samples/r0004.png")
    html = page()
    assert html.count("data:image/webp") == 2
    assert html.count("data:image/png") == 1


@pytest.fixture(scope="module")
def browser():
    """Chromium without background traffic."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    quiet = ("background-networking", "component-update", "sync", "gpu")
    for argument in ("headless", "no-sandbox", "no-first-run", *(f"disable-{part}" for part in quiet)):
        options.add_argument(f"--{argument}")
    chromium = webdriver.Chrome(options, Service(driver))
    yield chromium
    chromium.quit()


def test_in_a_browser(whole_page, browser, small_config):
    """Nothing is wider than the screen of a phone, dark mode is light on dark, and every picture appears."""
    phases = {
        f"r{side:04d}": replace(
            small_config.phases["r0016"], resolution=side, init=f"checkpoints/r{side // 2:04d}"
        )
        for side in LEVELS
    }
    for key in phases:
        write_history(key, device="A card with a long name 80GB", gpus=8)
        levels = [side for side in LEVELS if side <= int(key[1:])]
        levels = {f"swd_{floor}{side}": 12.34 for side in levels for floor in ("", "floor_")}
        write_evaluation(key, **levels, inception_score=1.0, fid=10.0, kid=0.01)
    write_verdict("r1024", passed=False)
    config = replace(small_config)
    object.__setattr__(config, "phases", phases)
    whole_page("FAILED train r1024: " + 100 * "x", config)

    def look(width, scheme):
        emulate = browser.execute_cdp_cmd
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        emulate("Emulation.setDeviceMetricsOverride", metrics)
        emulate(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        browser.get(Path("report/report.html").resolve().as_uri())
        return browser.execute_script(
            """
            document.querySelectorAll("details").forEach(part => part.open = true)
            const light = text => text.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0) / 765
            const style = name => getComputedStyle(document.querySelector(name))
            const inks = ["body", "h2", ".figures dt", "td"].map(name => style(name).color)
            const decoded = Promise.allSettled([...document.images].map(image => image.decode()))
            return decoded.then(() => ({
                width: document.documentElement.scrollWidth,
                tables: [...document.querySelectorAll("table")].map(table => table.scrollWidth),
                broken: [...document.images].filter(image => !image.naturalWidth).length,
                page: light(style("body").backgroundColor),
                ink: [...inks, style("svg text").fill].map(light),
                bar: light(style("svg path[style*='fill: var(--series-1)']").fill),
            }))
            """
        )

    for width in (390, 1400):
        light, dark = look(width, "light"), look(width, "dark")
        for mode in (light, dark):
            assert mode["width"] <= width
            assert mode["broken"] == 0
            assert width > 390 or max(mode["tables"]) <= width
        assert light["page"] - max(light["ink"]) > 0.5
        assert min(dark["ink"]) - dark["page"] > 0.4
        assert dark["bar"] > light["bar"]
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
