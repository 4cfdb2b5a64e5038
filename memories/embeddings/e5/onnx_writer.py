"""Write ONNX models: the few kinds of protobuf messages that a graph needs, without the library `onnx`.

Field numbers are those of onnx.proto3: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: The operators of onnxruntime beyond the standard.
MICROSOFT = "com.microsoft"
IR_VERSION, STANDARD_VERSION, MICROSOFT_VERSION = 8, 17, 1
FLOAT, UINT8, INT32, INT64 = 1, 2, 6, 7
DATA_TYPES = {np.dtype("f4"): FLOAT, np.dtype("u1"): UINT8, np.dtype("i4"): INT32, np.dtype("i8"): INT64}

Shape = Sequence[int | str]


class GraphWriter:
    """Collects nodes and constants; values are named by strings."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.constants: list[bytes] = []

    def constant(self, values: NDArray) -> str:
        """Add a constant and return its name."""
        name = f"constant{len(self.constants)}"
        dimensions = b"".join(encode_field(1, size) for size in values.shape)
        kind = encode_field(2, DATA_TYPES[values.dtype])
        content = encode_field(8, name) + encode_field(9, np.ascontiguousarray(values).tobytes())
        self.constants.append(encode_field(5, dimensions + kind + content))
        return name

    def node(self, operator: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: float) -> list[str]:
        """Add a node and return the names of its outputs. An empty name leaves an optional input out."""
        names = [f"{operator}{len(self.nodes)}.{at}" for at in range(outputs)]
        self.name_node(operator, inputs, names, domain, attributes)
        return names

    def name_node(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], domain: str, attributes: dict[str, float]
    ) -> None:
        parts = [encode_field(1, name) for name in inputs] + [encode_field(2, name) for name in outputs]
        parts += [encode_field(4, operator), encode_field(7, domain)]
        parts += [encode_field(5, encode_attribute(name, value)) for name, value in attributes.items()]
        self.nodes.append(encode_field(1, b"".join(parts)))

    def build(self, inputs: dict[str, tuple[int, Shape]], output: str, shape: Shape) -> bytes:
        """Return the model. inputs: data type and shape by name; strings in a shape are free dimensions."""
        values = [encode_field(11, encode_value(name, kind, shape)) for name, (kind, shape) in inputs.items()]
        values.append(encode_field(12, encode_value(output, FLOAT, shape)))
        graph = b"".join([*self.nodes, encode_field(2, "graph"), *self.constants, *values])
        versions = {"": STANDARD_VERSION, MICROSOFT: MICROSOFT_VERSION}
        opsets = [encode_field(8, encode_field(1, name) + encode_field(2, number)) for name, number in versions.items()]
        return b"".join([encode_field(1, IR_VERSION), encode_field(7, graph), *opsets])


def encode_field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return encode_varint(number << 3) + encode_varint(value)
    content = value.encode() if isinstance(value, str) else value
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def encode_varint(value: int) -> bytes:
    """Encode a number that is not negative."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def encode_attribute(name: str, value: float) -> bytes:
    if isinstance(value, int):
        return encode_field(1, name) + encode_field(3, value) + encode_field(20, 2)
    return encode_field(1, name) + encode_varint(2 << 3 | 5) + struct.pack("<f", value) + encode_field(20, 1)


def encode_value(name: str, kind: int, shape: Shape) -> bytes:
    dimensions = [encode_field(2 if isinstance(size, str) else 1, size) for size in shape]
    encoded_shape = encode_field(2, b"".join(encode_field(1, dimension) for dimension in dimensions))
    return encode_field(1, name) + encode_field(2, encode_field(1, encode_field(1, kind) + encoded_shape))
