"""Tool results are stored whatever they contain, and their entities are extracted and related."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memories.entity_ids import complete_entity_id
from memories.graph.models import PendingRelationship, Relationship
from memories.models import Memory
from memories.tool_results.extract import MAX_ENTITIES, extract_entities
from memories.tool_results.storage import MAX_TRUNCATED_TEXT_LENGTH
from memory_site.core.http.fields import check_json_object
from tests.api_contract.hostile import UNSTORABLE_VALUES, UNUSUAL_VALUES, build_nested
from tests.wire import conforms_to_any, fingerprint_tables, is_problem, list_operations

pytestmark = pytest.mark.django_db
ACCOUNT_ID, DEAL_ID, CONTACT_ID = "001Hs00001AccntIAV", "006Hs00001OpprtIAV", "003Hs00001CntctIAV"
ACCOUNT = {"attributes": {"type": "Account"}, "Id": ACCOUNT_ID, "Name": "Acme Corp", "Industry": "Ferries"}
DEAL = {"attributes": {"type": "Opportunity"}, "Id": DEAL_ID, "Name": "Big", "Amount": 250000, "AccountId": ACCOUNT_ID}
ISSUE = {
    "key": "PROJ-123",
    "self": "https://jira.example/rest/api/2/issue/10001",
    "fields": {
        "summary": "The crane is broken",
        "status": {"name": "Open"},
        "assignee": {"displayName": "Ada"},
        "priority": {"name": "High"},
        "issuetype": {"name": "Bug"},
        "project": {"key": "PROJ", "name": "Port", "self": "https://jira.example/rest/api/2/project/10"},
        "parent": {"key": "PROJ-1", "fields": {"summary": "The port"}},
        "epic": "PROJ-7",
        "subtasks": [{"key": "PROJ-124", "fields": {"summary": "Buy a rope"}}],
    },
}
SYS, USER, GROUP = "a" * 32, "b" * 32, "c" * 32
INCIDENT = {
    "sys_id": SYS,
    "number": "INC0010023",
    "sys_class_name": "incident",
    "short_description": "No mail",
    "caller_id": {"link": "https://x/table/sys_user/b", "value": USER},
    "assignment_group": GROUP,
    "parent": "",
}


def add_tool_result(api, result: object, **fields: object) -> dict:
    body = {"user_id": "ada", "agent_id": "crm", "tool": "search", "result": result, **fields}
    response = api.post("/tool-results", body)
    assert response.status_code == 201, response.content
    return response.json()


def index_entities(answer: dict) -> dict[str, dict]:
    return {each["entity"]["id"]: each for each in answer["entities"]}


def load_relationships() -> set[tuple[str, str, str]]:
    """Return (start, type, finish) of every relationship; an end is an entity id or a tool name."""
    ends = ("entity_id", "source_system")
    rows = Relationship.objects.values_list(
        "type", *(f"{end}__{name}" for end in ("from_memory", "to_memory") for name in ends)
    )
    return {(start or tool, kind, finish or other) for kind, start, tool, finish, other in rows}


# The result


def test_a_result_is_stored_as_a_memory(api):
    answer = add_tool_result(
        api, {"found": 3, "text": "harbour"}, session_id="s", tags=["t"], metadata={"a": 1}, importance=4
    )
    memory = answer["memory"]
    assert memory["data"] == {"found": 3, "text": "harbour"}
    assert (memory["memory_type"], memory["source_system"], memory["agent_id"]) == ("tool_output", "search", "crm")
    assert (memory["user_id"], memory["session_id"], memory["tags"], memory["importance"]) == ("ada", "s", ["t"], 4)
    assert memory["metadata"] == {"a": 1, "tool": "search"}
    assert memory["summary"] == "search: found 3, text harbour"
    assert (answer["entities"], answer["truncated"]) == ([], False)
    assert api.get(f"/memories/{memory['id']}").json() == memory
    assert api.search("harbour", mode="text")["results"][0]["memory"]["id"] == memory["id"]


def test_a_given_summary_is_used(api):
    assert add_tool_result(api, {"a": 1}, summary="Three ferries.")["memory"]["summary"] == "Three ferries."


@pytest.mark.parametrize("result", [None, True, 0, 1.5, "text", [], [1, "two", None], {}, ""], ids=repr)
def test_any_json_is_accepted(api, result):
    answer = add_tool_result(api, result)
    assert answer["memory"]["data"] == (result if isinstance(result, dict) else {"result": result})
    assert answer["truncated"] is False


def test_the_same_result_of_the_same_tool_is_one_memory(api):
    first, again, other = (add_tool_result(api, {"a": value})["memory"]["id"] for value in (1, 1, 2))
    assert first == again != other


def test_long_results_with_the_same_beginning_are_two_memories(api):
    results = [{"rows": ["x" * 5000, number]} for number in range(2)]
    assert len({add_tool_result(api, result)["memory"]["id"] for result in results}) == 2


@pytest.mark.parametrize(
    "result",
    [
        {"text": "x" * 70_000},
        {str(key): key for key in range(300)},
        {"rows": [{"name": f"row {number}", "values": list(range(10))} for number in range(5_000)]},
        "line\n" * 200_000,
        json.loads("[" * 200 + "1" + "]" * 200),
        [1e308] * 60_000,
        ['"\\\n'] * 40_000,
    ],
    ids=["70 kB", "300 keys", "5,000 rows", "1 MB of text", "200 levels", "60,000 huge numbers", "40,000 escapes"],
)
def test_a_result_that_is_too_large_is_stored_as_truncated_text(api, result):
    answer = add_tool_result(api, result)
    data = answer["memory"]["data"]
    assert answer["truncated"] is data["truncated"] is True
    assert 0 < len(data["text"]) <= MAX_TRUNCATED_TEXT_LENGTH
    assert data["characters"] >= len(data["text"])


def test_entities_of_a_truncated_result_are_found(api):
    answer = add_tool_result(api, {"rows": ["x" * 100_000, {"deep": [[{"record": DEAL}]]}]})
    assert answer["truncated"] is True
    assert set(index_entities(answer)) == {DEAL_ID}


RAW_BODIES = UNSTORABLE_VALUES | UNUSUAL_VALUES | {"850 levels": build_nested(850)}


@pytest.mark.parametrize("what", RAW_BODIES)
def test_a_result_with_unstorable_values_is_stored(api, what):
    """Values that no other field accepts are valid in a result; only what is not JSON is refused."""
    value = RAW_BODIES[what]
    for result in (value, f'{{"Id": {value}, "key": {value}, "sys_id": {value}, "fields": {value}}}'):
        raw = f'{{"agent_id": "crm", "tool": "t", "result": {result}}}'
        response = api.raw("POST", "/tool-results", raw.encode("utf-8", "surrogatepass"))
        assert response.status_code == 201, f"{what}: {response.content[:300]}"
        check_json_object(response.json()["memory"]["data"])


@pytest.mark.parametrize(
    "body", [{}, {"result": 1}, {"agent_id": "a", "tool": "t"}, {"agent_id": "", "tool": "t", "result": 1}]
)
def test_the_agent_the_tool_and_the_result_are_required(api, body):
    assert is_problem(api.post("/tool-results", body), 422)
    assert not Memory.objects.exists()


# Entities


SHORT_ID, LONG_ID = "0015g00000NwAGA", "0015g00000NwAGAAA3"
SHORT_ACCOUNT = {"attributes": {"type": "Account"}, "Id": SHORT_ID, "Industry": "Ferries"}
LONG_ACCOUNT = {"attributes": {"type": "Account"}, "Id": LONG_ID, "Name": "Acme"}


@pytest.mark.parametrize("results", [[LONG_ACCOUNT, SHORT_ACCOUNT], [SHORT_ACCOUNT, LONG_ACCOUNT]])
@pytest.mark.parametrize("together", [True, False])
def test_a_salesforce_record_is_one_entity_by_either_of_its_ids(api, results, together):
    for result in [results] if together else results:
        answer = add_tool_result(api, result)
    [account] = index_entities(answer).values()
    assert account["entity"] == {"system": "salesforce", "id": LONG_ID, "type": "Account", "name": "Acme"}
    assert account["data"]["entity_data"] == {"Id": LONG_ID, "Name": "Acme", "Industry": "Ferries"}
    assert Memory.objects.filter(entity_id__isnull=False).count() == 1


@pytest.mark.parametrize("parent", [SHORT_ID, LONG_ID])
@pytest.mark.parametrize("account", [SHORT_ACCOUNT, LONG_ACCOUNT])
def test_a_salesforce_record_belongs_to_its_parent_by_either_id(api, account, parent):
    add_tool_result(api, account)
    add_tool_result(api, DEAL | {"AccountId": parent})
    assert (DEAL_ID, "belongs_to", LONG_ID) in load_relationships()


def test_an_entity_of_a_caller_is_the_same_by_either_id(api):
    ids = {
        api.add("Acme", user_id="ada", entity={"system": "salesforce", "id": own})["id"] for own in (SHORT_ID, LONG_ID)
    }
    deal = api.add("Big", user_id="ada")["id"]
    to_entity = {"system": "salesforce", "id": SHORT_ID}
    response = api.post(f"/memories/{deal}/relationships", {"to_entity": to_entity})
    assert {response.json()["to_id"]} == ids
    other = api.add("Acme", user_id="ada", entity={"system": "jira", "id": SHORT_ID})
    assert other["entity"]["id"] == SHORT_ID


def test_a_salesforce_record_becomes_an_entity(api):
    answer = add_tool_result(api, {"totalSize": 1, "records": [DEAL]})
    [deal] = answer["entities"]
    assert deal["entity"] == {"system": "salesforce", "id": DEAL_ID, "type": "Opportunity", "name": "Big"}
    assert deal["data"]["entity_data"] == {"Id": DEAL_ID, "Name": "Big", "Amount": 250000, "AccountId": ACCOUNT_ID}
    assert (deal["memory_type"], deal["user_id"], deal["agent_id"]) == ("domain_entity", "ada", "crm")
    assert "Opportunity Big" in deal["summary"]
    assert DEAL_ID in deal["content"] and "250000" in deal["content"]
    assert load_relationships() == {("search", "produces", DEAL_ID)}


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [("001", "Account"), ("003", "Contact"), ("005", "User"), ("006", "Opportunity"), ("00Q", "Lead"), ("500", "Case"),
     ("00T", "Task"), ("00U", "Event"), ("701", "Campaign"), ("a0x", "CustomObject")],
)  # fmt: skip
@pytest.mark.parametrize("rest", ["Hs00001AbCdE", "Hs00001AbCdEIAV"])
def test_the_prefix_of_a_salesforce_id_is_its_type(prefix, kind, rest):
    [entity] = extract_entities([{"Id": prefix + rest}]).values()
    own_id = complete_entity_id("salesforce", prefix + rest)
    assert (entity.key, entity.type, own_id[:15]) == (("salesforce", own_id), kind, (prefix + rest)[:15])


@pytest.mark.parametrize(
    "record",
    [{"Id": "001Hs00001AbCd"}, {"Id": "001Hs00001AbCdEI"}, {"Id": "999Hs00001AbCdE"}, {"id": "abcdefghijklmno"},
     {"Id": 1}, {"Id": None}, {"key": "UTF-8"}, {"key": "proj-1", "id": "1"}, {"key": "PROJ-x", "self": "a"},
     {"sys_id": "A" * 32}, {"sys_id": "a" * 31}, {"number": "INC12"}, {"number": 10023}, {"name": "Acme"}],
    ids=str,
)  # fmt: skip
def test_other_objects_are_no_entities(record):
    assert extract_entities([record]) == {}


def test_a_jira_issue_becomes_an_entity_with_relationships(api):
    answer = add_tool_result(api, {"issues": [ISSUE]})
    found = index_entities(answer)
    assert set(found) == {"PROJ-123", "PROJ", "PROJ-1", "PROJ-124"}
    assert found["PROJ-123"]["entity"] == {
        "system": "jira",
        "id": "PROJ-123",
        "type": "Bug",
        "name": "The crane is broken",
    }
    fields = found["PROJ-123"]["data"]["entity_data"]
    assert (fields["status"], fields["assignee"], fields["priority"], fields["project"]) == (
        "Open",
        "Ada",
        "High",
        "Port",
    )
    assert load_relationships() == {
        *(("search", "produces", own) for own in found),
        ("PROJ-123", "belongs_to", "PROJ-1"),
        ("PROJ-123", "belongs_to", "PROJ"),
        ("PROJ-124", "belongs_to", "PROJ-123"),
    }
    assert list(PendingRelationship.objects.values_list("entity_id", "type", "reverse")) == [
        ("PROJ-7", "belongs_to", False)
    ]


def test_a_flat_jira_issue_is_an_entity():
    [issue] = extract_entities({"key": "PROJ-5", "summary": "Flat", "status": "Open", "parent": "PROJ-1"}).values()
    assert (issue.name, issue.fields["status"], issue.links[0].end) == ("Flat", "Open", ("jira", "PROJ-1"))


def test_a_servicenow_record_becomes_an_entity_with_pending_relationships(api):
    answer = add_tool_result(api, {"result": [INCIDENT, {"number": "KB0000123", "title": "How to mail"}]})
    found = index_entities(answer)
    assert found[SYS]["entity"] == {"system": "servicenow", "id": SYS, "type": "incident", "name": "No mail"}
    assert found["KB0000123"]["entity"]["type"] == "kb_knowledge"
    waiting = set(PendingRelationship.objects.values_list("entity_id", "type"))
    assert waiting == {(USER, "relates_to"), (GROUP, "relates_to")}
    add_tool_result(
        api, {"sys_id": {"value": USER, "display_value": USER}, "sys_class_name": "sys_user", "name": "Ada"}
    )
    assert (SYS, "relates_to", USER) in load_relationships()
    assert set(PendingRelationship.objects.values_list("entity_id", flat=True)) == {GROUP}


@pytest.mark.parametrize("prefix", ["INC", "CHG", "PRB", "REQ", "RITM", "TASK", "KB"])
def test_the_prefix_of_a_servicenow_number_is_its_type(prefix):
    [entity] = extract_entities({"number": f"{prefix}0010001"}).values()
    assert entity.key == ("servicenow", f"{prefix}0010001")
    assert entity.type != "record"


def test_an_entity_that_is_stored_later_resolves_the_relationship(api):
    add_tool_result(api, [DEAL])
    assert (
        "belongs_to" not in {kind for _, kind, _ in load_relationships()}
    ) and PendingRelationship.objects.count() == 1
    api.add("Acme", user_id="ada", entity={"system": "salesforce", "id": ACCOUNT_ID})
    assert (DEAL_ID, "belongs_to", ACCOUNT_ID) in load_relationships()
    assert not PendingRelationship.objects.exists()


def test_a_stored_entity_is_related_at_once(api):
    add_tool_result(api, [ACCOUNT])
    add_tool_result(api, [DEAL])
    assert (DEAL_ID, "belongs_to", ACCOUNT_ID) in load_relationships()
    assert not PendingRelationship.objects.exists()


def test_contacts_and_cases_belong_to_accounts_and_contacts(api):
    contact = {"Id": CONTACT_ID, "LastName": "Weber", "Account": {"attributes": {"type": "Account"}, "Id": ACCOUNT_ID}}
    case = {"Id": "500Hs00001CaSeIIAV", "Subject": "Broken", "AccountId": ACCOUNT_ID, "ContactId": CONTACT_ID}
    assert len(add_tool_result(api, [contact, case, ACCOUNT])["entities"]) == 3
    assert {each for each in load_relationships() if each[1] == "belongs_to"} == {
        (CONTACT_ID, "belongs_to", ACCOUNT_ID),
        ("500Hs00001CaSeIIAV", "belongs_to", ACCOUNT_ID),
        ("500Hs00001CaSeIIAV", "belongs_to", CONTACT_ID),
    }


def test_an_entity_in_another_result_is_merged_and_loses_no_field(api):
    first = index_entities(add_tool_result(api, [ACCOUNT]))[ACCOUNT_ID]
    again = index_entities(add_tool_result(api, {"x": {"Id": ACCOUNT_ID, "Phone": "123"}}))[ACCOUNT_ID]
    assert (again["id"], again["update_count"]) == (first["id"], 1)
    assert again["data"]["entity_data"] == {
        "Id": ACCOUNT_ID,
        "Name": "Acme Corp",
        "Industry": "Ferries",
        "Phone": "123",
    }
    assert "Ferries" in again["content"] and "123" in again["content"]


def test_a_changed_field_is_in_the_summary_and_the_heading_stays(api):
    add_tool_result(
        api, {"records": [{**DEAL, "OwnerId": "005Hs00001OwnerIAV", "CloseDate": "2026-12-01", "Stage": "Open"}]}
    )
    updated = index_entities(add_tool_result(api, {"Id": DEAL_ID, "Stage": "Closed Won"}))[DEAL_ID]
    assert updated["content"].startswith(f"Opportunity Big (salesforce {DEAL_ID})")
    assert "Stage Closed Won" in updated["summary"]
    add_tool_result(api, ISSUE)
    bare = {"key": "PROJ-123", "fields": {"status": {"name": "Done"}}}
    updated = index_entities(add_tool_result(api, bare))["PROJ-123"]
    assert (updated["entity"]["type"], updated["entity"]["name"]) == ("Bug", "The crane is broken")
    assert updated["summary"].startswith("Bug The crane is broken: status Done")


def test_a_jira_description_is_stored_as_text(api):
    text = [
        {"type": "text", "text": "Customers ask"},
        {"type": "text", "text": "for darkness.", "marks": [{"type": "em"}]},
    ]
    listed = {"type": "listItem", "content": [{"type": "paragraph", "content": text}]}
    described = {"type": "doc", "version": 1, "content": [{"type": "bulletList", "content": [listed]}]}
    answer = add_tool_result(
        api, {"issues": [{"key": "WEB-3", "fields": {"summary": "Dark", "description": described}}]}
    )
    assert answer["truncated"] is False
    assert answer["memory"]["data"]["issues"][0]["key"] == "WEB-3"
    assert index_entities(answer)["WEB-3"]["data"]["entity_data"]["description"] == "Customers ask for darkness."


def test_the_response_to_a_change_is_summarised_without_its_errors(api):
    answer = add_tool_result(api, {"id": DEAL_ID, "success": True, "errors": []})
    assert "0 results" not in answer["memory"]["summary"]
    assert index_entities(answer)[DEAL_ID]["data"]["entity_data"] == {"Id": DEAL_ID}


def test_the_same_result_again_creates_nothing(api):
    add_tool_result(api, [DEAL, ISSUE, INCIDENT])
    before = (Memory.objects.count(), load_relationships(), PendingRelationship.objects.count())
    add_tool_result(api, [DEAL, ISSUE, INCIDENT])
    assert (Memory.objects.count(), load_relationships(), PendingRelationship.objects.count()) == before


def test_an_entity_that_occurs_twice_in_a_result_is_merged(api):
    answer = add_tool_result(api, [{"Id": ACCOUNT_ID, "Phone": "1"}, {"a": {"Id": ACCOUNT_ID, "Name": "Acme"}}])
    [account] = answer["entities"]
    assert account["data"]["entity_data"] == {"Id": ACCOUNT_ID, "Phone": "1", "Name": "Acme"}


def test_entities_are_separate_by_user(api):
    mine, theirs = (
        add_tool_result(api, [ACCOUNT])["entities"],
        add_tool_result(api, [ACCOUNT], user_id="ben")["entities"],
    )
    nobodys = add_tool_result(api, [ACCOUNT, DEAL], user_id=None)["entities"]
    assert len({each["id"] for each in [*mine, *theirs, *nobodys]}) == 4


def test_json_inside_a_text_is_parsed():
    result = {"content": [{"type": "text", "text": json.dumps({"records": [json.dumps(DEAL)]})}]}
    assert set(extract_entities(result)) == {("salesforce", DEAL_ID)}


def test_an_entity_is_not_related_to_itself(api):
    add_tool_result(api, [{"Id": ACCOUNT_ID, "ParentId": ACCOUNT_ID, "AccountId": ACCOUNT_ID}])
    assert load_relationships() == {("search", "produces", ACCOUNT_ID)}


def test_at_most_two_hundred_entities_are_stored(api, takes):
    many = [{**DEAL, "Id": f"006Hs00001{number:05d}IAV", "Name": f"Deal {number}"} for number in range(300)]
    with takes(10):
        assert len(add_tool_result(api, many)["entities"]) == MAX_ENTITIES == 200
    with takes(9):  # nothing is pending
        add_tool_result(api, [DEAL, ACCOUNT])
    with takes(6):
        add_tool_result(api, {"nothing": "here"})


SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
JUNK_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
IDS = st.sampled_from([ACCOUNT_ID, DEAL_ID, CONTACT_ID, "PROJ-1", "PROJ", SYS, USER, "INC0010023", "KB0000123"])
FIELDS = st.sampled_from([
    "Id", "id", "attributes", "type", "url", "Name", "AccountId", "Account", "key", "fields", "self", "summary",
    "parent", "subtasks", "project", "epic", "status", "sys_id", "number", "caller_id", "value", "records", "\0", "",
])  # fmt: skip
RESULTS = st.recursive(
    JUNK_VALUES
    | IDS
    | st.sampled_from(["Account", "https://x/rest/api/2/project/1", '{"Id": "' + DEAL_ID + '"}', "[[["]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=6),
    max_leaves=40,
)


@settings(max_examples=300, deadline=None)
@given(RESULTS)
def test_entities_of_random_results_have_labels_and_scalars(result):
    for (system, own), entity in extract_entities(result).items():
        assert system in ("salesforce", "jira", "servicenow") and 0 < len(own) <= 255
        assert isinstance(entity.type, str) and (entity.name is None or 0 < len(entity.name) <= 255)
        check_json_object(entity.fields)
        assert all(not isinstance(value, dict | list) for value in entity.fields.values())


@settings(max_examples=60, deadline=None, suppress_health_check=SUPPRESSED)
@given(RESULTS)
def test_random_results_are_stored(api, result):
    try:
        body = json.dumps({"user_id": "ada", "agent_id": "a", "tool": "t", "result": result}, allow_nan=False)
    except ValueError:
        return  # not JSON
    response = api.raw("POST", "/tool-results", body)
    assert response.status_code == 201, response.content
    [operation] = [each for each in list_operations() if each.path == "/tool-results"]
    assert conforms_to_any(response.json(), operation.answers["201"])


def test_another_namespace_is_not_changed(namespace, api, outsider):
    add_tool_result(api, [DEAL])
    before = fingerprint_tables(namespace.pk)
    add_tool_result(outsider, [ACCOUNT])
    assert fingerprint_tables(namespace.pk) == before
