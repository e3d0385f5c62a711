"""Images and containers without a registry or a daemon: debootstrap, Buildah, and Podman with runc."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("debootstrap", "buildah", "podman", "runc")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
CONFIGURATION = """
[containers]
default_ulimits = []
netns = "host"
[engine]
runtime = "runc"
"""


def missing():
    """Why no container can be built here; empty where it can."""
    if os.getuid():
        return "building a base image needs root"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"not installed here: apt-get install {' '.join(lacking)}" if lacking else ""


@dataclass(frozen=True)
class Podman:
    """Podman and Buildah with a storage and settings of their own in `folder`."""

    folder: Path

    @property
    def environment(self):
        return {**os.environ, "CONTAINERS_CONF": str(self.folder / "containers.conf")}

    def command(self, program, *arguments):
        storage = ("--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"))
        return [program, *storage, *map(str, arguments)]

    def __call__(self, program, *arguments):
        """What podman or buildah printed; it must succeed."""
        done = subprocess.run(
            self.command(program, *arguments), env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{program} {arguments[0]}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def has(self, image):
        command = self.command("podman", "image", "exists", image)
        return subprocess.run(command, env=self.environment).returncode == 0

    def inspect(self, image):
        return json.loads(self("podman", "image", "inspect", image))[0]


def make_podman(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(CONFIGURATION)
    return Podman(folder)


def import_base_image(podman, name):
    """Debian with Python and nothing else, from the mirror that apt uses here."""
    query = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"]
    listed = subprocess.run([*query, "Origin: Debian"], check=True, capture_output=True, text=True).stdout
    mirror, release = listed.splitlines()[0].split()
    root, archive = podman.folder / "base", podman.folder / "base.tar"
    packages = "--include=python3,python3-venv"
    subprocess.run(["debootstrap", "--variant=minbase", packages, release, root, mirror], check=True)
    subprocess.run(["tar", "--create", "--file", archive, "--directory", root, "."], check=True)
    podman("podman", "import", archive, name)
    shutil.rmtree(root)
    archive.unlink()
