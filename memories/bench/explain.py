"""Why a hit stands where it stands: columns that the search statement itself returns, and a sentence made of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from memories.bench.setting import RECALL, Setting
from memories.retrieval.recall import RECALL_FACTORS_SQL, RECALL_RANKING
from memories.search.floor import Floor
from memories.search.fusion import MEANING_PART_SQL
from memories.search.query import PLAIN_RANKING, Ranking

#: Places of a hit among the candidates: by the search alone (in the order of its answer), its words, and its meaning.
FUSED_PLACE_SQL = "row_number() OVER (ORDER BY hits.score DESC NULLS LAST, hits.similarity DESC NULLS LAST, memory.id)"
WORDS_PLACE_SQL = "(SELECT count(*) + 1 FROM text_ranks better WHERE better.text_rank > hits.text_rank)"
MEANING_PLACE_SQL = "(SELECT count(*) + 1 FROM nearest better WHERE better.similarity > hits.similarity)"
#: Smaller parts of a score are rounding.
EPSILON = 1e-6


def build_ranking(setting: Setting, floor: Floor, *, by_meaning: bool) -> Ranking:
    """Return the ranking of the setting with the columns that explain a hit. Its hits and their order are the same."""
    by_words, is_recall = setting.mode != "vector", setting.ranking == RECALL
    ranking = floor.apply(RECALL_RANKING if is_recall else PLAIN_RANKING, by_words=by_words)
    columns = {**ranking.columns, "fused": "hits.score AS fused", "fused_place": FUSED_PLACE_SQL}
    if by_words:
        columns |= {"lead": "hits.lead", "words_place": WORDS_PLACE_SQL}
        columns["meaning_part"] = MEANING_PART_SQL.format(lead="hits.lead")
    if by_meaning:
        columns["meaning_place"] = MEANING_PLACE_SQL
    if is_recall:
        columns |= {f"factor_{name}": sql for name, sql in RECALL_FACTORS_SQL.items()}
    if floor.level:
        columns |= {"share": "coverage.share", "clear": "significance.clear"}
    return replace(ranking, columns=columns)


def keep_all(ranking: Ranking) -> Ranking:
    """Return the ranking without its floor, with a column that says who stands above it."""
    columns = {**ranking.columns, "is_above_floor": f"({ranking.condition})"}
    return replace(ranking, condition="true", columns=columns)


@dataclass(frozen=True)
class ExplainedHit:
    """A hit as `find_memories` returns it with the columns of `build_ranking`, at a place of the answer from 1."""

    place: int
    hit: dict[str, Any]

    @property
    def memory(self) -> dict[str, Any]:
        return self.hit["memory"]

    @property
    def score(self) -> float:
        return self.hit["score"]

    @cached_property
    def parts(self) -> dict[str, float]:
        """What words, meaning and a name add to the exponent of the fused score (memories/search/fusion.py)."""
        if "meaning_part" not in self.hit:
            return {}
        words, meaning = self.hit["text_rank"] or 0, self.hit["meaning_part"] or 0
        exponent = -math.log(max(1 - self.hit["fused"], 1e-16))
        parts = {"words": words, "meaning": meaning, "name": exponent - words - meaning}
        return {name: part for name, part in parts.items() if part > EPSILON}

    @cached_property
    def factors(self) -> dict[str, float]:
        """What recall multiplies the fused score by."""
        return {name: float(self.hit[f"factor_{name}"]) for name in RECALL_FACTORS_SQL if f"factor_{name}" in self.hit}

    def explain(self, above: "ExplainedHit | None") -> str:
        """Return why it stands where it stands, compared with the hit above it."""
        return " ".join([*self._explain_arms(), *self._explain_factors(), *self._explain_distance(above)])

    def _explain_arms(self) -> Iterator[str]:
        arms = []
        if self.hit["text_rank"] is not None and "words_place" in self.hit:
            arms.append(f"its words put it in place {self.hit['words_place']}")
        if self.hit["similarity"] is not None and "meaning_place" in self.hit:
            arms.append(f"its meaning in place {self.hit['meaning_place']}")
        if arms:
            text = " and ".join(arms)
            yield f"{text[0].upper()}{text[1:]}."
        if "name" in self.parts:
            yield "It contains a word that names what is sought."

    def _explain_factors(self) -> Iterator[str]:
        if self.factors:
            least = min(self.factors, key=lambda name: self.factors[name])
            product = math.prod(self.factors.values())
            yield f"Recall multiplies by {product:.2f}, least for its {least} ({self.factors[least]:.2f})"
            was = self.hit["fused_place"]
            yield "and leaves its place." if was == self.place else f"and moves it from place {was} to {self.place}."

    def _explain_distance(self, above: "ExplainedHit | None") -> Iterator[str]:
        if above is None:
            return
        if above.score - self.score < EPSILON:
            yield "It ties with the one above; then the higher similarity and the older id decide."
            return
        name, mine, theirs = find_largest_loss(self, above)
        yield f"Behind the one above mostly by its {name}: {mine:.3f} to {theirs:.3f}."


def find_largest_loss(lower: ExplainedHit, upper: ExplainedHit) -> tuple[str, float, float]:
    """Return the name and both values of what the lower hit loses most by. Factors compare by their ratio."""
    losses = {
        name: math.log(max(upper.factors[name], EPSILON) / max(value, EPSILON)) for name, value in lower.factors.items()
    }
    fused = math.log(max(upper.hit["fused"], EPSILON) / max(lower.hit["fused"], EPSILON))
    name = max(losses, key=lambda each: losses[each], default="")
    if name and losses[name] > fused:
        return name, lower.factors[name], upper.factors[name]
    names = {*lower.parts, *upper.parts}
    if not names:
        return "similarity", lower.hit["fused"], upper.hit["fused"]
    name = max(sorted(names), key=lambda each: upper.parts.get(each, 0) - lower.parts.get(each, 0))
    return name, lower.parts.get(name, 0), upper.parts.get(name, 0)
