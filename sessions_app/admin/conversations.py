"""The console's pages of conversations and their messages. They are read here, and deleted, never changed."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.core.paginator import Page, Paginator
from django.db import connection, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Left
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from memory_site.core.admin.base import CappedChangeList, NoLookupAdmin
from memory_site.core.admin.filters import ExactFilter, build_like_pattern
from memory_site.core.admin.formatting import format_datetime, format_number, render_json, render_two_lines, truncate
from sessions_app.admin.shared import NamespaceFilter, build_text_block, get_session_url, select_live_session_pk
from sessions_app.models import Conversation, Message

MAX_SUBJECT_LENGTH = 160
MESSAGES_PER_PAGE = 100
#: How far a search looks: no index holds the words of messages, and there may be millions of them.
MAX_SEARCHED_CONVERSATIONS, MAX_SEARCHED_MESSAGES, MAX_SEARCHED_CHARACTERS = 1_000, 100, 10_000
MAX_SEARCH_WORDS = 10
TOO_MANY_WORDS = f"Only the first {MAX_SEARCH_WORDS} words were searched for."
# Every word must stand in one text: in summary and topics together, or in one message.
SEARCH_CONVERSATIONS_SQL = f"""
SELECT id FROM ({{newest}}) newest
WHERE concat_ws(' ', summary, array_to_string(topics, ' ')) ILIKE ALL (%s::text[]) OR EXISTS (
    SELECT FROM (
        SELECT left(content, {MAX_SEARCHED_CHARACTERS}) AS beginning FROM sessions_app_message
        WHERE conversation_id = newest.id ORDER BY created_at DESC, id DESC LIMIT {MAX_SEARCHED_MESSAGES}
    ) said WHERE beginning ILIKE ALL (%s::text[])
)
"""
OPEN_BADGE = mark_safe('<span class="spoken-open">open</span>')
DURATION_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def format_duration(seconds: float) -> str:
    """A duration in its two largest units: "3 min 20 s"."""
    rest, parts = round(seconds), []
    for unit, length in DURATION_UNITS:
        number, rest = divmod(rest, length)
        parts.append((number, unit))
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number) or "0 s"


def search_conversations(conversations: QuerySet, words: list[str]) -> list:
    """The keys of those among the newest of these conversations that hold all the words."""
    newest = conversations.order_by("-started_at", "-id").values("id", "summary", "topics")[:MAX_SEARCHED_CONVERSATIONS]
    sql, parameters = newest.query.sql_with_params()
    patterns = [build_like_pattern(word) for word in words]
    with connection.cursor() as cursor:
        cursor.execute(SEARCH_CONVERSATIONS_SQL.format(newest=sql), [*parameters, patterns, patterns])
        return [pk for (pk,) in cursor]


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


class UserFilter(ExactFilter):
    title, parameter_name = "user", "user_id"


class SessionFilter(ExactFilter):
    title, parameter_name = "session", "session_id"


class ConversationChangeList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Narrow rows: the beginning of the summary or, without one, of what was said first."""
        first = Message.objects.filter(conversation=OuterRef("pk")).order_by("created_at", "id")
        words = Subquery(first.values(beginning=Left("content", MAX_SUBJECT_LENGTH))[:1])
        self.queryset = self.queryset.annotate(beginning=Coalesce(Left("summary", MAX_SUBJECT_LENGTH), words)).defer(
            "summary"
        )
        super().get_results(request)


@admin.register(Conversation)
class ConversationAdmin(NoLookupAdmin):
    list_display = ("subject", "namespace", "user_id", "session_id", "said", "started", "duration")
    list_display_links = ("subject",)
    list_select_related = ("namespace",)
    list_filter = (NamespaceFilter, StateFilter, UserFilter, SessionFilter)
    list_before_template = "admin/sessions_app/conversation/list_intro.html"
    ordering = ("-started_at", "-id")
    sortable_by = ()
    search_fields = ("summary",)  # shows the box; get_search_results says what it does
    search_help_text = f"Words in the newest {format_number(MAX_SEARCHED_CONVERSATIONS)} conversations"
    compressed_fields = False
    fields = (
        "summary",
        ("namespace", "user_id", "session"),
        ("started", "ended", "duration"),
        ("said", "importance", "about"),
        "details",
    )
    readonly_fields = tuple(flatten(fields))
    change_form_outer_after_template = "admin/sessions_app/conversation/messages.html"
    delete_confirmation_template = "admin/sessions_app/conversation/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/sessions_app/conversation/delete_selected_confirmation.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return Conversation.objects.select_related("namespace").annotate(
            session_pk=select_live_session_pk("session_id")
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
        return (
            queryset.filter(pk__in=search_conversations(queryset, words[:MAX_SEARCH_WORDS])) if words else queryset
        ), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return False

    @display(description="conversation")
    def subject(self, conversation: Conversation) -> SafeString:
        text = truncate(conversation.beginning or "Nothing was said yet", MAX_SUBJECT_LENGTH - 1)
        return render_two_lines(text)

    @display(description="messages")
    def said(self, conversation: Conversation) -> str:
        return format_number(conversation.message_count)

    @display(description="started")
    def started(self, conversation: Conversation) -> SafeString | None:
        return format_datetime(conversation.started_at)

    @display(description="ended", empty_value="not yet")
    def ended(self, conversation: Conversation) -> SafeString | None:
        return format_datetime(conversation.ended_at)

    @display(description="duration")
    def duration(self, conversation: Conversation) -> SafeString | str:
        """Unbreakable: a number alone on a line says nothing."""
        if conversation.duration_seconds is None:
            return OPEN_BADGE
        return format_html('<span class="whitespace-nowrap">{}</span>', format_duration(conversation.duration_seconds))

    @display(description="topics", empty_value="-")
    def about(self, conversation: Conversation) -> SafeString | None:
        return format_html_join(" ", '<span class="memory-link">{}</span>', ((each,) for each in conversation.topics))

    @display(description="session", empty_value="-")
    def session(self, conversation: Conversation) -> SafeString | str | None:
        """With a way to its history, while that is there."""
        name, pk = conversation.session_id, conversation.session_pk
        if pk is None:
            return name and f"{name} (its history is over)"
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
        """With its messages, by the database's own cascade, which Django knows nothing of."""
        conversations = list(objs)
        messages = Message.objects.filter(conversation__in=[each.pk for each in conversations]).count()
        shown = [truncate(str(each), 120) for each in conversations]
        return shown, {"conversations": len(shown), "messages": messages}, set(), []

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        self.delete_queryset(request, Conversation.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        """All of it or nothing, however long it takes: the web server's usual limit would stop it half way."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            queryset.delete()


def paginate_messages(conversation: Conversation, number: str | None) -> Page:
    """In the order they were said; a number that cannot be one gives the nearest page."""
    said = Message.objects.filter(conversation=conversation.pk).defer("metadata").order_by("created_at", "id")
    return Paginator(said, MESSAGES_PER_PAGE).get_page(number)


def build_message_block(message: Message) -> dict[str, Any]:
    at = f"{message.created_at:%Y-%m-%d %H:%M:%S}"
    return build_text_block(message.role, message.content, at, agent=message.agent_id, memory_id=message.memory_id)
