"""Console pages of API keys, sessions, session links and conversations."""

from sessions_app.admin.access import ApiKeyAdmin as ApiKeyAdmin
from sessions_app.admin.conversations import ConversationAdmin as ConversationAdmin
from sessions_app.admin.session_links import SessionLinkAdmin as SessionLinkAdmin
from sessions_app.admin.sessions import SessionAdmin as SessionAdmin
