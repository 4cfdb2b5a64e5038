"""What counts as a word: punctuation, scripts, compatibility forms, paths; and the operators of a query."""

import unicodedata

import pytest
from django.db import connection

from memories import tasks
from memories.search.query_words import QueryWords, parse_query

pytestmark = pytest.mark.django_db


def list_found(api, query: str, path: str = "/memories/search", **fields: object) -> list[str]:
    response = api.post(path, {"query": query, **fields})
    assert response.status_code == 200, response.content
    return [hit["memory"]["content"] for hit in response.json()["results"]]


def is_found_by_words(api, content: str, query: str, **fields: object) -> bool:
    api.add(content, **fields)
    return content in list_found(api, query, mode="text")


# Punctuation outside ASCII separates words


@pytest.mark.parametrize(
    ("content", "query"),
    [
        ("The code name of the autumn release is “Falcon”.", "Falcon"),
        ("The Globex offer is €27,300 net.", "27,300"),
        ("A delay—two weeks—was agreed.", "two delay"),
        ("¿Qué dijo el harbour?", "que"),
        ("Поезд «Заря» ушёл.", "заря"),
        ("It is Ada’s bicycle.", "Ada"),
        ("It is Ada’s bicycle.", "Ada's"),
        ("• first→second…third", "third second first"),
        ("Kosten: £50 ¥60 °C", "50"),
        ("وصلت السفينة، اليوم؟", "السفينة"),
        ("Ready🚀steady", "steady"),
        ("The order №4711 came", "4711"),
        ("Owl¹ and Dodo⑦", "owl dodo"),
        ("Return type is Result<Osprey2> here", "Osprey2"),
        ("#include <ospreyhdr.h>", "ospreyhdr"),
        ("if (alphax<betax && gammax>deltax)", "gammax"),
        ("<!--Oriole-->", "oriole"),
    ],
)
def test_a_word_beside_any_mark_is_found(api, content, query):
    assert is_found_by_words(api, content, query)


def test_every_punctuation_mark_and_symbol_separates_words():
    characters = map(chr, [*range(0xA0, 0x3100), *range(0xFE00, 0x10000), *range(0x1F300, 0x1FB00)])
    marks = [character for character in characters if unicodedata.category(character)[0] in "PSZ"]
    # What has a compatibility form of letters or digits, such as ℃ and ①, is that form; modifiers are part of a word.
    plain = [mark for mark in marks if not any(map(str.isalnum, unicodedata.normalize("NFKC", mark)))]
    assert len(plain) > 4_000
    assert list_gluing(plain) == ""


