"""Recognising texts that are not in English, and the recommendation of `doctor` that follows."""

import pytest

from memories.languages import Languages, is_foreign, sample_languages
from memories.models import Memory
from memory_site.operations.health.embedding import check_languages
from memory_site.operations.health.results import HealthStatus
from tests.memories.facts import FACTS, QUESTIONS

GERMAN = "Die Sitzung beginnt um neun, und der Raum im dritten Stock ist nicht geheizt ({number})."
ENGLISH = "The meeting begins at nine, and there is no heating in the room on the third floor ({number})."
CHINESE = "会议九点开始，三楼的房间没有暖气。"
CODE = "for row in rows:\n    total += row.amount * rates[row.currency]\nreturn round(total, 2)"
ENGLISH_ONLY = {
    "default": {"BACKEND": "memories.embeddings.onnx.OnnxEmbedder", "MODEL": "all-MiniLM-L6-v2-int8", "OPTIONS": {}}
}


@pytest.mark.parametrize(
    "text",
    [
        GERMAN,
        CHINESE,
        "Вчера вечером в порту было очень тихо.",
        "وصلت السفينة إلى الميناء في الصباح.",
        "La réunion commence à neuf heures et la salle est au troisième étage.",
        "La reunión empieza a las nueve y la sala está en el tercer piso.",
        "A reunião começa às nove e a sala não está aquecida, mas há uma outra.",
        "De vergadering begint om negen uur en het lokaal is niet verwarmd.",
        "Spotkanie zaczyna się o dziewiątej, a sala nie jest ogrzewana.",
    ],
)
def test_text_in_another_language_is_recognised(text):
    assert is_foreign(text) is True


@pytest.mark.parametrize("text", [ENGLISH, "We met the supplier in São Paulo, and they have a plant in Łódź.", *FACTS])
def test_english_text_is_recognised(text):
    assert is_foreign(text) is not True


@pytest.mark.parametrize("text", [CODE, "ZX-9912", "SELECT id FROM t WHERE a > 3", "12:30 14:45 16:00", "", "Lisboa"])
def test_code_and_names_are_no_language(text):
    assert is_foreign(text) is None


def test_questions_without_latin_letters_are_all_recognised():
    questions = [question for language in ("ru", "zh", "ja", "ar") for question in QUESTIONS[language]]
    assert [question for question in questions if is_foreign(question) is False] == []


@pytest.mark.django_db
def test_latest_texts_are_sampled(api):
    add(api, ENGLISH, 3)
    add(api, GERMAN, 2)
    api.add(CODE)
    assert sample_languages() == Languages(recognised=5, foreign=2)


@pytest.mark.django_db
def test_multilingual_model_is_recommended_for_many_texts_in_other_languages(api, settings):
    settings.EMBEDDINGS = ENGLISH_ONLY
    add(api, ENGLISH, 60)
    add(api, GERMAN, 14)
    assert check_languages() == (HealthStatus.HEALTHY, "The texts fit all-MiniLM-L6-v2-int8, which knows English.")
    api.add(CHINESE)
    assert check_languages() == (
        HealthStatus.HEALTHY,
        "15 of the latest 75 texts are not in English.",
        "EMBEDDER=multilingual in .env, then python manage.py reembed",
    )


@pytest.mark.django_db
def test_nothing_is_recommended_when_the_model_is_not_limited_to_english(api):
    add(api, GERMAN, 20)
    assert Memory.objects.count() == 20
    assert check_languages() == (HealthStatus.HEALTHY, "hashing-1 is not limited to English.")


def add(api, text: str, count: int) -> None:
    memories = [{"content": text.format(number=number)} for number in range(count)]
    assert api.post("/memories/bulk", {"memories": memories}).status_code == 201
