"""The OpenAPI document tells what every field and parameter is, and shows an example of every answer."""

from collections import Counter

import pytest

from memory_site import api_glossary
from tests.wire import conforms_to_any, load_openapi

PROPERTIES = [
    (component, name, field)
    for component, schema in load_openapi()["components"]["schemas"].items()
    for name, field in schema.get("properties", {}).items()
]
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in load_openapi()["paths"].items()
    for method, operation in methods.items()
]
PARAMETERS = [(name, each) for name, operation in OPERATIONS for each in operation.get("parameters", [])]
ANSWERS = {
    f"{name} {status}": answer["content"]["application/json"]
    for name, operation in OPERATIONS
    for status, answer in operation["responses"].items()
    if int(status) < 300 and "application/json" in answer.get("content", {})
}


def is_sentence(text: str) -> bool:
    return (text[0] in "`0123456789" or text[0].isupper()) and text.endswith(".")


def test_every_field_is_described():
    assert [f"{component}.{name}" for component, name, field in PROPERTIES if not field.get("description")] == []


def test_every_parameter_is_described():
    assert [f"{operation} {each['name']}" for operation, each in PARAMETERS if not each.get("description")] == []


def test_descriptions_are_sentences():
    texts = {each.get("description") for *_, each in (*PROPERTIES, *PARAMETERS)} - {None}
    assert [text for text in sorted(texts) if not is_sentence(text)] == []


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_answer_has_an_example_of_its_shape(answer):
    content = ANSWERS[answer]
    assert content["example"]
    assert conforms_to_any(content["example"], content["schema"])


def test_operation_ids_are_names_of_functions():
    """Generated clients name their methods by them: no path of a module, and none twice."""
    counts = Counter(operation["operationId"] for _, operation in OPERATIONS)
    assert [name for name, count in counts.items() if count > 1 or "api" in name.split("_")] == []


@pytest.mark.parametrize(
    ("glossary", "texts"),
    [
        (api_glossary.FIELDS, {(name, field.get("description")) for _, name, field in PROPERTIES}),
        (api_glossary.PARAMETERS, {(each["name"], each.get("description")) for _, each in PARAMETERS}),
    ],
    ids=["fields", "parameters"],
)
def test_glossary_has_no_entry_that_is_not_used(glossary, texts):
    assert set(glossary.items()) - texts == set()


def test_examples_are_of_fields_that_exist():
    assert set(api_glossary.EXAMPLES) <= {name for _, name, _ in PROPERTIES}
