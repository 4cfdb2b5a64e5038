"""Console pages of conversations and their messages, which can be read and deleted but not changed."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.core.paginator import Page, Paginator
from django.db import connection, transaction
from django.db.models import Exists, Func, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Coalesce, Left
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from memory_site.core.admin.base import CappedChangeList, NoLookupAdmin
from memory_site.core.admin.filters import ExactFilter, UserFilter
from memory_site.core.admin.formatting import (
    format_datetime,
    format_duration,
    format_number,
    render_json,
    render_two_lines,
    truncate,
)
from sessions_app.admin.namespaces import NamespaceFilter
from sessions_app.admin.session_urls import get_session_url, has_session, select_live_session_pk
from sessions_app.admin.text_blocks import build_text_block
from sessions_app.models import Conversation, Message

MAX_SUBJECT_LENGTH = 160
MESSAGES_PER_PAGE = 100
#: Limits of a search: no index covers the words of messages, and there may be millions of messages.
MAX_SEARCHED_CONVERSATIONS, MAX_SEARCHED_MESSAGES, MAX_SEARCHED_CHARACTERS = 1_000, 100, 10_000
MAX_SEARCH_WORDS = 10
TOO_MANY_WORDS = f"Only the first {MAX_SEARCH_WORDS} words were searched for."
OPEN_BADGE = mark_safe('<span class="spoken-open">open</span>')


def search_conversations(conversations: QuerySet, words: list[str]) -> list[UUID]:
    """Return the ids of those among the newest of these conversations that contain all words in one text.

    A text is summary and topics together, or the beginning of one of the last messages. A list, so that counting the
    results and reading a page of them do not repeat the search.
    """
    newest = conversations.order_by("-started_at", "-id").values("pk")[:MAX_SEARCHED_CONVERSATIONS]
    topics = Func("topics", Value(" "), function="array_to_string", output_field=TextField())
    summary_and_topics = Func(Value(" "), "summary", topics, function="concat_ws", output_field=TextField())
    matches = contains_all("summary_and_topics", words) | Exists(search_messages(words))
    searched = Conversation.objects.filter(pk__in=newest).annotate(summary_and_topics=summary_and_topics)
    return list(searched.filter(matches).values_list("pk", flat=True))


def search_messages(words: list[str]) -> QuerySet:
    """Return the messages of the outer query's conversation, among the last ones, that begin with all words."""
    newest = Message.objects.filter(conversation=OuterRef(OuterRef("pk"))).order_by("-created_at", "-id")
    beginnings = Message.objects.annotate(beginning=Left("content", MAX_SEARCHED_CHARACTERS))
    return beginnings.filter(contains_all("beginning", words), pk__in=newest.values("pk")[:MAX_SEARCHED_MESSAGES])


def contains_all(field: str, words: list[str]) -> Q:
    return Q(*(Q(**{f"{field}__icontains": word}) for word in words))


