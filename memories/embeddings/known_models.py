"""Properties of models: width, whether vectors may be truncated, the prefixes used in training, and how similar
unrelated texts are.

Sources: the models' own cards, and OpenAI's "New embedding models and API updates" (January 2024). The similarities of
MiniLM, multilingual-e5-small and hashing were measured: 60 queries with 240 texts of four collections, each with those
of its own collection. Those of other models follow from what their makers say of their range; where nothing is said,
the figures of MiniLM stand.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """One family of models, recognised by a part of its name."""

    part: str
    #: Numbers in a vector of the smallest member; None where sizes differ or nothing is known.
    width: int | None = None
    #: Trained so that the first numbers of a vector are a vector themselves (Matryoshka representation learning).
    supports_truncation: bool = False
    document_prefix: str = ""
    query_prefix: str = ""
    #: Cosine similarity of a query and texts of the same collection that do not answer it: mean and standard deviation.
    noise_mean: float = 0.2
    noise_spread: float = 0.1
    #: Cosine similarity from which a text surely answers a query.
    certain_similarity: float = 1.0
    #: Trained on English only: it finds little else by meaning.
    english_only: bool = False
    #: How clear of noise a hit is at least, by words or by meaning (memories/search/floor.py).
    floor: float = 0.25

    @property
    def has_prefixes(self) -> bool:
        return bool(self.document_prefix or self.query_prefix)


#: The first match counts, so a longer name stands before a shorter one that it contains.
KNOWN_MODELS = (
    KnownModel("all-minilm", 384, english_only=True),
    KnownModel("text-embedding-3-small", 1536, supports_truncation=True),
    KnownModel("text-embedding-3-large", 3072, supports_truncation=True),
    KnownModel("text-embedding-ada-002", 1536, noise_mean=0.72, noise_spread=0.03),
    KnownModel("nomic-embed-text-v1.5", 768, True, "search_document: ", "search_query: ", english_only=True),
    KnownModel("nomic-embed-text-v2", 768, True, "search_document: ", "search_query: "),
    KnownModel("nomic-embed-text", 768, False, "search_document: ", "search_query: ", english_only=True),
    KnownModel("embeddinggemma", 768, True, "title: none | text: ", "task: search result | query: "),
    KnownModel("mxbai-embed-large", 1024, True, "", "Represent this sentence for searching relevant passages: "),
    KnownModel("snowflake-arctic-embed2", 1024, True, "", "query: "),
    KnownModel("snowflake-arctic-embed-l-v2.0", 1024, True, "", "query: "),
    KnownModel("qwen3-embedding", 1024, supports_truncation=True),
    KnownModel("jina-embeddings-v3", 1024, supports_truncation=True),
    KnownModel("bge-m3", 1024),
    KnownModel("bge-large-en", 1024, english_only=True),
    KnownModel("multilingual-e5-large", 1024, False, "passage: ", "query: ", 0.76, 0.025, 0.90),
    KnownModel("multilingual-e5", None, False, "passage: ", "query: ", 0.76, 0.025, 0.90),
    KnownModel("hashing", 768, noise_mean=0.12, noise_spread=0.07),
)


def find_known_model(name: str) -> KnownModel:
    """Look a name up, ignoring owner, tag and file type that a server adds to it."""
    lowered = name.lower()
    return next((known for known in KNOWN_MODELS if known.part in lowered), KnownModel(name))
