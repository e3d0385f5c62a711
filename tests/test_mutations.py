"""Files that were changed in any way are refused in one line, or read: no traceback, hang or silent loss.

`make test` tries some mutations of each kind of file, always the same ones; `make test-slow` thousands.
"""

import json
from contextlib import suppress

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.identity import state_of
from progan import config, presets
from progan.cost import iteration_flops
from progan.errors import InputError
from progan.memory import checkpoint_bytes
from tests.files_of_every_kind import FILES, SEALED, VALUES, WHOLE
from tests.mutations import as_json, as_yaml, mutated_bytes, mutated_value

QUICK = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LONG = settings(QUICK, max_examples=2000, derandomize=False)


def accepted(read, file, content):
    """What `read` makes of the file with this content; None if it refuses it as it should."""
    file.write_bytes(content)
    try:
        return read(file)
    except InputError:
        return None


@pytest.mark.parametrize("limits", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)], ids=["few", "many"])
@pytest.mark.parametrize("name", FILES)
def test_any_bytes(tmp_path, name, limits):
    write, read = FILES[name]
    file = write(tmp_path)
    content, original = file.read_bytes(), read(file)

    @limits
    @given(mutated_bytes(content))
    def refused_or_read(mutated):
        value = accepted(read, file, mutated)
        if name in SEALED + WHOLE and value is not None:
            assert value == original

    refused_or_read()


@pytest.mark.parametrize("limits", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)], ids=["few", "many"])
@pytest.mark.parametrize("name", VALUES)
def test_any_values(tmp_path, name, limits):
    write, read, dump = VALUES[name]
    file = write(tmp_path)
    load = json.loads if dump is as_json else yaml.safe_load
    values, original = load(file.read_bytes()), read(file)
    assert accepted(read, file, dump(values)) == original

    @limits
    @given(mutated_value(values))
    def refused_or_read(mutated):
        value = accepted(read, file, dump(mutated))
        if name in SEALED and value is not None:
            assert value == original

    refused_or_read()


@pytest.mark.parametrize("limits", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)], ids=["few", "many"])
@pytest.mark.parametrize("preset", ["toy-stylegan2", "toy-biggan"])
def test_any_parameters_of_networks_and_training(tmp_path, preset, limits):
    """Those that are accepted have an identity, and networks whose size and work can be counted."""
    values = presets.params(preset)
    values["training"] |= {"augment": ["color", "cutout"], "precision": "tf32"}
    sections = [values[name] for name in ("network", "training")]
    others = st.sampled_from(["progan", "stylegan", "stylegan2", "biggan"])
    networks = st.one_of(
        mutated_value(sections[0]), others.map(lambda name: sections[0] | {"architecture": name})
    )

    @limits
    @given(
        st.one_of(
            networks.map(lambda network: values | {"network": network}),
            mutated_value(sections[1]).map(lambda training: values | {"training": training}),
        )
    )
    def refused_or_counted(mutated):
        (tmp_path / "params.yaml").write_bytes(as_yaml(mutated))
        try:
            accepted = config.load(tmp_path / "params.yaml")
        except InputError:
            return
        assert config.from_text(config.to_text(accepted)) == accepted
        state_of(accepted)
        key = accepted.last_phase
        iteration_flops(accepted.network, accepted.training, accepted.phase(key).resolution)
        checkpoint_bytes(accepted, key)

    refused_or_counted()


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_such_file_at_all(tmp_path, name):
    write, read = FILES[name]
    file = write(tmp_path)
    for content in b"", b"[" * 30_000, b'{"a":' * 30_000, b"\xff\xfe", b"9" * 6000:
        accepted(read, file, content)
    file.unlink()
    file.mkdir()
    with suppress(InputError):
        read(file)
