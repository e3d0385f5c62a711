"""Where and how tasks run: image, resources, nodes, retries. No result depends on it."""

from collections.abc import Callable
from dataclasses import asdict

from kfp import dsl, kubernetes

from components import price
from components.register import signature
from components.signatures import signing, trust
from components.stages import Task
from pipelines.profile import FIRST_PAUSE_SECONDS, GPU, PAUSE_FACTOR, Pod, Profile
from progan.files import canonical_json

Placer = Callable[[dsl.PipelineTask, Task], None]

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
SHM, SCRATCH = "/dev/shm", "/tmp"


def on_cluster(profile: Profile) -> Placer:
    """Run each task as the profile says."""

    def place(kfp_task: dsl.PipelineTask, task: Task) -> None:
        pod = profile.pod_of(task)
        _set_resources(kfp_task, pod, profile)
        _select_nodes(kfp_task, pod, profile)
        _connect(kfp_task, task, profile)

    return place


def with_image(image: str) -> Placer:
    """Run each task in `image`."""

    def place(kfp_task: dsl.PipelineTask, task: Task) -> None:
        kfp_task.set_container_image(image)

    return place


def in_this_environment(kfp_task: dsl.PipelineTask, task: Task) -> None:
    """Run a task in the Python environment of this process."""


def _set_resources(task: dsl.PipelineTask, pod: Pod, profile: Profile) -> None:
    """Resources, time and retries; and the price of the GPUs, for the history that training writes."""
    task.set_cpu_request(f"{pod.cpu:g}")
    task.set_memory_request(f"{pod.memory_gib:g}Gi").set_memory_limit(f"{pod.memory_gib:g}Gi")
    if pod.gpus:
        task.set_accelerator_type(GPU).set_accelerator_limit(pod.gpus)
        task.set_env_variable("PROGAN_GPUS", str(pod.gpus))
        if pod.gpu_hour_price:
            task.set_env_variable(price.VARIABLE, f"{pod.gpu_hour_price:g} {profile.currency}")
    kubernetes.empty_dir_mount(task, "shm", SHM, medium="Memory", size_limit=f"{pod.shm_gib:g}Gi")
    kubernetes.empty_dir_mount(task, "scratch", SCRATCH, size_limit=f"{pod.ephemeral_gib:g}Gi")
    kubernetes.set_timeout(task, pod.timeout_seconds)
    task.set_retry(
        pod.retries,
        backoff_duration=f"{FIRST_PAUSE_SECONDS}s",
        backoff_factor=PAUSE_FACTOR,
        backoff_max_duration=f"{pod.retry_window_seconds}s",
    )


def _select_nodes(task: dsl.PipelineTask, pod: Pod, profile: Profile) -> None:
    for label, value in profile.node_labels(pod).items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in profile.tolerations(pod):
        kubernetes.add_toleration(
            task, toleration.key, toleration.operator, toleration.value, toleration.effect
        )
    if profile.queue:
        kubernetes.add_pod_label(task, QUEUE_LABEL, profile.queue)


def _connect(kfp_task: dsl.PipelineTask, task: Task, profile: Profile) -> None:
    """Image, user, volumes, secrets, MLflow and whom to trust; the key that signs is for `register` alone."""
    kfp_task.set_container_image(profile.image)
    kfp_task.set_env_variable("MLFLOW_TRACKING_URI", profile.mlflow)
    if profile.signatures:
        kfp_task.set_env_variable(trust.VARIABLE, canonical_json(asdict(profile.signatures)))
    kubernetes.set_security_context(kfp_task, run_as_non_root=True)
    for claim, path in profile.volumes.items():
        kubernetes.mount_pvc(kfp_task, claim, path)
    signs = task.stage == "register"
    if signs:
        kfp_task.set_env_variable(signature.IMAGE, profile.image)
    for secret, variables in profile.secrets.items():
        for variable, key in variables.items():
            if signs or variable not in (signing.KEY, signing.PASSPHRASE):
                kubernetes.use_secret_as_env(kfp_task, secret, {key: variable})
