"""The `restricted` Pod Security Standard, as far as its rules can be broken by a pod's manifest."""

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
HOST = ("hostNetwork", "hostPID", "hostIPC")


def violations(pod):
    """What the standard forbids in a pod's spec, in words."""
    context = pod.get("securityContext", {})
    for name in HOST:
        if pod.get(name):
            yield f"{name} is set"
    for volume in pod.get("volumes", []):
        if not volume.keys() - {"name"} <= VOLUMES:
            yield f"volume {volume['name']} is of a forbidden type"
    if context.get("sysctls"):
        yield "sysctls are set"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        for found in _of_container(container.get("securityContext", {}), context):
            yield f"{container['name']}: {found}"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{container['name']}: a port of the host"


def _of_container(own, pods):
    effective = pods | own
    if effective.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if effective.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield "privileged"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "not all capabilities are dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if own.get("procMount", "Default") != "Default":
        yield "procMount is not the default"
