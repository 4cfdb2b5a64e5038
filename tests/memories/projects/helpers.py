"""Groups, dependencies, insights and searches of projects."""

from memories.insights.storage import InsightDraft, save_insights


def add_group(api, name: str, *projects: str, **fields: object) -> dict:
    response = api.post("/projects/groups", {"name": name, "projects": projects, **fields})
    assert response.status_code in (200, 201), response.content
    return response.json()


def add_dependency(api, source: str, target: str, kind: str = "uses", **fields: object) -> dict:
    body = {"source_project": source, "target_project": target, "type": kind, **fields}
    response = api.post("/projects/dependencies", body)
    assert response.status_code in (200, 201), response.content
    return response.json()


def insert_insight(namespace, text: str, *projects: str) -> str:
    """Insert an insight of these projects; return its id."""
    [(pk, _)] = save_insights(namespace.pk, [InsightDraft(text, projects=projects)])
    return str(pk)


def add_in_each_project(api, content: str, *projects: str) -> dict[str, str]:
    """Add the same text once in each repository, by different users; return {memory id: repository}."""
    return {api.add(content, repo_id=each, user_id=f"user of {each}")["id"]: each for each in projects}


def search_from_project(api, project: str, query: str, **fields: object) -> list[dict]:
    """The whole ranking, also below the floor."""
    response = api.post("/projects/search", {"query": query, "project": project, "floor": 0, **fields})
    assert response.status_code == 200, response.content
    return response.json()["results"]
