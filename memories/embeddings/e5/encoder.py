"""The encoder of multilingual-e5-small as an ONNX graph: twelve layers of attention and two dense ones.

The matrices stay in 4 bits, exactly as in the file. What they are multiplied with is rounded to 8 bits, 32 numbers at a
time, so that a text has the same vector whatever other texts are in its batch. Rounding matrices and whole batches to
8 bits is twice as fast, but moves vectors to a cosine of 0.996, and differently in each batch.
"""

import numpy as np

from .onnx_writer import FLOAT, INT32, MICROSOFT, GraphWriter
from .weights import BLOCK_SIZE, E5Weights, unpack_blocks

#: Inputs of the graph, and how much onnxruntime may round: 4 stands for 8 bits.
EMBEDDINGS, MASK = "embeddings", "mask"
EIGHT_BITS = 4


def build_encoder(weights: E5Weights) -> bytes:
    """Return the model. It reads token embeddings and a mask (1 for a token), and returns the tokens' last states."""
    builder = EncoderBuilder(weights)
    states = builder.normalize("LayerNormalization", "emb.ln", EMBEDDINGS)
    for layer in range(weights.layers):
        states = builder.add_layer(f"l{layer}", states)
    shape = ("texts", "tokens", weights.width)
    return builder.graph.build({EMBEDDINGS: (FLOAT, shape), MASK: (INT32, shape[:2])}, states, shape)


class EncoderBuilder:
    """Adds the parts of the encoder to a graph. Methods take and return names of values."""

    def __init__(self, weights: E5Weights) -> None:
        self.weights, self.graph = weights, GraphWriter()
        self.thirds = self.graph.constant(np.full(3, weights.width, np.int64))

    def add_layer(self, layer: str, states: str) -> str:
        attention = self.multiply(self.attend(layer, states), f"{layer}.ao")
        states = self.normalize("SkipLayerNormalization", f"{layer}.aln", states, attention)
        [inner] = self.graph.node("Gelu", self.multiply(states, f"{layer}.fi"), domain=MICROSOFT)
        return self.normalize("SkipLayerNormalization", f"{layer}.oln", states, self.multiply(inner, f"{layer}.fo"))

    def attend(self, layer: str, states: str) -> str:
        joined = self.multiply(states, *(f"{layer}.{part}" for part in "qkv"))
        parts = self.graph.node("Split", joined, self.thirds, outputs=3, axis=2)
        heads = {"domain": MICROSOFT, "num_heads": self.weights.heads}
        return self.graph.node("MultiHeadAttention", *parts, "", MASK, **heads)[0]

    def multiply(self, states: str, *names: str) -> str:
        """Multiply with matrices side by side, and add their biases."""
        blocks = np.concatenate([self.weights.blocks(f"{name}.w") for name in names])
        bias = np.concatenate([self.weights.floats(f"{name}.b") for name in names])
        numbers = unpack_blocks(blocks)
        packed = numbers[..., 0::2] | numbers[..., 1::2] << 4
        scales = blocks["scale"].astype(np.float32).ravel()
        constants = [self.graph.constant(values) for values in (packed, scales)]
        sizes = {"K": blocks.shape[1] * BLOCK_SIZE, "N": len(blocks), "block_size": BLOCK_SIZE}
        return self.graph.node(
            "MatMulNBits", states, *constants, "", "", self.graph.constant(bias),
            domain=MICROSOFT, bits=4, accuracy_level=EIGHT_BITS, **sizes,
        )[0]  # fmt: skip

    def normalize(self, operator: str, name: str, *states: str) -> str:
        """Add the states, if there are two, and normalise the sum."""
        constants = [self.graph.constant(self.weights.floats(f"{name}.{part}")) for part in "wb"]
        domain = MICROSOFT if operator == "SkipLayerNormalization" else ""
        return self.graph.node(operator, *states, *constants, domain=domain, epsilon=self.weights.epsilon)[0]
