"""Real servers on loopback: S3 (Versity's gateway), PostgreSQL, and MLflow on both, as infra/ runs it.

They listen on free ports, start when a test first asks for them and end with the test session. Where a
program is missing, the tests that need it are skipped: `make servers` installs what it can.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml

PLATFORM = Path(__file__).parents[1] / "infra/base/platform"
PATIENCE = 180  # seconds to wait for a server's first answer, on a machine that does other work


class Server:
    """A process that answers HTTP at `url`; it can be stopped, and started again with all it stored."""

    def __init__(self, command, url, health, log, environment):
        self.command, self.url, self.health, self.log = command, url, url + health, log
        self.environment = {**os.environ, **environment}

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{self.command[0]} did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def answers(self):
        with contextlib.suppress(OSError), urllib.request.urlopen(self.health, timeout=5):
            return True
        return False

    def stop(self):
        """End the process and those it started: asked first, then killed."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)


@dataclass(frozen=True)
class Storage:
    """An S3 server; `environment` is what boto3 needs to reach it."""

    server: Server
    environment: dict[str, str]

    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL_S3"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )


@dataclass(frozen=True)
class Tracking:
    """An MLflow server whose artifacts are in `bucket` of `storage`; `environment` is what a client needs
    that is no administrator."""

    server: Server
    database: dict[str, str]
    storage: Storage
    bucket: str
    environment: dict[str, str]


@pytest.fixture(scope="session")
def storage(tmp_path_factory):
    """An empty S3 server."""
    program = installed("versitygw")
    folder = tmp_path_factory.mktemp("s3")
    (folder / "buckets").mkdir()
    url = f"http://127.0.0.1:{free_port()}"
    environment = {
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(),
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    root = {
        "ROOT_ACCESS_KEY": environment["AWS_ACCESS_KEY_ID"],
        "ROOT_SECRET_KEY": environment["AWS_SECRET_ACCESS_KEY"],
    }
    address = url.removeprefix("http://")
    command = [program, f"--port={address}", "--health=/health", "posix", str(folder / "buckets")]
    server = Server(command, url, "/health", folder / "log", root)
    server.start()
    yield Storage(server, environment)
    server.stop()


@pytest.fixture
def bucket(storage):
    """The name of a new bucket in `storage`."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    storage.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def address(storage, bucket, monkeypatch):
    """The address of an empty place in a bucket that this process and those it starts can reach.

    A server that was killed runs again when the test ends.
    """
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    yield f"s3://{bucket}/some/where"
    if not storage.server.answers():
        storage.server.start()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server with an empty database; yields the PG* variables of a client."""
    control = installed("pg_ctl", *Path("/usr/lib/postgresql").glob("*/bin"))
    # as root it refuses to run, and pytest's folders let nobody else in
    user = "postgres" if os.getuid() == 0 else None
    owned = {"user": user, "group": user, "extra_groups": []} if user else {}
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user:
        shutil.chown(folder, user, user)
    variables = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(free_port()),
        "PGUSER": "mlflow",
        "PGDATABASE": "postgres",
        "PGPASSWORD": secrets.token_hex(),
    }

    def run(*arguments):
        done = subprocess.run(
            [control, f"--pgdata={folder / 'data'}", "--silent", *arguments],
            **owned,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=(folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            pytest.fail(f"PostgreSQL did not {arguments[0]}:\n{(folder / 'log').read_text()[-3000:]}")

    password = folder / "password"
    password.write_text(variables["PGPASSWORD"])
    if user:
        shutil.chown(password, user, user)
    run("initdb", f"--options=--username=mlflow --auth=scram-sha-256 --pwfile={password} --no-sync")
    settings = f"-h 127.0.0.1 -p {variables['PGPORT']} -k '' -c fsync=off"
    run("start", "--wait", f"--timeout={PATIENCE}", f"--options={settings}")
    yield variables
    run("stop", "--mode=immediate")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def tracking(postgres, storage, tmp_path_factory):
    """MLflow's server with the arguments and variables of its Deployment, and other addresses and secrets."""
    pytest.importorskip("psycopg", reason="psycopg is not installed here: make setup")
    bucket = "mlflow"
    storage.client().create_bucket(Bucket=bucket)
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    admin, user = ("admin", secrets.token_hex()), ("pipeline", secrets.token_hex())
    arguments, variables = deployed(
        PLATFORM / "mlflow.yaml",
        {
            **postgres,
            **storage.environment,
            "ARTIFACTS": f"s3://{bucket}/artifacts",
            "ALLOWED_HOSTS": f"127.0.0.1:{port}",
            "MLFLOW_AUTH_CONFIG_PATH": str(PLATFORM / "basic_auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": admin[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
        },
    )
    arguments = [*arguments, "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    server = Server([sys.executable, "-m", *arguments], url, "/health", folder / "log", variables)
    server.start()
    as_the_readme_says = {"username": user[0], "password": user[1]}
    made = requests.post(f"{url}/api/2.0/mlflow/users/create", json=as_the_readme_says, auth=admin)
    assert made.ok, made.text
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    yield Tracking(server, postgres, storage, bucket, dict(zip(names, (url, *user), strict=True)))
    server.stop()


def deployed(manifest, values):
    """The command and variables of a Deployment's container, with `values` where they name others."""
    deployment = next(yaml.safe_load_all(manifest.read_text()))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]} | values
    missing = [name for name, value in variables.items() if value is None]
    assert not missing, f"{manifest.name}: the tests give no value for {missing}"
    command = [*container["command"], *container["args"]]
    return [re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], part) for part in command], variables


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def installed(program, *folders, by="servers"):
    """The path of a program; the test is skipped where there is none."""
    path = shutil.which(program, path=os.pathsep.join([os.environ["PATH"], *map(str, folders)]))
    if path is None:
        pytest.skip(f"{program} is not installed here; make {by} installs it where it can")
    return path
