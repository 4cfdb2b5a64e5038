"""Contextual knowledge: what an agent should have in mind before it answers, in six statements at most."""

from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from memories.knowledge.clusters import CLUSTER_COLUMNS, to_cluster_out
from memories.knowledge.models import Cluster, Preference
from memories.knowledge.schemas.context import ContextualIn
from memories.knowledge.schemas.preferences import PREFERENCE_COLUMNS
from memories.models import NEWEST_FIRST
from memories.retrieval.recall import RECALL_RANKING
from memories.search.execute import find_memories
from memories.search.filters import Filters
from memories.search.query import Search
from memory_site.core.http.fields import Label
from sessions_app.models import Conversation, Message
from sessions_app.schemas.conversations import MESSAGE_COLUMNS

MAX_CONTEXT_PREFERENCES, MAX_CONTEXT_MESSAGES, MAX_CONTEXT_CLUSTERS = 100, 5, 5
#: Of the clusters that share a word with the query the newest are weighed.
MAX_CANDIDATE_CLUSTERS = 1_000


def build_user_or_shared_filter(user_id: str) -> Q:
    return Q(user_id=None) | Q(user_id=user_id)


class UserOrSharedFilters(Filters):
    """A user's own memories, and what is known without being anybody's."""

    whose: Label

    def labels(self) -> "UserOrSharedFilters":
        """An embedding row knows its user too."""
        return self

    def _each(self):
        yield from super()._each()
        yield build_user_or_shared_filter(self.whose)


def build_context(namespace_id: int, asked: ContextualIn, vector: Any, model: str | None) -> dict[str, Any] | None:
    """ContextualOut but for `degraded`. None when the conversation asked for is not there, or another user's."""
    conversation = find_conversation(namespace_id, asked)
    if asked.conversation_id is not None and conversation is None:
        return None
    conversation_id, spoke = conversation or (None, None)
    user_id = asked.user_id or spoke
    search = Search(asked.query, vector, model, asked.limit, ranking=RECALL_RANKING)
    return {
        "context_type": asked.context_type,
        "time": timezone.now(),
        "memories": find_memories(namespace_id, user_id and UserOrSharedFilters(whose=user_id), search),
        "preferences": fetch_preferences(namespace_id, user_id) if user_id else [],
        "messages": fetch_last_messages(namespace_id, conversation_id) if conversation_id else [],
        "clusters": fetch_clusters(namespace_id, asked.query, user_id),
    }


def find_conversation(namespace_id: int, asked: ContextualIn) -> tuple | None:
    """Id and user of the conversation that is named, or else the newest of the session, or else of the user."""
    rows = Conversation.objects.in_namespace(namespace_id)
    if asked.conversation_id is not None:
        rows = rows.filter(pk=asked.conversation_id)
    elif asked.session_id is not None:
        rows = rows.filter(session_id=asked.session_id)
    elif asked.user_id is not None:
        return fetch_newest(rows.filter(user_id=asked.user_id))
    else:
        return None
    return fetch_newest(rows if asked.user_id is None else rows.filter(build_user_or_shared_filter(asked.user_id)))


def fetch_newest(conversations: QuerySet) -> tuple | None:
    return conversations.order_by("-started_at", "-id").values_list("id", "user_id").first()


def fetch_preferences(namespace_id: int, user_id: str) -> list[dict[str, Any]]:
    rows = Preference.objects.in_namespace(namespace_id).filter(user_id=user_id)
    return list(rows.order_by("-updated_at", "-id").values(*PREFERENCE_COLUMNS)[:MAX_CONTEXT_PREFERENCES])


def fetch_last_messages(namespace_id: int, conversation_id: Any) -> list[dict[str, Any]]:
    rows = Message.objects.in_namespace(namespace_id).filter(conversation_id=conversation_id)
    return list(rows.order_by("-created_at", "-id").values(*MESSAGE_COLUMNS)[:MAX_CONTEXT_MESSAGES])[::-1]


def fetch_clusters(namespace_id: int, query: str, user_id: str | None) -> list[dict[str, Any]]:
    """With a user, those of his memories and nobody's alone: the tags of somebody else's are not for him."""
    matching = Cluster.objects.filter(namespace_id=namespace_id).matching_words(query).order_by(*NEWEST_FIRST)
    rows = Cluster.objects.in_namespace(namespace_id).filter(pk__in=matching.values("pk")[:MAX_CANDIDATE_CLUSTERS])
    if user_id is not None:
        rows = rows.with_member_matching(build_user_or_shared_filter(user_id))
    rows = rows.with_importance().with_members()
    foremost = rows.order_by("-importance_score", "-id").values(*CLUSTER_COLUMNS)[:MAX_CONTEXT_CLUSTERS]
    return [to_cluster_out(row) for row in foremost]
