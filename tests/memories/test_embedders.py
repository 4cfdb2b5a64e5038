"""What every embedder guarantees, and the two that need no server."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from memories.embeddings import EmbedderUnavailable, TextRefused, get_embedder, onnx_files
from memories.embeddings.base import Embedder
from memories.embeddings.hashing import HashingEmbedder
from memories.embeddings.known_models import find_known_model
from memories.embeddings.network import pack_windows, split_into_windows
from memories.embeddings.onnx import OnnxEmbedder
from memories.embeddings.onnx_files import BUNDLED_MODEL, find_bundled_files
from tests.embedders import create_multilingual

FILLER = "The committee met on Tuesday and went through the budget, the roof repairs and the summer fair. "
NEEDLE = "The password of the coffee machine is written under the blue kettle."
TEXTS = [
    "A man is playing a guitar.",
    "An error was raised while the database migration ran: duplicate key value violates unique constraint.",
    FILLER * 8,
    "Naïve café, 日本語のテキスト, ☕ and a ligature ﬁ.",
    FILLER * 40 + NEEDLE,
    "def embed(self, texts): return [self.one(text) for text in texts]",
    "x",
]


@pytest.fixture(scope="module")
def onnx() -> OnnxEmbedder:
    return OnnxEmbedder(BUNDLED_MODEL)


@pytest.fixture(scope="module")
def multilingual() -> Embedder:
    return create_multilingual()


@pytest.fixture(params=["hashing", "onnx", "multilingual"])
def embedder(request) -> Embedder:
    return HashingEmbedder("hashing-1") if request.param == "hashing" else request.getfixturevalue(request.param)


@pytest.fixture
def own_model(tmp_path):
    """A directory with a model as it comes from a hub, and settings as given."""
    files = find_bundled_files()
    shutil.copy(files.weights, tmp_path / "model.onnx")
    shutil.copy(files.tokenizer, tmp_path / "tokenizer.json")

    def write(**settings: object):
        for name, content in settings.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.with_suffix(".json").write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path

    return write


# What every embedder promises


def test_vectors_have_the_width_of_the_column_and_unit_length(embedder):
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 768)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_text_has_the_same_vector_alone_and_among_others(embedder):
    together = embedder.embed(TEXTS)
    alone = [embedder.embed([text])[0] for text in TEXTS]
    assert all(one @ other > 0.9999 for one, other in zip(together, alone, strict=True))


def test_the_order_of_the_texts_is_kept(embedder):
    forwards, backwards = embedder.embed(TEXTS), embedder.embed(TEXTS[::-1])
    assert np.allclose(forwards, backwards[::-1], atol=1e-5)


def test_no_texts_give_no_vectors(embedder):
    assert embedder.embed([]).shape == (0, 768)
    assert embedder.embed_each([]) == []


@pytest.mark.parametrize("blank", ["", " \n\t", "\u2003"])
def test_a_blank_text_is_refused_and_its_neighbours_are_not(embedder, blank):
    first, refused, last = embedder.embed_each(["a", blank, "b"])
    assert isinstance(refused, TextRefused)
    assert refused.index == 1
    assert first.shape == last.shape == (768,)
    with pytest.raises(TextRefused):
        embedder.embed_query(blank)


def test_threads_get_the_vectors_they_asked_for(embedder):
    expected = embedder.embed(TEXTS)
    with ThreadPoolExecutor(6) as pool:
        for vectors in pool.map(lambda _: embedder.embed(TEXTS), range(6)):
            assert np.allclose(vectors, expected, atol=1e-5)


def test_a_hundred_thousand_characters_are_embedded(embedder):
    [vector] = embedder.embed([(FILLER * 1100)[:100_000]])
    assert np.isclose(np.linalg.norm(vector), 1)


def test_working_embedder_passes_its_checks(embedder):
    assert embedder.check() == []
    embedder.ping()


def test_unknown_option_is_an_error():
    with pytest.raises(TypeError, match="colour"):
        HashingEmbedder("hashing-1", colour="blue")


def test_model_names_match_in_any_spelling():
    names = ["nomic-embed-text:latest", "nomic-ai/nomic-embed-text-v1.5", "text-embedding-nomic-embed-text-v1.5@q8_0"]
    assert {find_known_model(name).query_prefix for name in names} == {"search_query: "}
    assert not find_known_model("all-minilm").has_prefixes


# Hashing


def test_hashing_vectors_are_stable():
    """These numbers belong to the model: when they change, its name must change too."""
    vector = HashingEmbedder("hashing-1").embed(["The quick brown fox jumps over the lazy dog"])[0]
    golden = {653: 0.4109, 303: -0.40705, 456: -0.26143, 139: -0.24268, 285: -0.24268, 294: 0.24268}
    assert {at: round(float(vector[at]), 5) for at in golden} == golden
    assert np.abs(np.delete(vector, list(golden))).max() < 0.2427


def test_hashing_vectors_are_equal_in_every_process(settings):
    program = (
        "from memories.embeddings.hashing import HashingEmbedder;"
        "print(HashingEmbedder('hashing-1').embed(['some words'])[0].tobytes().hex())"
    )
    command = [sys.executable, "-c", program]
    seen = {subprocess.check_output(command, cwd=settings.BASE_DIR, text=True, timeout=600).strip() for _ in range(2)}
    assert seen == {HashingEmbedder("hashing-1").embed(["some words"])[0].tobytes().hex()}


def test_hashing_vectors_of_shared_words_are_similar():
    question, near, far = HashingEmbedder("hashing-1").embed(
        ["where is the invoice", "The invoice lies in the drawer", "Guitars need new strings"]
    )
    assert question @ near > question @ far + 0.2


@pytest.mark.parametrize("text", ["?!", "…", "🙂", "\u200b", "-"])
def test_hashing_vector_is_never_zero(text):
    assert np.isclose(np.linalg.norm(HashingEmbedder("hashing-1").embed([text])[0]), 1)


# The model in this process


@pytest.mark.parametrize(
    ("one", "like_it", "unlike_it"),
    [
        ("A man is playing a guitar.", "Someone strums an acoustic instrument.", "The stock market fell today."),
        ("How do I reset my password?", "Steps to recover access to your account", "The recipe needs two eggs."),
        ("The server ran out of memory", "OOM killer ended the process", "Our hotel is near the beach"),
    ],
)
def test_sentences_of_similar_meaning_are_similar(onnx, one, like_it, unlike_it):
    vectors = onnx.embed([one, like_it, unlike_it])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.15


def test_the_last_sentence_of_a_long_text_is_found(onnx):
    question = onnx.embed_query("Where is the password of the coffee machine?")
    with_it, without_it = onnx.embed([FILLER * 40 + NEEDLE, FILLER * 41])
    assert len(onnx.network.windows(FILLER * 40 + NEEDLE)) > 2
    assert question @ with_it > question @ without_it + 0.05


def test_text_without_tokens_is_refused(onnx):
    refused, vector = onnx.embed_each(["\u200b\u200b", "something"])
    assert isinstance(refused, TextRefused)
    assert vector.shape == (768,)


def test_model_is_loaded_once_by_concurrent_threads():
    embedder, networks = OnnxEmbedder(BUNDLED_MODEL), []
    threads = [threading.Thread(target=lambda: networks.append(embedder.network)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(networks) == 4
    assert len(set(map(id, networks))) == 1


def test_model_is_loaded_with_the_first_text():
    embedder = OnnxEmbedder(BUNDLED_MODEL)
    assert embedder.check() == []
    assert embedder.model == BUNDLED_MODEL
    assert not embedder.is_loaded


@pytest.mark.parametrize("count", [1, 253, 254, 255, 476, 477, 1000, 12_345])
def test_windows_overlap_leave_nothing_out_and_are_of_one_length(count):
    tokens = list(range(count))
    windows = split_into_windows(tokens, 254)
    assert max(map(len, windows)) <= 254
    assert sorted({token for window in windows for token in window}) == tokens
    for window, following in pairwise(windows):
        assert len(set(window) & set(following)) >= 32
    assert max(map(len, windows)) - min(map(len, windows)) <= len(windows)


def test_batches_stay_within_the_token_budget():
    windows = [(at, [0] * length) for at, length in enumerate([256, 3, 100, 20, 120, 5, 256, 11])]
    batches = list(pack_windows(windows))
    assert sorted(at for batch in batches for at, _ in batch) == list(range(8))
    assert all(len(batch) * max(len(ids) for _, ids in batch) <= 256 for batch in batches)


def test_bundled_model_has_one_name():
    assert OnnxEmbedder("nomic-embed-text").check() == [
        "Without a directory the only model is all-MiniLM-L6-v2-int8, not nomic-embed-text."
    ]


def test_other_files_are_not_used_under_the_bundled_name(monkeypatch):
    monkeypatch.setattr(onnx_files, "BUNDLED_CHECKSUMS", ("0" * 64, onnx_files.BUNDLED_CHECKSUMS[1]))
    with pytest.raises(EmbedderUnavailable, match="not those of this version"):
        OnnxEmbedder(BUNDLED_MODEL).ping()


# A model of one's own


def test_custom_model_gives_the_same_vectors_under_its_own_name(onnx, own_model):
    own = OnnxEmbedder("mine", directory=own_model(sentence_bert_config={"max_seq_length": 256}))
    assert own.check() == []
    assert own.model.startswith("mine@")
    assert np.allclose(own.embed(TEXTS), onnx.embed(TEXTS), atol=1e-5)


def test_other_pooling_makes_another_model_name(own_model):
    identities = [OnnxEmbedder("mine", directory=own_model()).model]
    identities += [OnnxEmbedder("mine", directory=own_model(sentence_bert_config={"max_seq_length": 128})).model]
    identities += [OnnxEmbedder("mine", directory=own_model(**{"1_Pooling__config": CLS_POOLING})).model]
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    identities += [OnnxEmbedder("mine", directory=own_model(config_sentence_transformers=prompts)).model]
    assert len(set(identities)) == 4


CLS_POOLING = {"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


def test_the_window_and_the_pooling_are_read_from_beside_the_model(own_model):
    directory = own_model(config={"max_position_embeddings": 128}, **{"1_Pooling__config": CLS_POOLING})
    own = OnnxEmbedder("mine", directory=directory)
    assert (own.files.window, own.files.pooling) == (128, "cls")
    assert max(map(len, own.network.windows(FILLER * 20))) <= 128
    assert own.embed(TEXTS).shape == (len(TEXTS), 768)


def test_without_rules_the_mean_over_512_tokens_is_taken(own_model):
    files = OnnxEmbedder("mine", directory=own_model()).files
    assert (files.window, files.pooling, files.query_prefix) == (512, "mean", "")


def test_documents_and_questions_get_the_prefixes_of_their_model(own_model):
    own = OnnxEmbedder("nomic-embed-text-v1.5", directory=own_model())
    plain = OnnxEmbedder("mine", directory=own_model())
    assert own.embed(["tea"])[0] @ plain.embed(["search_document: tea"])[0] > 0.9999
    assert own.embed_query("tea") @ plain.embed_query("search_query: tea") > 0.9999
    assert own.embed_query("tea") @ own.embed(["tea"])[0] < 0.999


def test_check_reports_a_directory_without_a_model(tmp_path):
    own = OnnxEmbedder("mine", directory=tmp_path)
    assert own.check() == [f"{tmp_path} has no model.onnx.", f"{tmp_path} has no tokenizer.json."]
    for call in (own.ping, lambda: own.model, lambda: own.embed(["a"])):
        with pytest.raises(EmbedderUnavailable):
            call()


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ({"config": {"hidden_size": 1024}}, "1024"),
        ({"config": "{not json"}, "cannot be read"),
        ({"config": []}, "no settings"),
        ({"sentence_bert_config": {"max_seq_length": 8}}, "8 tokens"),
        ({"1_Pooling__config": {"pooling_mode_lasttoken": True}}, "lasttoken"),
        ({"2_Dense__config": {"in_features": 384}}, "dense layer"),
    ],
)
def test_check_reports_an_unusable_model(own_model, rules, word):
    [problem] = OnnxEmbedder("mine", directory=own_model(**rules)).check()
    assert word in problem


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_corrupt_model_file_is_an_outage(own_model, file):
    directory = own_model()
    (directory / file).write_bytes(b"nothing of the kind")
    with pytest.raises(EmbedderUnavailable, match="cannot be loaded"):
        OnnxEmbedder("mine", directory=directory).ping()


# The configured embedder


def build_settings(backend: str, model: str = "hashing-1", **options: object) -> dict:
    return {"BACKEND": f"memories.embeddings.{backend}", "MODEL": model, "OPTIONS": options}


def test_the_configured_embedder_is_made_once(settings):
    settings.EMBEDDINGS = {"default": build_settings("hashing.HashingEmbedder")}
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: get_embedder(), range(32)))
    assert isinstance(made[0], HashingEmbedder)
    assert len(set(map(id, made))) == 1


def test_other_settings_make_another_embedder(settings):
    settings.EMBEDDINGS = {
        "default": build_settings("hashing.HashingEmbedder"),
        "other": build_settings("onnx.OnnxEmbedder"),
    }
    first = get_embedder()
    assert isinstance(get_embedder("other"), OnnxEmbedder)
    settings.EMBEDDINGS = {"default": build_settings("hashing.HashingEmbedder", "hashing-2")}
    assert get_embedder() is not first
    assert get_embedder().model == "hashing-2"


def test_invalid_configuration_is_reported(settings):
    settings.EMBEDDINGS = {
        "nowhere": build_settings("nowhere.NoEmbedder"),
        "option": build_settings("hashing.HashingEmbedder", colour="blue"),
        "bare": {"MODEL": "m"},
    }
    for alias, word in [("nowhere", "nowhere"), ("option", "colour"), ("bare", "BACKEND"), ("missing", "missing")]:
        with pytest.raises(ImproperlyConfigured, match=word):
            get_embedder(alias)


FORKING_SCRIPT = """
import os
from django.conf import settings
settings.configure(EMBEDDINGS={"default": {"BACKEND": "memories.embeddings.onnx.OnnxEmbedder", "MODEL": "%s"}})
from memories.embeddings import get_embedder
parents = get_embedder()
parents.embed(["a long text of many words " * 60] * 4)
child = os.fork()
if not child:
    ours = get_embedder()
    os._exit(0 if ours is not parents and ours.embed(["another text " * 200] * 4).shape == (4, 768) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_forked_worker_creates_its_own_embedder(settings):
    command = [sys.executable, "-W", "ignore", "-c", FORKING_SCRIPT % BUNDLED_MODEL]
    assert subprocess.run(command, cwd=settings.BASE_DIR, timeout=600).returncode == 0
