"""Namespaces and API keys (access), expiring histories (sessions), permanent histories (conversations)."""

from sessions_app.models.access import KEY_PREFIX as KEY_PREFIX
from sessions_app.models.access import READ as READ
from sessions_app.models.access import SCOPES as SCOPES
from sessions_app.models.access import WRITE as WRITE
from sessions_app.models.access import ApiKey as ApiKey
from sessions_app.models.access import Caller as Caller
from sessions_app.models.access import IdempotentAnswer as IdempotentAnswer
from sessions_app.models.access import KeyNotRotated as KeyNotRotated
from sessions_app.models.access import Namespace as Namespace
from sessions_app.models.access import hash_token as hash_token
from sessions_app.models.access import namespace_key as namespace_key
from sessions_app.models.conversations import Conversation as Conversation
from sessions_app.models.conversations import Message as Message
from sessions_app.models.erasures import ErasedNamespace as ErasedNamespace
from sessions_app.models.sessions import SessionLink as SessionLink
from sessions_app.models.sessions import SessionMemory as SessionMemory
