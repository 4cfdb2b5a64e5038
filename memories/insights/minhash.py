"""Which texts are the same, and which nearly the same.

The same: equal without regard to case, white space and punctuation. Nearly the same: a Jaccard similarity of at least
0.85 between the sets of their three-character pieces. Candidates for that are found by MinHash: two texts agree in each
of 120 minima with a probability of their similarity s, and share one of 20 bands of 6 with 1 − (1 − s⁶)²⁰: at 0.85 a
pair is missed 8 times in 100,000, at 0.5 it is looked at 27 times in 100 (Leskovec, Rajaraman, Ullman: Mining of
Massive Datasets, 3.4).
"""

import hashlib
import unicodedata

import numpy as np

NEAR_DUPLICATE_SIMILARITY = 0.85
BAND_COUNT, ROWS_PER_BAND = 20, 6
SHINGLE_LENGTH = 3
# Marks that say nothing by themselves: punctuation, separators, control characters, back-ticks and accents that stand
# alone. Other symbols stay: x < y and x > y are two things.
IGNORED_CATEGORIES = {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Zs", "Zl", "Zp", "Cc", "Cf", "Sk"}
GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15


class CharacterFold(dict):
    """What becomes of a character, for str.translate."""

    def __missing__(self, code: int) -> int:
        self[code] = ord(" ") if unicodedata.category(chr(code)) in IGNORED_CATEGORIES else code
        return self[code]


CHARACTER_FOLD = CharacterFold()
# Written down by a digest, because a library's random numbers may change with its release, and bands are kept.
_hash_parameters = np.frombuffer(hashlib.shake_256(b"insights").digest(16 * BAND_COUNT * ROWS_PER_BAND), "<u8").reshape(
    2, BAND_COUNT * ROWS_PER_BAND
)
HASH_FACTORS, HASH_SUMMANDS = _hash_parameters[0] | np.uint64(1), _hash_parameters[1]


def normalise_text(text: str) -> str:
    """The text as it is compared; of one that is nothing but punctuation, that."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(plain.translate(CHARACTER_FOLD).split()) or " ".join(plain.split())


def digest(plain: str) -> bytes:
    """SHA-256 of a normalised text."""
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()


def compute_shingles(plain: str) -> np.ndarray:
    """The different pieces of a normalised text, each as a number: three characters of 21 bits."""
    codes = np.frombuffer(plain.ljust(SHINGLE_LENGTH).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    return np.unique(codes[:-2] << np.uint64(42) | codes[1:-1] << np.uint64(21) | codes[2:])


def jaccard_similarity(one: np.ndarray, other: np.ndarray) -> float:
    """The Jaccard similarity of two sets of pieces: what they share, of all they have."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def compute_bands(found: np.ndarray) -> list[int]:
    """The bands of a text's pieces, as signed numbers of 64 bits."""
    spread = splitmix64(found)
    minima = np.array([(spread * factor + add).min() for factor, add in zip(HASH_FACTORS, HASH_SUMMANDS, strict=True)])
    joined = np.arange(BAND_COUNT, dtype=np.uint64)
    for row in minima.reshape(BAND_COUNT, ROWS_PER_BAND).T:
        joined = splitmix64(joined * np.uint64(GOLDEN_RATIO_64) + row)
    return joined.view(np.int64).tolist()


def splitmix64(numbers: np.ndarray) -> np.ndarray:
    """Numbers of 64 bits in which every bit depends on every bit (SplitMix64's finish; Steele and others, 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
