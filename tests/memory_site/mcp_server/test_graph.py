"""/mcp/graph: the nine tools of the reference memory server, and /mcp/chatgpt."""

import json
import threading

import jsonschema
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memories.graph.models import Relationship
from memories.models import Memory
from tests.memory_site.mcp_server.agent import Agent

pytestmark = pytest.mark.django_db
TOOLS = [
    *("create_entities", "create_relations", "add_observations", "delete_entities", "delete_observations"),
    *("delete_relations", "read_graph", "search_nodes", "open_nodes"),
]
ADA = {"name": "Ada_Berg", "entityType": "person", "observations": ["Speaks Danish", "Starts at nine"]}
HARBOUR = {"name": "Harbour", "entityType": "company", "observations": []}
WORKS = {"from": "Ada_Berg", "to": "Harbour", "relationType": "works_at"}


@pytest.fixture
def graph(api):
    return Agent(api, "/mcp/graph")


@pytest.fixture
def known(graph):
    graph.data("create_entities", entities=[ADA, HARBOUR])
    graph.data("create_relations", relations=[WORKS])
    return graph


def opened(graph, *names):
    return graph.data("open_nodes", names=list(names))


def test_the_nine_tools_are_those_of_the_reference_server(graph):
    tools = graph.tools()
    assert list(tools) == TOOLS
    entity = tools["create_entities"]["inputSchema"]["properties"]["entities"]["items"]
    assert entity["required"] == ["name", "entityType"]
    assert set(tools["create_relations"]["inputSchema"]["properties"]["relations"]["items"]["properties"]) == set(WORKS)
    assert "entityNames" in tools["delete_entities"]["inputSchema"]["properties"]
    assert all("$ref" not in str(tool) for tool in tools.values())


def test_a_graph_is_stored_and_read_whole(known):
    whole = known.call("read_graph")
    assert sorted(whole.data["entities"], key=lambda each: each["name"]) == [ADA, HARBOUR]
    assert whole.data["relations"] == [WORKS]
    assert "Ada_Berg works_at Harbour" in whole.text and "Speaks Danish" in whole.text


def test_every_answer_fits_its_schema(known):
    tools = known.tools()
    calls = {
        "create_entities": {"entities": [ADA, {"name": "New", "entityType": "x"}]},
        "create_relations": {"relations": [WORKS]},
        "add_observations": {"observations": [{"entityName": "New", "contents": ["a"]}]},
        "delete_observations": {"deletions": [{"entityName": "New", "observations": ["a"]}]},
        "read_graph": {},
        "search_nodes": {"query": "Danish"},
        "open_nodes": {"names": ["New"]},
        "delete_relations": {"relations": [WORKS]},
        "delete_entities": {"entityNames": ["New"]},
    }
    assert calls.keys() == tools.keys()
    for name, arguments in calls.items():
        answer = known.data(name, **arguments)
        jsonschema.validate(answer, tools[name]["outputSchema"])
        assert answer.keys() <= tools[name]["outputSchema"]["properties"].keys()
        assert "notes" not in answer


def test_what_is_known_is_not_created_again(known):
    again = known.data("create_entities", entities=[ADA | {"observations": ["Other"]}, {**HARBOUR, "name": "Port"}])
    assert [entity["name"] for entity in again["entities"]] == ["Port"]
    assert opened(known, "Ada_Berg")["entities"] == [ADA]
    assert known.data("create_relations", relations=[WORKS, WORKS])["relations"] == []


def test_two_entities_have_several_relations(known):
    founded = WORKS | {"relationType": "founded"}
    assert known.data("create_relations", relations=[founded, WORKS])["relations"] == [founded]
    back = {"from": "Harbour", "to": "Ada_Berg", "relationType": "employs"}
    known.data("create_relations", relations=[back])
    assert opened(known, "Ada_Berg", "Harbour")["relations"] == [founded, WORKS, back]
    known.data("delete_relations", relations=[WORKS])
    assert opened(known, "Ada_Berg", "Harbour")["relations"] == [founded, back]
    known.data("delete_relations", relations=[founded, back, founded])
    assert opened(known, "Ada_Berg", "Harbour")["relations"] == []


def test_observations_are_added_once(known):
    added = known.data(
        "add_observations",
        observations=[
            {"entityName": "Ada_Berg", "contents": ["Speaks Danish", "Likes tea", "Likes tea"]},
            {"entityName": "Ada_Berg", "contents": ["Likes rye bread"]},
        ],
    )
    assert added["results"] == [
        {"entityName": "Ada_Berg", "addedObservations": ["Likes tea"]},
        {"entityName": "Ada_Berg", "addedObservations": ["Likes rye bread"]},
    ]
    assert opened(known, "Ada_Berg")["entities"][0]["observations"][2:] == ["Likes tea", "Likes rye bread"]


