"""Projects, as the tests of this folder speak of them."""

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
    """The id of an insight of these projects."""
    [(pk, _)] = save_insights(namespace.pk, [InsightDraft(text, projects=projects)])
    return str(pk)


def add_in_each_project(api, content: str, *projects: str) -> dict[str, str]:
    """The same text once in each repository, by different users: the repository by the memory's id."""
    return {api.add(content, repo_id=each, user_id=f"user of {each}")["id"]: each for each in projects}


def search_from_project(api, project: str, query: str, **fields: object) -> list[dict]:
    response = api.post("/projects/search", {"query": query, "project": project, **fields})
    assert response.status_code == 200, response.content
    return response.json()["results"]