class StateFilter(DropdownFilter):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [("open", "open"), ("ended", "ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        match self.value():
            case "open":
                return queryset.filter(ended_at=None)
            case "ended":
                return queryset.exclude(ended_at=None)
        return queryset


class SessionFilter(ExactFilter):
    title, parameter_name = "session", "session_id"


class ConversationChangeList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Read only the beginning of the summary or, without a summary, of the first message."""
        first = Message.objects.filter(conversation=OuterRef("pk")).order_by("created_at", "id")
        first_words = Subquery(first.values(beginning=Left("content", MAX_SUBJECT_LENGTH))[:1])
        beginning = Coalesce(Left("summary", MAX_SUBJECT_LENGTH), first_words)
        self.queryset = self.queryset.annotate(beginning=beginning).defer("summary")
        super().get_results(request)


@admin.register(Conversation)
class ConversationAdmin(NoLookupAdmin):
    empty_text = "API clients start conversations and add their messages."
    list_display = ("subject", "namespace", "user_id", "session_id", "message_total", "started", "duration")
    list_display_links = ("subject",)
    list_select_related = ("namespace",)
    list_filter = (NamespaceFilter, StateFilter, UserFilter, SessionFilter)
    list_before_template = "admin/sessions_app/conversation/list_intro.html"
    ordering = ("-started_at", "-id")
    search_fields = ("summary",)  # shows the search box; see get_search_results
    search_help_text = f"Words in the newest {format_number(MAX_SEARCHED_CONVERSATIONS)} conversations"
    compressed_fields = False
    fields = (
        "summary",
        ("namespace", "user_id", "session"),
        ("started", "ended", "duration"),
        ("message_total", "importance", "topic_labels"),
        "details",
    )
    readonly_fields = tuple(flatten(fields))
    change_form_outer_after_template = "admin/sessions_app/conversation/messages.html"
    delete_confirmation_template = "admin/sessions_app/conversation/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/sessions_app/conversation/delete_selected_confirmation.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return Conversation.objects.select_related("namespace").annotate(
            session_pk=select_live_session_pk("session_id"), has_session=has_session("session_id")
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ConversationChangeList]:
        return ConversationChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        limits = {
            "searched": format_number(MAX_SEARCHED_CONVERSATIONS),
            "messages_searched": MAX_SEARCHED_MESSAGES,
            "characters_searched": format_number(MAX_SEARCHED_CHARACTERS),
        }
        return super().changelist_view(request, limits | (extra_context or {}))

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        words = search_term.split()
        if len(words) > MAX_SEARCH_WORDS:
            messages.warning(request, TOO_MANY_WORDS)
        if words:
            queryset = queryset.filter(pk__in=search_conversations(queryset, words[:MAX_SEARCH_WORDS]))
        return queryset, False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return False

    @display(description="conversation", ordering="summary")
    def subject(self, conversation: Conversation) -> SafeString:
        text = truncate(conversation.beginning or "No messages yet", MAX_SUBJECT_LENGTH - 1)
        return render_two_lines(text)

    @display(description="messages", ordering="message_count")
    def message_total(self, conversation: Conversation) -> str:
        return format_number(conversation.message_count)

    @display(description="started", ordering="started_at")
    def started(self, conversation: Conversation) -> SafeString | None:
        return format_datetime(conversation.started_at)

    @display(description="ended", empty_value="not yet")
    def ended(self, conversation: Conversation) -> SafeString | None:
        return format_datetime(conversation.ended_at)

    @display(description="duration", ordering="duration_seconds")
    def duration(self, conversation: Conversation) -> SafeString | str:
        """Return the duration without a line break between number and unit."""
        if conversation.duration_seconds is None:
            return OPEN_BADGE
        return format_html('<span class="whitespace-nowrap">{}</span>', format_duration(conversation.duration_seconds))

    @display(description="topics", empty_value="-")
    def topic_labels(self, conversation: Conversation) -> SafeString | None:
        return format_html_join(" ", '<span class="memory-link">{}</span>', ((each,) for each in conversation.topics))

    @display(description="session", empty_value="-")
    def session(self, conversation: Conversation) -> SafeString | str | None:
        """Return the session id, as a link to a session that exists and has not expired.

        Most conversations have none: `POST /messages` stores no session.
        """
        name, pk = conversation.session_id, conversation.session_pk
        if pk is None:
            return f"{name} (expired)" if conversation.has_session else name
        return format_html('<a href="{}" class="underline">{}</a>', get_session_url(pk), name)

    @display(description="metadata")
    def details(self, conversation: Conversation) -> SafeString:
        return render_json(conversation.metadata)

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        if conversation := kwargs.get("obj"):
            page = paginate_messages(conversation, request.GET.get("page"))
            context |= {"page": page, "blocks": [build_message_block(message) for message in page]}
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        """Count the messages too: the database deletes them by its own cascade, which Django does not know."""
        conversations = list(objs)
        messages = Message.objects.filter(conversation__in=[each.pk for each in conversations]).count()
        shown = [truncate(str(each), 120) for each in conversations]
        return shown, {"conversations": len(shown), "messages": messages}, set(), []

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        self.delete_queryset(request, Conversation.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Delete all in one transaction, without the usual statement timeout."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            queryset.delete()


def paginate_messages(conversation: Conversation, number: str | None) -> Page:
    """Return a page of messages, oldest first. An invalid number gives the nearest page."""
    messages = Message.objects.filter(conversation=conversation.pk).defer("metadata").order_by("created_at", "id")
    return Paginator(messages, MESSAGES_PER_PAGE).get_page(number)


def build_message_block(message: Message) -> dict[str, Any]:
    at = f"{message.created_at:%Y-%m-%d %H:%M:%S}"
    return build_text_block(message.role, message.content, at, agent=message.agent_id, memory_id=message.memory_id)
