"""A model of NetworkPolicies: which pod may connect to which, as labels and ports decide."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pod:
    """A pod, the labels of its namespace, and the names of its ports."""

    namespace: str
    labels: dict[str, str]
    namespace_labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)


def allowed(policies, source, target, port):
    """Whether `source` may open a connection to `target`: its own policies and the target's must agree."""
    return _one_way(policies, "Egress", source, target, target, port) and _one_way(
        policies, "Ingress", target, source, target, port
    )


def _one_way(policies, direction, subject, peer, target, port):
    applying = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == subject.namespace
        and _selects(policy["spec"]["podSelector"], subject.labels)
        and direction in policy["spec"]["policyTypes"]
    ]
    rules = [rule for policy in applying for rule in policy["spec"].get(direction.lower(), [])]
    peers = "to" if direction == "Egress" else "from"
    return not applying or any(
        _has_port(rule, target, port) and (peers not in rule or _has_peer(rule[peers], subject, peer))
        for rule in rules
    )


def _has_port(rule, target, port):
    ports = [entry["port"] for entry in rule.get("ports", []) if entry.get("protocol", "TCP") == "TCP"]
    return "ports" not in rule or port in [target.ports.get(entry, entry) for entry in ports]


def _has_peer(peers, subject, peer):
    return any(
        (
            _selects(entry["namespaceSelector"], peer.namespace_labels)
            if "namespaceSelector" in entry
            else peer.namespace == subject.namespace
        )
        and _selects(entry.get("podSelector", {}), peer.labels)
        for entry in peers
        if "ipBlock" not in entry
    )


def _selects(selector, labels):
    matches = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "NotIn", "the only one in use"
        matches &= labels.get(expression["key"]) not in expression["values"]
    return matches