def test_an_unknown_entity_is_an_error_and_nothing_is_added(known):
    observations = [{"entityName": "Ada_Berg", "contents": ["x"]}, {"entityName": "Bob", "contents": ["y"]}]
    assert known.fault("add_observations", observations=observations).startswith("There is no entity named Bob")
    assert "Bob" in known.fault("create_relations", relations=[WORKS | {"to": "Bob"}])
    assert "related to itself" in known.fault("create_relations", relations=[WORKS | {"to": "Ada_Berg"}])
    assert opened(known, "Ada_Berg")["entities"] == [ADA]


def test_deleting_what_is_not_there_is_no_error(known):
    known.data("delete_entities", entityNames=["Bob"])
    known.data("delete_observations", deletions=[{"entityName": "Bob", "observations": ["x"]}])
    known.data("delete_observations", deletions=[{"entityName": "Ada_Berg", "observations": ["x", "Speaks Danish"]}])
    known.data("delete_relations", relations=[WORKS | {"from": "Bob"}, WORKS | {"relationType": "x"}])
    assert opened(known, "Ada_Berg", "Harbour")["relations"] == [WORKS]
    assert opened(known, "Ada_Berg")["entities"][0]["observations"] == ["Starts at nine"]
    known.data("delete_entities", entityNames=["Harbour", "Harbour"])
    assert known.data("read_graph")["relations"] == []


def test_nodes_are_found_by_what_is_known_of_them(known):
    known.data("create_entities", entities=[{"name": "Kiosk", "entityType": "shop", "observations": ["Sells herring"]}])
    found = known.data("search_nodes", query="Danish")
    assert [entity["name"] for entity in found["entities"]] == ["Ada_Berg"]
    assert found["relations"] == [WORKS]
    assert opened(known, "Ada_Berg", "Nobody") == {"entities": [ADA], "relations": []}


def test_the_graph_is_read_in_pages(graph):
    entities = [{"name": f"Thing {number}", "entityType": "thing", "observations": ["o" * 200]} for number in range(30)]
    graph.data("create_entities", entities=json.dumps(entities))
    names, cursor = [], None
    while True:
        page = graph.call("read_graph", cursor=cursor, max_tokens=1000)
        names += [entity["name"] for entity in page.data["entities"]]
        if (cursor := page.data.get("nextCursor")) is None:
            break
        assert f"cursor {cursor} goes on" in page.text
    assert sorted(names) == sorted(entity["name"] for entity in entities)


@pytest.fixture
def hub(graph, api, namespace):
    """Harbour, to which 450 ships are related, 50 of them in two ways."""
    graph.data("create_entities", entities=[ADA, HARBOUR])
    harbour = Memory.objects.get(entity_name="Harbour")
    ships = Memory.objects.bulk_create(
        Memory(namespace=namespace, content=name, source_system="mcp", entity_system="mcp", entity_type="ship",
               entity_id=name, entity_name=name)
        for name in (f"Ship {number:04}" for number in range(450))
    )  # fmt: skip
    lies_in = {"metadata": {"relation_types": ["lies_in"]}, "type": "relates_to"}
    ends = [{"namespace": namespace, "from_memory": ship, "to_memory": harbour} for ship in ships]
    Relationship.objects.bulk_create(Relationship(**each, **lies_in) for each in ends)
    Relationship.objects.bulk_create(Relationship(**each, type="refines") for each in ends[:50])
    return graph


def test_a_hub_is_not_read_whole(hub):
    def count(tool, **arguments):
        with CaptureQueriesContext(connection) as captured:
            answers[tool] = hub.call(tool, **arguments)
        assert not answers[tool].is_error
        return sum('FROM "graph_relationship"' in each["sql"] for each in captured)

    answers = {}
    assert count("open_nodes", names=["Harbour", "Ship 0001", "Ada_Berg"]) == 3
    lies_in = {"from": "Ship 0001", "to": "Harbour", "relationType": "lies_in"}
    assert answers["open_nodes"].data["relations"] == [lies_in]
    assert count("search_nodes", query="Harbour", max_tokens=1000) == 1
    assert len(answers["search_nodes"].data["relations"]) == 25
    assert "More relations did not fit into max_tokens=1000." in answers["search_nodes"].data["notes"]
    assert count("create_relations", relations=[WORKS, WORKS | {"relationType": "owns"}]) == 2
    assert count("delete_relations", relations=[WORKS]) == 1


def test_entities_are_memories(known, api):
    ada = Memory.objects.get(entity_id="Ada_Berg")
    assert (ada.entity_system, ada.entity_type, ada.memory_type) == ("mcp", "person", "business_fact")
    assert ada.content == "Ada_Berg (person)\nSpeaks Danish\nStarts at nine"
    found = Agent(api).data("recall", query="Danish")
    assert found["results"][0]["id"] == str(ada.pk)


