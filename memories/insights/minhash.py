"""Compare texts: normalised digests for the same, MinHash and Jaccard similarity for nearly the same.

Two texts are the same if they are equal without regard to case, white space and punctuation. They are nearly the same
if the Jaccard similarity of their sets of three-character shingles is at least 0.85. MinHash finds the candidates: two
texts of similarity s agree in each of 120 minima with probability s, and share one of 20 bands of 6 minima with
probability 1 − (1 − s⁶)²⁰. At s = 0.85 a pair is missed 8 times in 100,000; at s = 0.5 it is compared 27 times in 100
(Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4).
"""

import hashlib
import re
import unicodedata

import numpy as np

BAND_COUNT, ROWS_PER_BAND = 20, 6
SHINGLE_LENGTH = 3
# Unicode categories that carry no meaning: punctuation, separators, control characters, back-ticks and spacing accents.
# Other symbols stay: x < y and x > y differ.
IGNORED_CATEGORIES = {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Zs", "Zl", "Zp", "Cc", "Cf", "Sk"}
# Marks that change what a text says, and the symbols that stand for them: the minus of a number, "not" in code, C#.
SIGNIFICANT_MARKS = (
    (re.compile(r"(?<![\w-])-(?=\.?\d)"), "\N{MINUS SIGN}"),
    (re.compile(r"!(?==)|(?<![\w!])!(?=\w)"), "\N{NOT SIGN}"),
    (re.compile(r"(?<=\b[cf])#"), "\N{MUSIC SHARP SIGN}"),
)
GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15


class CharacterFold(dict[int, int]):
    """A table for str.translate that replaces characters of IGNORED_CATEGORIES by a space, filled on demand."""

    def __missing__(self, code: int) -> int:
        self[code] = ord(" ") if unicodedata.category(chr(code)) in IGNORED_CATEGORIES else code
        return self[code]


CHARACTER_FOLD = CharacterFold()
# Derived from a digest and not from a random number generator, whose numbers may change with a release: bands are
# stored.
_hash_parameters = np.frombuffer(hashlib.shake_256(b"insights").digest(16 * BAND_COUNT * ROWS_PER_BAND), "<u8").reshape(
    2, BAND_COUNT * ROWS_PER_BAND
)
HASH_FACTORS, HASH_SUMMANDS = _hash_parameters[0] | np.uint64(1), _hash_parameters[1]


def normalise_text(text: str) -> str:
    """Return the text in the form that is compared. A text of nothing but punctuation keeps its punctuation."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    for mark, symbol in SIGNIFICANT_MARKS:
        plain = mark.sub(symbol, plain)
    return " ".join(plain.translate(CHARACTER_FOLD).split()) or " ".join(plain.split())


def digest(plain: str) -> bytes:
    """Return the SHA-256 of a normalised text."""
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()


def compute_shingles(plain: str) -> np.ndarray:
    """Return the distinct shingles of a normalised text, sorted, each as a number: three characters of 21 bits."""
    codes = np.frombuffer(plain.ljust(SHINGLE_LENGTH).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    return np.unique(codes[:-2] << np.uint64(42) | codes[1:-1] << np.uint64(21) | codes[2:])


def jaccard_similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Return |A ∩ B| / |A ∪ B| of two sets of shingles."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def compute_bands(shingles: np.ndarray) -> list[int]:
    """Return the BAND_COUNT MinHash bands of a text's shingles, as signed 64-bit numbers."""
    hashes = splitmix64(shingles)
    minima = np.array([(hashes * factor + add).min() for factor, add in zip(HASH_FACTORS, HASH_SUMMANDS, strict=True)])
    bands = np.arange(BAND_COUNT, dtype=np.uint64)
    for row in minima.reshape(BAND_COUNT, ROWS_PER_BAND).T:
        bands = splitmix64(bands * np.uint64(GOLDEN_RATIO_64) + row)
    return bands.view(np.int64).tolist()


def splitmix64(numbers: np.ndarray) -> np.ndarray:
    """Mix 64-bit numbers so that every bit depends on every bit (the finalizer of SplitMix64; Steele et al., 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
