"""The image, built and run for real: `make e2e-container`, as root on Debian, half an hour the first time.

What is built stays in .containers/, so that the next time takes minutes.
"""

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest

from progan.files import read_json
from tests import podman as containers
from tests.conftest import ROOT
from tests.servers import PLATFORM, Server, deployed, free_port

pytestmark = pytest.mark.container
BASE, IMAGE = "localhost/python-base", "localhost/progan:e2e"
USER = 10001
MARK = "# the company's own authority, in the tests"
AS_ON_A_CLUSTER = (
    "--rm",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)


@pytest.fixture(scope="session")
def podman():
    if reason := containers.missing():
        pytest.skip(reason)
    podman = containers.make_podman(ROOT / ".containers")
    if not podman.has(BASE):
        containers.import_base_image(podman, BASE)
    return podman


def build(podman, source, image):
    """Build as behind a company's authority: the bundle that this machine trusts is the build's secret."""
    bundle = podman.folder / "ca-bundle.pem"
    bundle.write_text(f"{MARK}\n{containers.CA_BUNDLE.read_text()}")
    arguments = ("--isolation=chroot", "--layers", f"--build-arg=BASE_IMAGE={BASE}", f"--tag={image}")
    podman("buildah", "bud", *arguments, f"--secret=id=ca-bundle,src={bundle}", source)


@pytest.fixture(scope="session")
def image(podman):
    build(podman, ROOT, IMAGE)
    return IMAGE


def test_the_toy_journey_runs_for_nobody_special_on_a_read_only_system(podman, image, new_project):
    """As restricted Pod Security wants it, in a folder that the image's user may write to."""
    project = new_project()
    subprocess.run(["chown", "--recursive", str(USER), project.root], check=True)

    def progan(*arguments):
        return podman(
            "podman", "run", *AS_ON_A_CLUSTER, f"--volume={project.root}:/progan", image, *arguments
        )

    assert "train" in progan("--help")
    progan("paint")
    progan("build-dataset")
    progan("train", "r0004")
    assert (project.root / "checkpoints/r0004/checkpoint.json").stat().st_uid == USER

    dataset = project.root / "data/multires"
    inside = (dataset / "dataset.json").read_text()
    shutil.rmtree(dataset)
    assert project.run("progan", "build-dataset").returncode == 0
    assert (dataset / "dataset.json").read_text() == inside


def test_nothing_but_the_work_folder_can_be_written(podman, image):
    with pytest.raises(AssertionError, match="Read-only file system"):
        podman("podman", "run", *AS_ON_A_CLUSTER, "--entrypoint=touch", image, "/opt/progan/touched")


def test_the_image_holds_neither_the_companys_authority_nor_git_nor_the_tests(podman, image):
    assert MARK not in podman("podman", "history", "--no-trunc", image)
    mounted = Path(podman("podman", "image", "mount", image).strip())
    try:
        found = subprocess.run(["grep", "-rlF", MARK, mounted], capture_output=True, text=True).stdout
        assert found == ""
        assert not (mounted / "usr/bin/git").exists()
        site = next(mounted.glob("opt/progan/lib/python3.*/site-packages"))
        assert (site / "components/report/report.html").exists()
        assert not (site / "tests/servers.py").exists()
        assert not (site / "pytest").exists()
    finally:
        podman("podman", "image", "unmount", image)


def test_a_change_of_code_rebuilds_no_dependency(podman, image, tmp_path):
    for name in (
        ".dockerignore",
        "Dockerfile",
        "README.md",
        "dvc.yaml",
        "pyproject.toml",
        "requirements.lock",
    ):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("progan", "components", "pipelines", "presets"):
        shutil.copytree(ROOT / name, tmp_path / name)
    with (tmp_path / "progan/__init__.py").open("a") as file:
        file.write("# changed\n")
    build(podman, tmp_path, f"{image}-changed")
    *before, code = podman.inspect(image)["RootFS"]["Layers"]
    *after, changed = podman.inspect(f"{image}-changed")["RootFS"]["Layers"]
    assert before == after
    assert code != changed


def test_mlflows_server_runs_from_the_image(podman, image, postgres, storage, bucket, tmp_path):
    port = free_port()
    command, variables = deployed(
        PLATFORM / "mlflow.yaml",
        {
            **postgres,
            **storage.environment,
            "ARTIFACTS": f"s3://{bucket}",
            "ALLOWED_HOSTS": f"127.0.0.1:{port}",
            "MLFLOW_AUTH_ADMIN_PASSWORD": "only for this test",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "only for this test",
        },
    )
    settings = [f"--env={name}={value}" for name, value in variables.items()]
    mounted = f"--volume={PLATFORM / 'basic_auth.ini'}:/etc/mlflow/basic_auth.ini:ro"
    program, *arguments = [*command, "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    run = podman.command(
        "podman", "run", *AS_ON_A_CLUSTER, *settings, mounted, f"--entrypoint={program}", image, *arguments
    )
    server = Server(run, f"http://127.0.0.1:{port}", "/health", tmp_path / "log", podman.environment)
    server.start()
    server.stop()


@contextlib.contextmanager
def docker_api(podman, folder):
    """What speaks Docker's API on a socket; yields its address."""
    address = f"unix://{folder}/podman.sock"
    command = podman.command("podman", "system", "service", "--time=0", address)
    process = subprocess.Popen(command, env=podman.environment)
    try:
        yield address
    finally:
        process.terminate()
        process.wait()


def test_the_pipeline_in_containers_makes_what_the_stages_make_here(podman, image, new_project):
    project = new_project()
    environment = project.environment
    del environment["OMP_NUM_THREADS"]  # of the tests: sums depend on the number of threads

    def run(*command, **more):
        assert project.start(*command, env=environment | more).wait() == 0

    run("progan", "paint")
    with docker_api(podman, project.root) as address:
        run("progan", "run", "--runner=docker", f"--image={image}", DOCKER_HOST=address)
    [registration] = (project.root / ".kfp/results/runs").glob("*/registration.json")
    assert read_json(registration)["version"] == "1"
    run("progan", "train", "r0004")
    [inside] = (project.root / ".kfp").glob("progressive-training-*/train/checkpoint/checkpoint.json")
    here = project.root / "checkpoints/r0004/checkpoint.json"
    assert read_json(inside)["files"] == read_json(here)["files"]
