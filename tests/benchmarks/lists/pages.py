"""The pages that are measured: a name and the query string of the memories list."""

from tests.benchmarks.lists.load import OLDEST_TEXT

PAGES = {
    "the usual list": "",
    "all, with chunks": "chunks=all",
    "one namespace": "namespace={namespace}",
    "a type": "memory_type=insight",
    "a large user": "user_id=user-1",
    "a small user": "user_id=user-4000",
    "a part of a user": "user_id_like=user-49",
    "a tag": "tag=tag-3",
    "without a type": "not_memory_type=agent",
    "without a user and a tag": "not_user_id=user-1&not_tag=tag-3",
    "a system": "entity_system=jira",
    "metadata": "metadata=row%3D17",
    "importance 5": "min_importance=5",
    "confidence, none so low": "max_confidence=0.5",
    "with a summary, none": "has_summary=1",
    "never recalled": "used=0",
    "with relationships, none": "related=1",
    "expiring, none": "expires_within=7",
    "ordered by text": "o=1",
    "ordered by importance": "o=-6",
    "a large user by type": "user_id=user-1&o=2",
    "exact text, common": "q=kaka&mode=literal",
    "exact text, only the oldest": f"q={OLDEST_TEXT}&mode=literal",
    "exact text, part of the oldest": f"q={OLDEST_TEXT[3:10]}&mode=literal",
    "pattern, rare": "q=zx-%5Cd%2B&mode=pattern",
    "smart": "q=kakakakamiq+kakakakaloq",
}
PARTS = {
    "facets": "facets/?",
    "facets of a user": "facets/?user_id=user-1",
    "suggestions": "suggestions/?field=user_id&parameter=x&x=99",
}
LIST_PATH, ENTITIES_PATH, PROJECTS_PATH = (
    *("/admin/memories/memory/", "/admin/graph/entity/"),
    "/admin/insights/projectgroup/projects/",
)


def list_addresses(namespace_id: int) -> dict[str, str]:
    """Return the address of each page by its name."""
    pages = {name: f"{LIST_PATH}?{query.format(namespace=namespace_id)}" for name, query in PAGES.items()}
    parts = {name: f"{LIST_PATH}{query}" for name, query in PARTS.items()}
    others = {"entities": ENTITIES_PATH, "entities of jira": f"{ENTITIES_PATH}?entity_system=jira"}
    return pages | parts | others | {"projects": f"{PROJECTS_PATH}?namespace={namespace_id}"}
