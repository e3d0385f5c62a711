"""Mutations of bytes and of values, as hypothesis draws them."""

import copy
import json
import math

import yaml
from hypothesis import strategies as st

JUNK = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            -1,
            0,
            10**30,
            1e308,
            math.inf,
            math.nan,
            "",
            "../x",
            "\0",
            "ä\ud800",
            [],
            {},
            [None],
            {"x": {}},
        ]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
)


@st.composite
def mutated_bytes(draw, content):
    """`content` with a bit flipped, cut off, or with a piece taken out, doubled or put in."""
    start = draw(st.integers(0, max(len(content) - 1, 0)))
    end = draw(st.integers(start, min(len(content), start + 600)))
    return draw(
        st.sampled_from(
            [
                content[:start]
                + bytes([content[start] ^ 1 << draw(st.integers(0, 7))])
                + content[start + 1 :],
                content[:start],
                content[:start] + content[end:],
                content[:end] + content[start:],
                content[:start] + draw(st.binary(max_size=8)) + content[start:],
            ]
        )
    )


@st.composite
def mutated_value(draw, value):
    """`value` with one of the values in it replaced, or a key renamed."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 5)):
        result = copy.copy(value)
        key = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        if isinstance(value, dict) and not draw(st.integers(0, 5)):
            result[draw(st.text(max_size=3))] = result.pop(key)
        else:
            result[key] = draw(mutated_value(value[key]))
        return result
    return draw(JUNK)


def as_json(value):
    return json.dumps(value).encode(errors="surrogatepass")


def as_yaml(value):
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).encode(errors="surrogatepass")
