"""No text that a search accepts makes a search, a command or a page of the console fail."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memories import tasks

pytestmark = pytest.mark.django_db
EVERY_SEARCH = (
    ("/memories/search", {"mode": "hybrid"}),
    ("/memories/search", {"mode": "text"}),
    ("/memories/search", {"mode": "vector"}),
    ("/memories/recall", {}),
    ("/search", {}),
    ("/knowledge/query", {}),
    ("/users/ada/retrieve", {}),
    ("/context", {"user_id": "ada"}),
    ("/insights/search", {}),
    ("/projects/search", {"project": "shop"}),
)
EVERY_PAGE = (
    ("/admin/memories/memory/", "q"),
    ("/admin/insights/insight/", "q"),
    ("/admin/search/", "s"),
)

CORPUS = {
    "ruler of dashes": f"What does this log mean?\n{'-' * 40}\nERROR timeout",
    "table of three columns": "\n".join(["| name | port | note |", f"|{('-' * 11 + '|') * 3}", "| web | 80 | - |"]),
    "table of dashes alone": "|-|-|-|-|-|-|-|-|\n" * 9,
    "spaced dashes": "- " * 400,
    "prose with dashes": " -- ".join(["we waited", "and waited"] * 30),
    "list": "\n".join(f"- item {number}" for number in range(60)),
    "nested exclusions": '-"a" -b ' * 200,
    "exclusions of nothing": '-"" -"." -"-" -_ ' * 100,
    "full-width dashes": "－" * 50 + " ﹣" * 50,
    "dashes of every kind": "‐‑‒–—―⸺⸻〜～−" * 40,
    "pytest": "=" * 40 + " FAILURES " + "=" * 40 + "\n>   assert 1 == 2\nE   AssertionError\n" + "-" * 80,
    "jupyter": "-" * 75 + "\nValueError   Traceback (most recent call last)\nCell In[3], line 1\n----> 1 int('x')",
    "diff": "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,4 @@\n-import os\n+import sys\n - \n",
    "command": "tar -xzf a.tgz && rm -rf build/ --force -v -- -x; npm install -g x | grep -v '^-'",
    "code": "def f(a, *b, **c) -> dict[str, int]:\n    return {k: -v for k, v in c.items() if not (a & v | ~b[0])}",
    "sql": "SELECT 'a'''::tsquery <-> \"b\" WHERE x @@ '!a & (b | c):*' -- comment",
    "regex": r"^(?:[^'\\]|\\.)*$ \d+ \w{2,} (?<!a)b [[:alpha:]] \1 $$ %s %(query)s",
    "quotes": '"\'`“”„«»‹›「」『』" or "" or "',
    "operators": "or OR and AND not NOT | & ! <-> <2> ( ) :* :A \\ or",
    "one letter a thousand times": "a " * 2_000,
    "one long word": "x" * 4_096,
    "one long compound": "a_" * 2_048,
    "one long path": "/a" * 2_048,
    "one long run": "王" * 4_096,
    "four-byte run": "𠀀𠀁" * 2_048,
    "combining": "e\u0301" * 2_048,
    "ligatures that grow": "ﷺ" * 4_096,
    "emoji": "👩‍👩‍👧‍👦🇩🇪🏴󠁧󠁢󠁳󠁣󠁴󠁿" * 100,
    "controls": "a\x01\x02\x1f\x7f\x85\u2028\u2029b",
    "right to left": "\u202eabc\u202c \u2066x\u2069 שלום",
    "English": "What did we decide about the harbour's opening hours -- nine or ten o'clock?",
    "German": "Was wurde über die Öffnungszeiten – neun oder zehn Uhr – beschlossen? „Größe“",
    "French": "Qu’a-t-on décidé à propos de l’été ? « Rien » — dit-elle…",
    "Russian": "Что мы решили о часах работы порта — «Заря»?",
    "Greek": "Τι αποφασίσαμε για το λιμάνι; ΟΔΟΣ",
    "Chinese": "我们对港口的开放时间做了什么决定？——九点还是十点……",
    "Japanese": "港の営業時間について何を決めましたか？「九時」ー〜々〆",
    "Korean": "항구의 운영 시간에 대해 무엇을 결정했습니까?",
    "Thai": "เราตัดสินใจอะไรเกี่ยวกับเวลาเปิดท่าเรือ ๆ ฯ ๑๒๓",
    "Arabic": "ماذا قررنا بشأن ساعات عمل الميناء؟ ٣٫٥ ٪ ـــ مُحَمَّد",
    "Hebrew": "מה החלטנו לגבי שעות הפתיחה? צה״ל שָׁלוֹם",
    "Hindi": "हमने बंदरगाह के खुलने के समय के बारे में क्या तय किया? । ॥ क्षत्रिय",
    "Tamil": "துறைமுகத்தின் நேரம் பற்றி என்ன முடிவு செய்தோம்?",
}
SPECIAL = st.sampled_from(
    list("-\"'|&!()<>:*\\/_.~%{}$“”«»–—…－＂王小ก茶e\u0301ß") + [" - ", ' -"', " or ", " -a", "\n"]
)
ANY_QUERY = st.one_of(
    st.text(max_size=300),
    st.lists(SPECIAL, max_size=400).map("".join),
    st.lists(st.one_of(SPECIAL, st.sampled_from(["harbour", "rf", "AB-12", "a_b"])), max_size=200).map(" ".join),
)


@pytest.fixture
def filled(api):
    """A namespace in which each kind of search has something to read."""
    for content in ("The harbour opens at nine; run rm -rf build/.", "王小明喜欢乌龙茶", "getUserName of AB-12"):
        api.add(content, user_id="ada")
        api.add(content, memory_type="rag", repo_id="site")
        api.post("/insights", {"content": content, "projects": ["shop"]})
    api.post("/projects/groups", {"name": "shops", "projects": ["shop", "billing"]})
    tasks.embed_due()
    return api


def check_every_search(api, console, namespace, query: str) -> None:
    for path, fields in EVERY_SEARCH:
        response = api.post(path, {"query": query, **fields})
        # 422: a text of invisible characters.
        assert response.status_code in (200, 422), (path, fields, query, response.content)
    for path, parameter in EVERY_PAGE:
        response = console.get(path, {parameter: query, "extended": "1"} if parameter == "s" else {parameter: query})
        assert response.status_code == 200, (path, query)
    check_command(namespace, query)


def check_command(namespace, query: str) -> None:
    output = io.StringIO()
    try:
        call_command("search", "--", query, namespace=namespace.name, format="json", stdout=output)
    except CommandError as error:
        assert "query" in str(error), query
    else:
        json.loads(output.getvalue())


@pytest.mark.parametrize("query", CORPUS.values(), ids=CORPUS)
def test_texts_of_every_kind_are_searched(filled, console, namespace, query):
    check_every_search(filled, console, namespace, query[:4_096])


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(query=ANY_QUERY)
def test_any_text_is_searched(filled, console, namespace, query):
    check_every_search(filled, console, namespace, query)