def list_gluing(marks: list[str]) -> str:
    """Return the marks between two words that hide the second."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT mark FROM unnest(%s::text[]) AS mark"
            " WHERE NOT memories_search_vector('harbour' || mark || 'master', NULL, '{}') @@ 'master'::tsquery",
            [marks],
        )
        return "".join(mark for (mark,) in cursor.fetchall())


# Letters


@pytest.mark.parametrize(
    ("content", "query"),
    [
        (unicodedata.normalize("NFD", "Café Müller serves Nguyễn Thị Bình"), "Müller Nguyễn"),
        ("Café Müller", unicodedata.normalize("NFD", "Müller")),
        (unicodedata.normalize("NFD", "Đà Nẵng"), "Đà Nẵng"),
        ("José García lives in Orléans", "Jose Garcia Orleans"),
        ("The ﬁnance oﬃce", "finance"),
        ("Part ＡＢＣ１２３", "ABC123"),
        ("The soft\u00adhyphen", "softhyphen"),
        ("The zero\u200bwidth", "zerowidth"),
        ("Buy a wi\u2011fi router", "wi-fi"),
        ("Die Straße ist lang", "strasse"),
        ("Η ΟΔΟΣ", "οδός"),
        ("Iğdır", "ığdır"),
        ("مُحَمَّد", "محمد"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_letter_is_found_in_every_form(api, content, query, swapped):
    assert is_found_by_words(
        api, *((query, content) if swapped and len(query.split()) == len(content.split()) else (content, query))
    )


# Scripts


CUSTOMER = "客户王小明喜欢喝乌龙茶，不喜欢咖啡。"
TANAKA = "来週、田中太郎さんと設計について話します。"
THAI = "ลูกค้าสมชายชอบดื่มกาแฟเย็น"
KOREAN = "배포는 내일 아침에 시작합니다."
MIXED = "用docker里的容器，编号1234。"
EVERY_SCRIPT = [
    CUSTOMER,
    TANAKA,
    THAI,
    KOREAN,
    MIXED,
    "Привет из Москвы",
    "हिन्दी में लिखा है",
    "שלום עולם",
    "مرحبا بالعالم",
]


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("王小明", CUSTOMER),
        ("乌龙茶", CUSTOMER),
        ("茶", CUSTOMER),
        ("王小明喜欢什么？", CUSTOMER),
        ('"乌龙茶"', CUSTOMER),
        ("田中太郎", TANAKA),
        ("太郎さん", TANAKA),
        ("設計", TANAKA),
        ("สมชาย", THAI),
        ("กาแฟ", THAI),
        ("배포", KOREAN),
        ("배포가 언제", KOREAN),
        ("docker", MIXED),
        ("容器", MIXED),
        ("1234", MIXED),
        ("编号1234", MIXED),
        ("москвы", "Привет из Москвы"),
        ("लिखा", "हिन्दी में लिखा है"),
        ("עולם", "שלום עולם"),
        ("بالعالم", "مرحبا بالعالم"),
    ],
)
def test_words_of_every_script_are_found(api, query, content):
    api.post("/memories/bulk", {"memories": [{"content": each} for each in EVERY_SCRIPT]})
    assert list_found(api, query, mode="text")[0] == content


@pytest.mark.parametrize("query", ["明小王", "红茶馆", '"小王明"', "太朗", "พุธนี้"])
def test_other_words_of_the_same_script_are_not_found(api, query):
    api.post("/memories/bulk", {"memories": [{"content": each} for each in EVERY_SCRIPT]})
    assert list_found(api, query, mode="text") == []


def test_a_name_is_first_among_many_of_its_script(api):
    names = [f"{family}{given}{third}" for family in "王李张刘陈" for given in "小国建文" for third in "明华军芳平"]
    rows = [f"{name}去年搬到了上海，编号{1000 + number}。" for number, name in enumerate(names)]
    api.post("/memories/bulk", {"memories": [{"content": row} for row in rows]})
    tasks.embed_due()
    for number in range(0, 100, 9):
        assert list_found(api, names[number])[0] == rows[number]
        assert rows[number] in list_found(api, f"{names[number]}住在哪里？")[:3]
        assert list_found(api, f"编号{1000 + number}", mode="text")[0] == rows[number]


def test_the_largest_text_of_rare_characters_is_stored(api):
    rare = "".join(chr(0x20000 + number % 42_000) for number in range(100_000))
    memory = api.add(rare, data={"text": rare[:16_000]}, summary=rare[:2_000])
    assert list_found(api, rare[37_000:37_004], mode="text") == [rare]
    assert memory["content"] == rare


# Paths and data


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/srv/ops/backup/nightly.md", "nightly.md"),
        ("/srv/ops/backup/nightly.md", "nightly"),
        ("/srv/ops/backup/nightly.md", "/srv/ops/backup/nightly.md"),
        ("/srv/ops/backup/nightly.md", "backup/nightly.md"),
        ("./scripts/migrate_tenants.sh", "migrate tenants"),
        ("../scripts/migrate_tenants.sh", "migrate_tenants.sh"),
        ("~/src/site/main.py", "main.py"),
        ("/dev/sda1", "sda1"),
        ("`/dev/sda1`", "sda1"),
        ("(/dev/sda1)", "dev"),
        ('File "/srv/orders/2024/QX1234.pdf", line 3', "QX1234"),
        (r"C:\Users\ada\notes.txt", "notes.txt"),
        ("a/b/c.py", "c.py"),
        ("https://example.com/docs/setup?page=2", "setup"),
        ("ada@example.com", "ada@example.com"),
        ("ada@example.com", "example.com"),
    ],
)
def test_parts_of_a_path_are_words(api, path, query):
    assert is_found_by_words(api, f"It is described in {path} since May.", query)


@pytest.mark.parametrize("value", ["“Falcon”", "/srv/ops/Falcon", "getFalcon", "王Falcon"])
def test_strings_of_data_have_the_same_words(api, value):
    data = {"a": [{"b": value}], "n": 1, "t": True, "x": None}
    assert is_found_by_words(api, "A release.", "falcon", data=data)


def test_keys_and_numbers_of_data_are_no_words(api):
    assert not is_found_by_words(api, "A release.", "falcon 1234", data={"falcon": 1234})


# Common words


@pytest.mark.parametrize(
    "query",
    [
        "harbour violin",
        "both harbour and violin teacher",
        "violin of the harbour on that day",
        "harbour violin day note",
    ],
)
def test_the_only_memory_with_all_common_words_is_first(api, query):
    rows = [f"note {number}: {'harbour' if number % 2 else 'violin'} day {number}" for number in range(7_000)]
    rows[5_551] = "a violin was left at the harbour"
    for start in range(0, len(rows), 1_000):
        api.post("/memories/bulk", {"memories": [{"content": row} for row in rows[start : start + 1_000]]})
    assert list_found(api, query, mode="text")[0] == rows[5_551]


# Operators

WIPE = "To wipe the build folder run rm -rf build/ and start again."


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/memories/search", {}),
        ("/memories/search", {"mode": "text"}),
        ("/memories/recall", {}),
        ("/search", {}),
        ("/users/ada/retrieve", {}),
        ("/context", {}),
    ],
)
@pytest.mark.parametrize(
    "query", ["how do I wipe the build folder? is rm -rf right?", "wipe -rf", "rm -rf build/", "- wipe\n- build"]
)
def test_an_option_of_a_command_hides_no_memory(api, path, fields, query):
    api.add(WIPE, user_id="ada")
    tasks.embed_due()
    response = api.post(path, {"query": query, **fields}).json()
    hits = response["memories"] if path == "/context" else response["results"]
    assert [hit["memory"]["content"] for hit in hits] == [WIPE]


def test_a_dash_excludes_what_it_stands_before(api):
    api.add(WIPE)
    assert list_found(api, "wipe -folder", mode="text") == []
    assert list_found(api, 'wipe -"build folder"', mode="text") == []
    assert list_found(api, "wipe - folder", mode="text") == [WIPE]
    assert list_found(api, "wipe --folder", mode="text") == [WIPE]
    assert list_found(api, "opening hours - build", mode="text") == [WIPE]


def test_only_the_search_of_memories_excludes(api):
    api.add(WIPE, user_id="ada")
    assert list_found(api, "wipe -folder", "/memories/recall", mode="text") == [WIPE]
    assert list_found(api, "wipe -folder", "/users/ada/retrieve") == [WIPE]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("plain words", QueryWords("plain words")),
        ('"a b" c', QueryWords('"a b" c', '"a b"')),
        ("“a b” c", QueryWords('"a b" c', '"a b"')),
        ('"a" or "b"', QueryWords('"a" or "b"', '"a" or "b"')),
        ('"a b" or c', QueryWords('"a b" or c')),
        ('x -"a b"', QueryWords("x  ", None, ("a b",), (None,))),
        ("x - y -- z well-known", QueryWords("x - y -- z well-known")),
        ('"" x', QueryWords('"" x')),
    ],
)
def test_operators_are_parsed(query, expected):
    assert parse_query(query, operators=True) == expected


def test_plain_text_has_no_operators():
    assert parse_query('say "a b" -c', operators=False) == QueryWords('say "a b" -c')
    assert parse_query('"a b"', operators=False) == QueryWords('"a b"', '"a b"')