def test_each_user_has_a_graph_of_the_own(api, known):
    bob = Agent(api, "/mcp/graph", **{"X-Memory-User": "bob"})
    assert bob.data("read_graph")["entities"] == []
    bob.data("create_entities", entities=[ADA | {"observations": ["Is Bob's"]}])
    assert opened(bob, "Ada_Berg")["entities"][0]["observations"] == ["Is Bob's"]
    assert opened(known, "Ada_Berg")["entities"] == [ADA]
    bob.data("delete_entities", entityNames=["Ada_Berg", "Harbour"])
    assert opened(known, "Ada_Berg", "Harbour")["entities"] == [ADA, HARBOUR]


def test_entities_of_any_number_of_users_hide_none(api, known):
    rows = [
        {"content": "x", "user_id": f"user-{number}", "entity": {"system": "mcp", "id": "Ada_Berg"}}
        for number in range(101)
    ]
    assert api.post("/memories/bulk", {"memories": rows}).status_code == 201
    assert opened(known, "Ada_Berg")["entities"] == [ADA]
    assert known.data("create_entities", entities=[ADA])["entities"] == []


def test_nothing_of_another_namespace_is_read_or_deleted(known, outsider):
    others = Agent(outsider, "/mcp/graph")
    assert others.data("read_graph")["entities"] == opened(others, "Ada_Berg")["entities"] == []
    others.data("delete_entities", entityNames=["Ada_Berg"])
    assert opened(known, "Ada_Berg")["entities"] == [ADA]


def test_a_reader_reads_the_graph_only(known, reader):
    assert list(Agent(reader, "/mcp/graph").tools()) == ["read_graph", "search_nodes", "open_nodes"]
    assert "'write'" in Agent(reader, "/mcp/graph").fault("delete_entities", entityNames=["Ada_Berg"])


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("create_entities", {}, "entities: is required"),
        ("create_entities", {"entities": [{"name": "x"}]}, "entities.0.entityType: is required"),
        ("create_entities", {"entities": [ADA | {"name": "x" * 256}]}, "entities.0.name: "),
        ("create_entities", {"entities": [ADA] * 101}, "entities: "),
        ("create_entities", {"entities": [ADA | {"observations": ["x" * 70_000]}]}, "data: may take at most 65536"),
        ("create_relations", {"relations": "[1"}, "relations: must be a JSON list"),
        ("read_graph", {"cursor": "x"}, "cursor: "),
    ],
)
def test_a_wrong_argument_is_named(graph, tool, arguments, expected):
    assert expected in graph.fault(tool, **arguments)


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_lose_nothing(api):
    Agent(api, "/mcp/graph").data("create_entities", entities=[ADA, HARBOUR])

    def write(number):
        try:
            graph = Agent(type(api)(api.token), "/mcp/graph")
            for count in range(5):
                contents = [f"fact {number} {count}"]
                graph.data("add_observations", observations=[{"entityName": "Ada_Berg", "contents": contents}])
                graph.data("create_relations", relations=[WORKS | {"relationType": f"r{number}{count}"}])
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = opened(Agent(api, "/mcp/graph"), "Ada_Berg", "Harbour")
    assert len(found["entities"][0]["observations"]) == 2 + 20
    assert len(found["relations"]) == 20


# /mcp/chatgpt


def test_chatgpt_searches_and_fetches_in_its_own_shape(api):
    stored = api.add("Ada prefers green tea\nand rye bread", tags=["food"])
    agent = Agent(api, "/mcp/chatgpt")
    tools = agent.tools()
    assert list(tools) == ["search", "fetch"]
    assert [list(tool["inputSchema"]["properties"]) for tool in tools.values()] == [["query"], ["id"]]
    found = agent.call("search", query="green tea", unknown=1)
    assert json.loads(found.text) == found.data
    url = f"memory://{stored['id']}"
    assert found.data == {"results": [{"id": stored["id"], "title": "Ada prefers green tea", "url": url}]}
    fetched = agent.call("fetch", id=stored["id"])
    assert json.loads(fetched.text) == fetched.data
    assert fetched.data["text"] == "Ada prefers green tea\nand rye bread"
    assert fetched.data["metadata"]["tags"] == ["food"]
    for name, answer in {"search": found, "fetch": fetched}.items():
        jsonschema.validate(answer.data, tools[name]["outputSchema"])


def test_chatgpt_fetches_nothing_of_others(api, outsider):
    foreign = outsider.add("Secret")
    fault = Agent(api, "/mcp/chatgpt").fault("fetch", id=foreign["id"])
    assert fault == "There is no memory with this id; take ids from recall or list_memories."
