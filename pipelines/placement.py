"""Put tasks where the cluster profile says: image, resources, nodes, retries. No result depends on it."""

from collections.abc import Callable

from kfp import dsl, kubernetes

from components import price
from components.stages import Task
from pipelines.profile import FIRST_PAUSE_SECONDS, PAUSE_FACTOR, Pod, Profile

Placer = Callable[[dsl.PipelineTask, Task], None]

GPU = "nvidia.com/gpu"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
SHM, SCRATCH = "/dev/shm", "/tmp"


def on_cluster(profile: Profile) -> Placer:
    """Places a task as `profile` says."""

    def place(made: dsl.PipelineTask, task: Task) -> None:
        pod = profile.pod_of(task)
        _give(made, pod)
        _tell_price(made, pod, profile)
        _choose_nodes(made, pod, profile)
        _connect(made, profile)

    return place


def with_image(image: str) -> Placer:
    """Runs a task in `image`, wherever that is."""

    def place(made: dsl.PipelineTask, task: Task) -> None:
        made.set_container_image(image)

    return place


def as_it_is(made: dsl.PipelineTask, task: Task) -> None:
    """Runs a task in this environment."""


def _give(task: dsl.PipelineTask, pod: Pod) -> None:
    """Resources, time and retries."""
    task.set_cpu_request(f"{pod.cpu:g}")
    task.set_memory_request(f"{pod.memory_gib:g}Gi").set_memory_limit(f"{pod.memory_gib:g}Gi")
    if pod.gpus:
        task.set_accelerator_type(GPU).set_accelerator_limit(pod.gpus)
        task.set_env_variable("PROGAN_GPUS", str(pod.gpus))
    kubernetes.empty_dir_mount(task, "shm", SHM, medium="Memory", size_limit=f"{pod.shm_gib:g}Gi")
    kubernetes.empty_dir_mount(task, "scratch", SCRATCH, size_limit=f"{pod.ephemeral_gib:g}Gi")
    kubernetes.set_timeout(task, pod.timeout_seconds)
    task.set_retry(
        pod.retries,
        backoff_duration=f"{FIRST_PAUSE_SECONDS}s",
        backoff_factor=PAUSE_FACTOR,
        backoff_max_duration=f"{pod.retry_window_seconds}s",
    )


def _tell_price(task: dsl.PipelineTask, pod: Pod, profile: Profile) -> None:
    """What its GPUs cost, for the history that training writes."""
    if pod.gpus and pod.gpu_hour_price:
        task.set_env_variable(price.VARIABLE, f"{pod.gpu_hour_price:g} {profile.currency}")


def _choose_nodes(task: dsl.PipelineTask, pod: Pod, profile: Profile) -> None:
    for label, value in profile.node_labels(pod).items():
        kubernetes.add_node_selector(task, label, value)
    for each in profile.tolerations(pod):
        kubernetes.add_toleration(task, each.key, each.operator, each.value, each.effect)
    if profile.queue:
        kubernetes.add_pod_label(task, QUEUE_LABEL, profile.queue)


def _connect(task: dsl.PipelineTask, profile: Profile) -> None:
    """Image, identity, volumes, secrets and MLflow."""
    task.set_container_image(profile.image)
    task.set_env_variable("MLFLOW_TRACKING_URI", profile.mlflow)
    kubernetes.set_security_context(task, run_as_non_root=True)
    for claim, path in profile.volumes.items():
        kubernetes.mount_pvc(task, claim, path)
    for secret, variables in profile.secrets.items():
        for variable, key in variables.items():
            kubernetes.use_secret_as_env(task, secret, {key: variable})
