"""tf.train.Example, the protocol buffer in TFRecord files, as far as images need it."""

import functools
from math import prod
from typing import Any

import numpy as np

# A map is a repeated message of key and value.
SCHEMA = """
name: "example.proto" package: "tf" syntax: "proto3"
message_type { name: "BytesList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "Int64List" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type { name: "Feature"
  field { name: "bytes_list" number: 1 type: TYPE_MESSAGE type_name: ".tf.BytesList" }
  field { name: "int64_list" number: 3 type: TYPE_MESSAGE type_name: ".tf.Int64List" } }
message_type { name: "Entry"
  field { name: "key" number: 1 type: TYPE_BYTES }
  field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".tf.Feature" } }
message_type { name: "Features"
  field { name: "feature" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".tf.Entry" } }
message_type { name: "Example"
  field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".tf.Features" } }
"""


@functools.cache
def _example_class() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    file = text_format.Parse(SCHEMA, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tf.Example"))


def parse_image(example: bytes) -> np.ndarray:
    """The features `shape` (int64 [C,H,W]) and `data` (bytes) as uint8 [C,H,W].

    Raises ValueError if they are missing, malformed or do not match.
    """
    from google.protobuf.message import DecodeError

    try:
        features = _example_class().FromString(example).features.feature
    except DecodeError:
        raise ValueError("it is no tf.train.Example, or is cut off") from None
    feature = {entry.key: entry.value for entry in features}
    if not {b"shape", b"data"} <= feature.keys():
        raise ValueError("it has no features `shape` and `data`")
    shape, datas = list(feature[b"shape"].int64_list.value), feature[b"data"].bytes_list.value
    if len(shape) != 3 or min(shape) < 1 or [prod(shape)] != [len(data) for data in datas]:
        raise ValueError(f"its data does not fill its shape, {shape}")
    return np.frombuffer(datas[0], np.uint8).reshape(shape)
