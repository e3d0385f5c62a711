"""Kubernetes' schema, as its Python client carries it: models generated from the API's OpenAPI document."""

import re

from kubernetes import client


def check(resource):
    """ValueError, naming the field, unless `resource` is one that Kubernetes would take.

    Every field must be known, of its type, and present if it is required; the API server's strict
    validation says the same of unknown fields.
    """
    version = resource["apiVersion"].split("/")[-1].capitalize()
    _value(resource, version + resource["kind"], resource["kind"])


def _value(value, kind, where):
    if of := re.fullmatch(r"list\[(.+)\]", kind):
        _require(isinstance(value, list), where, "a list", value)
        return [_value(item, of[1], f"{where}[{number}]") for number, item in enumerate(value)]
    if of := re.fullmatch(r"dict\(str, (.+)\)", kind):
        _require(isinstance(value, dict), where, "a mapping", value)
        return {key: _value(item, of[1], f"{where}.{key}") for key, item in value.items()}
    if kind in PLAIN:
        _require(isinstance(value, PLAIN[kind]), where, kind, value)
        _require(kind == "bool" or not isinstance(value, bool), where, kind, value)
        return value
    return _model(value, getattr(client, kind), where)


PLAIN = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": int | float,
    "object": str | int | dict,
    "datetime": str,
}


def _model(value, model, where):
    _require(isinstance(value, dict), where, "a mapping", value)
    names = {json_name: name for name, json_name in model.attribute_map.items()}
    if unknown := value.keys() - names.keys():
        raise ValueError(f"{where}: unknown: {sorted(unknown)}")
    fields = {
        names[key]: _value(item, model.openapi_types[names[key]], f"{where}.{key}")
        for key, item in value.items()
    }
    try:
        return model(**fields)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _require(condition, where, wanted, found):
    if not condition:
        raise ValueError(f"{where}: {wanted} is wanted, not {found!r}")
