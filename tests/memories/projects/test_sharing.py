"""Sharing insights with other projects."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from memories.insights.models import Insight
from memories.insights.redaction import redact_project_name
from memories.models import Memory
from tests.memories.projects.helpers import insert_insight, search_from_project
from tests.wire import is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
DEPLOY_TEXT = "Deploys are safe on Fridays when the migration ran on Thursday."
SECRET_PROJECT = "payments-secret-keys"


def post_share(api, **fields: object):
    body = {"target_projects": ["api"], **fields}
    return api.post("/projects/share", body if "insight_id" in body else {"insight": DEPLOY_TEXT, **body})


def share_insight(api, **fields: object) -> dict:
    response = post_share(api, **fields)
    assert response.status_code == 201, response.content
    return response.json()


def test_shared_text_is_stored_for_source_and_targets(api, namespace):
    result = share_insight(api, source_project="web", target_projects=["api", "mail"], workflow_id="nightly")
    memory = result["memory"]
    assert result["projects"] == Insight.objects.get(namespace=namespace).projects == ["web", "api", "mail"]
    assert memory == api.get(f"/memories/{memory['id']}").json()
    assert (memory["content"], memory["memory_type"], memory["workflow_id"]) == (DEPLOY_TEXT, "insight", "nightly")
    assert memory["metadata"] == {"share_type": "dependency_aware", "shared_with": ["api", "mail"]}


def test_targets_see_the_shared_insight(api):
    assert search_from_project(api, "api", "deploys") == search_from_project(api, "mail", "deploys") == []
    pk = share_insight(api, source_project="web", target_projects=["api", "mail"])["memory"]["id"]
    for project in ("web", "api", "mail"):
        [hit] = search_from_project(api, project, "deploys")
        assert (hit["memory"]["id"], hit["is_current_project"]) == (pk, True)
    assert search_from_project(api, "strange", "deploys") == []


def test_targets_may_be_projects_repositories_or_both(api):
    response = api.post("/projects/share", {"insight": DEPLOY_TEXT, "target_repositories": ["api"]})
    assert (response.status_code, response.json()["projects"]) == (201, ["api"])
    result = share_insight(api, target_projects=["mail", "api"], target_repositories=["api", "shop"])
    assert result["projects"] == ["api", "mail", "shop"]


def test_sharing_again_adds_projects_to_the_same_insight(api):
    first = share_insight(api, source_project="web", target_projects=["api"], workflow_id="nightly")
    second = share_insight(api, insight=DEPLOY_TEXT.upper(), target_projects=["mail"], workflow_id="weekly")
    assert second["memory"]["id"] == first["memory"]["id"]
    assert second["projects"] == ["web", "api", "mail"]
    assert second["memory"]["metadata"]["shared_with"] == ["api", "mail"]
    assert second["memory"]["workflow_id"] == "nightly"
    assert Insight.objects.count() == 1


def test_stored_insight_is_shared_by_its_id(api, namespace):
    pk = insert_insight(namespace, DEPLOY_TEXT, "web")
    assert search_from_project(api, "api", "deploys") == []
    result = share_insight(api, insight_id=pk, source_project="shop", workflow_id="nightly")
    assert (result["memory"]["id"], result["projects"]) == (pk, ["web", "shop", "api"])
    assert result["memory"]["metadata"] == {"share_type": "dependency_aware", "shared_with": ["api"]}
    assert result["memory"]["workflow_id"] == "nightly"
    [hit] = search_from_project(api, "api", "deploys")
    assert hit["memory"]["id"] == pk


@pytest.mark.parametrize("before", ["api", {"api": 1}, 7, None, ["x", {"y": 1}]], ids=str)
def test_clients_own_metadata_stays(api, namespace, before):
    pk = insert_insight(namespace, DEPLOY_TEXT, "web")
    api.patch(f"/memories/{pk}", {"metadata": {"shared_with": before, "mine": True}})
    metadata = share_insight(api, insight_id=pk)["memory"]["metadata"]
    assert metadata == {"mine": True, "share_type": "dependency_aware", "shared_with": ["api"]}


def test_secret_names_are_redacted(api, namespace):
    result = share_insight(api, source_project=SECRET_PROJECT, target_projects=["api", f"{SECRET_PROJECT}-2"])
    assert result["projects"] == [
        redact_project_name(SECRET_PROJECT),
        "api",
        redact_project_name(f"{SECRET_PROJECT}-2"),
    ]
    assert result["memory"]["metadata"]["shared_with"] == ["api", redact_project_name(f"{SECRET_PROJECT}-2")]
    [hit] = search_from_project(api, f"{SECRET_PROJECT}-2", "deploys")
    assert hit["memory"]["id"] == result["memory"]["id"]


def test_insight_has_at_most_64_projects(api, namespace):
    pk = insert_insight(namespace, DEPLOY_TEXT, *(f"project {n}" for n in range(60)))
    result = share_insight(api, insight_id=pk, target_projects=["a", "b", "c", "d"])
    assert len(result["projects"]) == 64
    assert share_insight(api, insight_id=pk, target_projects=["d"])["projects"] == result["projects"]
    for response in (post_share(api, insight_id=pk, target_projects=["e"]), post_share(api, target_projects=["e"])):
        assert is_problem(response, 422)
        assert list_blamed_fields(response) == {"target_projects"}
    assert Insight.objects.get().projects == result["projects"]
    assert Memory.objects.get().metadata["shared_with"] == ["a", "b", "c", "d"]


def test_text_with_too_many_projects_is_not_stored(api):
    assert is_problem(post_share(api, source_project="web", target_projects=[f"project {n}" for n in range(64)]), 422)
    assert not Memory.objects.exists()


def test_only_unexpired_insights_of_the_namespace_are_shared(api, outsider, namespace):
    pk = insert_insight(namespace, DEPLOY_TEXT, "web")
    plain = api.add("The harbour opens at nine on weekdays.")["id"]
    for caller, which in ((outsider, pk), (api, plain), (api, str(uuid4()))):
        assert is_problem(post_share(caller, insight_id=which), 404)
    Memory.objects.filter(pk=pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert is_problem(post_share(api, insight_id=pk), 404)
    assert Insight.objects.get().projects == ["web"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"insight": "x" * 29}, {"insight": "x" * 10_001}, {"insight_id": str(UUID(int=7))}, {"insight": None},
        {"target_projects": None}, {"target_projects": []}, {"target_projects": ["p"] * 65}, {"source_project": ""},
    ],
    ids=lambda each: str(each)[:40],
)  # fmt: skip
def test_invalid_requests_are_refused(api, wrong):
    response = api.post("/projects/share", {"insight": DEPLOY_TEXT, "target_projects": ["api"]} | wrong)
    assert is_problem(response, 422)
    assert not Memory.objects.exists()


def test_readers_share_nothing(reader):
    assert is_problem(post_share(reader), 403)


@pytest.mark.django_db(transaction=True)
def test_concurrent_shares_add_up(api, namespace):
    pk = share_insight(api, source_project="web")["memory"]["id"]
    calls = [lambda n=n: share_insight(api, insight_id=pk, target_projects=[f"by id {n}"]) for n in range(4)]
    calls += [lambda n=n: share_insight(api, target_projects=[f"by text {n}"]) for n in range(4)]
    run_at_once(calls)
    everyone = {f"by {how} {n}" for how in ("id", "text") for n in range(4)}
    assert set(Insight.objects.get().projects) == {"web", "api"} | everyone
    assert set(Memory.objects.get().metadata["shared_with"]) == {"api"} | everyone
