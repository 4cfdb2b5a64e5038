"""An insight is shared with other projects."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from memories.insights.models import Insight
from memories.insights.redaction import redact_project_name
from memories.models import Memory
from tests.memories.projects.projects import insert_insight, search_from_project
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


def test_a_text_is_kept_for_the_source_and_its_targets(api, namespace):
    told = share_insight(api, source_project="web", target_projects=["api", "mail"], workflow_id="nightly")
    memory = told["memory"]
    assert told["projects"] == Insight.objects.get(namespace=namespace).projects == ["web", "api", "mail"]
    assert memory == api.get(f"/memories/{memory['id']}").json()
    assert (memory["content"], memory["memory_type"], memory["workflow_id"]) == (DEPLOY_TEXT, "insight", "nightly")
    assert memory["metadata"] == {"share_type": "dependency_aware", "shared_with": ["api", "mail"]}


def test_every_target_sees_it_from_then_on(api):
    assert search_from_project(api, "api", "deploys") == search_from_project(api, "mail", "deploys") == []
    pk = share_insight(api, source_project="web", target_projects=["api", "mail"])["memory"]["id"]
    for project in ("web", "api", "mail"):
        [hit] = search_from_project(api, project, "deploys")
        assert (hit["memory"]["id"], hit["is_current_project"]) == (pk, True)
    assert search_from_project(api, "strange", "deploys") == []


def test_targets_may_be_called_repositories_or_both(api):
    response = api.post("/projects/share", {"insight": DEPLOY_TEXT, "target_repositories": ["api"]})
    assert (response.status_code, response.json()["projects"]) == (201, ["api"])
    told = share_insight(api, target_projects=["mail", "api"], target_repositories=["api", "shop"])
    assert told["projects"] == ["api", "mail", "shop"]


def test_shared_again_it_is_the_same_insight_with_more_projects(api):
    first = share_insight(api, source_project="web", target_projects=["api"], workflow_id="nightly")
    second = share_insight(api, insight=DEPLOY_TEXT.upper(), target_projects=["mail"], workflow_id="weekly")
    assert second["memory"]["id"] == first["memory"]["id"]
    assert second["projects"] == ["web", "api", "mail"]
    assert second["memory"]["metadata"]["shared_with"] == ["api", "mail"]
    assert second["memory"]["workflow_id"] == "nightly"
    assert Insight.objects.count() == 1


def test_one_that_is_kept_is_shared_by_its_id(api, namespace):
    pk = insert_insight(namespace, DEPLOY_TEXT, "web")
    assert search_from_project(api, "api", "deploys") == []
    told = share_insight(api, insight_id=pk, source_project="shop", workflow_id="nightly")
    assert (told["memory"]["id"], told["projects"]) == (pk, ["web", "shop", "api"])
    assert told["memory"]["metadata"] == {"share_type": "dependency_aware", "shared_with": ["api"]}
    assert told["memory"]["workflow_id"] == "nightly"
    [hit] = search_from_project(api, "api", "deploys")
    assert hit["memory"]["id"] == pk


@pytest.mark.parametrize("before", ["api", {"api": 1}, 7, None, ["x", {"y": 1}]], ids=str)
def test_metadata_of_the_callers_own_stays_and_does_no_harm(api, namespace, before):
    pk = insert_insight(namespace, DEPLOY_TEXT, "web")
    api.patch(f"/memories/{pk}", {"metadata": {"shared_with": before, "mine": True}})
    metadata = share_insight(api, insight_id=pk)["memory"]["metadata"]
    assert metadata == {"mine": True, "share_type": "dependency_aware", "shared_with": ["api"]}


def test_names_that_look_secret_are_masked(api, namespace):
    told = share_insight(api, source_project=SECRET_PROJECT, target_projects=["api", f"{SECRET_PROJECT}-2"])
    assert told["projects"] == [redact_project_name(SECRET_PROJECT), "api", redact_project_name(f"{SECRET_PROJECT}-2")]
    assert told["memory"]["metadata"]["shared_with"] == ["api", redact_project_name(f"{SECRET_PROJECT}-2")]
    [hit] = search_from_project(api, f"{SECRET_PROJECT}-2", "deploys")
    assert hit["memory"]["id"] == told["memory"]["id"]


def test_an_insight_has_sixty_four_projects_at_most(api, namespace):
    pk = insert_insight(namespace, DEPLOY_TEXT, *(f"project {n}" for n in range(60)))
    told = share_insight(api, insight_id=pk, target_projects=["a", "b", "c", "d"])
    assert len(told["projects"]) == 64
    assert share_insight(api, insight_id=pk, target_projects=["d"])["projects"] == told["projects"]
    for response in (post_share(api, insight_id=pk, target_projects=["e"]), post_share(api, target_projects=["e"])):
        assert is_problem(response, 422)
        assert list_blamed_fields(response) == {"target_projects"}
    assert Insight.objects.get().projects == told["projects"]
    assert Memory.objects.get().metadata["shared_with"] == ["a", "b", "c", "d"]


def test_a_text_that_would_have_too_many_is_not_kept(api):
    assert is_problem(post_share(api, source_project="web", target_projects=[f"project {n}" for n in range(64)]), 422)
    assert not Memory.objects.exists()


def test_only_living_insights_of_this_namespace_are_shared(api, outsider, namespace):
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
def test_what_cannot_be_shared_is_refused(api, wrong):
    response = api.post("/projects/share", {"insight": DEPLOY_TEXT, "target_projects": ["api"]} | wrong)
    assert is_problem(response, 422)
    assert not Memory.objects.exists()


def test_who_may_only_read_shares_nothing(reader):
    assert is_problem(post_share(reader), 403)


@pytest.mark.django_db(transaction=True)
def test_all_who_share_at_once_are_heard(api, namespace):
    pk = share_insight(api, source_project="web")["memory"]["id"]
    calls = [lambda n=n: share_insight(api, insight_id=pk, target_projects=[f"by id {n}"]) for n in range(4)]
    calls += [lambda n=n: share_insight(api, target_projects=[f"by text {n}"]) for n in range(4)]
    run_at_once(calls)
    everyone = {f"by {how} {n}" for how in ("id", "text") for n in range(4)}
    assert set(Insight.objects.get().projects) == {"web", "api"} | everyone
    assert set(Memory.objects.get().metadata["shared_with"]) == {"api"} | everyone
