"""Context for an agent's next answer, fetched in at most six statements."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from memories.knowledge.clusters import CLUSTER_COLUMNS, to_cluster_out
from memories.knowledge.models import EVERY_MEMBER, Cluster, Preference
from memories.knowledge.schemas.context import ContextualIn
from memories.knowledge.schemas.preferences import PREFERENCE_COLUMNS
from memories.models import NEWEST_FIRST
from memories.retrieval.recall import RECALL_RANKING
from memories.search.execute import TimedSearch
from memories.search.filters import Filters
from memory_site.core.http.fields import Label
from sessions_app.models import Conversation, Message
from sessions_app.schemas.conversations import MESSAGE_COLUMNS

MAX_CONTEXT_PREFERENCES, MAX_CONTEXT_MESSAGES, MAX_CONTEXT_CLUSTERS = 100, 5, 5
#: Importance is computed only for the newest clusters that share a word with the query.
MAX_CANDIDATE_CLUSTERS = 1_000


def build_user_or_shared_filter(user_id: str) -> Q:
    return Q(user_id=None) | Q(user_id=user_id)


class UserOrSharedFilters(Filters):
    """A user's own memories, and those without a user; with other conditions that hold for both."""

    owner: Label

    def labels(self) -> "UserOrSharedFilters":
        """Return all conditions: an embedding row has its user_id as well."""
        return self

    def iter_conditions(self) -> Iterator[Q]:
        yield from super().iter_conditions()
        yield build_user_or_shared_filter(self.owner)


def build_context(namespace_id: int, request: ContextualIn, search: TimedSearch) -> dict[str, Any] | None:
    """Return the fields of ContextualOut except those that the search reports, or None.

    None means that the conversation does not exist or belongs to another user.
    """
    conversation = find_conversation(namespace_id, request)
    if request.conversation_id is not None and conversation is None:
        return None
    conversation_id, conversation_user = conversation or (None, None)
    user_id = request.user_id or conversation_user
    return {
        "context_type": request.context_type,
        "time": timezone.now(),
        "memories": search.find(namespace_id, build_filters(request, user_id), ranking=RECALL_RANKING),
        "preferences": fetch_preferences(namespace_id, user_id) if user_id else [],
        "messages": fetch_last_messages(namespace_id, conversation_id) if conversation_id else [],
        "clusters": fetch_clusters(namespace_id, request.query, build_owner_filter(request, user_id)),
    }


def build_filters(request: ContextualIn, user_id: str | None) -> Filters | None:
    if user_id and request.shared:
        return UserOrSharedFilters(owner=user_id, repo_id=request.repo_id)
    return Filters(user_id=user_id, repo_id=request.repo_id) if user_id or request.repo_id else None


def build_owner_filter(request: ContextualIn, user_id: str | None) -> Q | None:
    """Return the condition on what a user may see, None for everything."""
    if user_id is None:
        return None
    return build_user_or_shared_filter(user_id) if request.shared else Q(user_id=user_id)


def find_conversation(namespace_id: int, request: ContextualIn) -> tuple[UUID, str | None] | None:
    """Return id and user of the named conversation, else of the session's newest, else of the user's newest."""
    rows = Conversation.objects.in_namespace(namespace_id)
    if request.conversation_id is not None:
        rows = rows.filter(pk=request.conversation_id)
    elif request.session_id is not None:
        rows = rows.filter(session_id=request.session_id)
    elif request.user_id is not None:
        return fetch_newest(rows.filter(user_id=request.user_id))
    else:
        return None
    visible = build_owner_filter(request, request.user_id)
    return fetch_newest(rows if visible is None else rows.filter(visible))


def fetch_newest(conversations: QuerySet) -> tuple[UUID, str | None] | None:
    return conversations.order_by("-started_at", "-id").values_list("id", "user_id").first()


def fetch_preferences(namespace_id: int, user_id: str) -> list[dict[str, Any]]:
    rows = Preference.objects.in_namespace(namespace_id).filter(user_id=user_id)
    return list(rows.order_by("-updated_at", "-id").values(*PREFERENCE_COLUMNS)[:MAX_CONTEXT_PREFERENCES])


def fetch_last_messages(namespace_id: int, conversation_id: Any) -> list[dict[str, Any]]:
    rows = Message.objects.in_namespace(namespace_id).filter(conversation_id=conversation_id)
    return list(rows.order_by("-created_at", "-id").values(*MESSAGE_COLUMNS)[:MAX_CONTEXT_MESSAGES])[::-1]


def fetch_clusters(namespace_id: int, query: str, visible: Q | None) -> list[dict[str, Any]]:
    """Return the most important clusters that share a word with the query.

    For a user, only what is visible counts as a member: the tags of other users' memories stay hidden.
    """
    matching = Cluster.objects.filter(namespace_id=namespace_id).matching_words(query).order_by(*NEWEST_FIRST)
    rows = Cluster.objects.in_namespace(namespace_id).filter(pk__in=matching.values("pk")[:MAX_CANDIDATE_CLUSTERS])
    condition = EVERY_MEMBER
    if visible is not None:
        condition = visible
        rows = rows.with_any_member(namespace_id, condition)
    rows = rows.with_importance(namespace_id, condition).with_members(namespace_id, condition)
    top = rows.order_by(F("importance_score").desc(), "-id").values(*CLUSTER_COLUMNS)[:MAX_CONTEXT_CLUSTERS]
    return [to_cluster_out(row) for row in top]
