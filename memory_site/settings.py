"""Every setting, read from the environment. No other module reads the environment.

Invalid values raise one `SettingsError` that lists all of them; a blank value means the default.
"""

import base64
import os
import re
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from celery.schedules import crontab
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from dotenv import dotenv_values
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from memory_site.core.logs.setup import FORMATS, build_logging
from memory_site.embedded.data_dir import DataDirectory

BASE_DIR = Path(__file__).resolve().parent.parent
EMBEDDERS = {
    "onnx": "memories.embeddings.onnx.OnnxEmbedder",
    "multilingual": "memories.embeddings.multilingual.MultilingualEmbedder",
    "ollama": "memories.embeddings.ollama.OllamaEmbedder",
    "openai": "memories.embeddings.openai.OpenAIEmbedder",
    "hashing": "memories.embeddings.hashing.HashingEmbedder",
}
#: Set for scratch sites, which must not learn of the real one: they read no .env.
SCRATCH_VARIABLE = "SCRATCH_SITE"
ENV_FILE = None if os.environ.get(SCRATCH_VARIABLE) else BASE_DIR / ".env"
SPLITTERS = {
    "semantic": "ingestion.splitters.semantic.split_into_pieces",
    "llamaindex": "ingestion.splitters.llamaindex.split_into_pieces",
}
CONSISTENCIES = ("strong", "eventual")
CONSOLE_TOTP_CHOICES = ("optional", "required")
BACKUP_KEY_BYTES = 32
#: Connections available to the web server, of the 60 that the embedded PostgreSQL allows.
EMBEDDED_CONNECTIONS = 45
DEFAULT_MODELS = {
    "onnx": "all-MiniLM-L6-v2-int8",
    "multilingual": "multilingual-e5-small-q4",
    "ollama": "nomic-embed-text",
    "openai": "text-embedding-3-small",
    "hashing": "hashing-1",
}


class SettingsError(ImproperlyConfigured):
    """Raised for invalid environment variables; the message lists all of them."""


class Environment(BaseSettings):
    """The supported variables; field names are their names in lower case.

    The `#:` comment above each field becomes its text in docs/configuration.md (`make docs`).
    """

    model_config = SettingsConfigDict(env_file=ENV_FILE, env_ignore_empty=True, extra="ignore")

    #: PostgreSQL address, such as `postgresql://user:password@host/database`. With several hosts the site follows a
    #: failover: `postgresql://user:password@host1,host2/database?target_session_attrs=read-write`. When neither this
    #: nor `MEMORY_PG_HOST` is set, the site runs in embedded mode and starts its own PostgreSQL and broker.
    database_url: str | None = None
    #: PostgreSQL host, an alternative to `DATABASE_URL`. Ignored when `DATABASE_URL` is set, like the four below.
    memory_pg_host: str | None = None
    #: PostgreSQL port.
    memory_pg_port: int = Field(5432, ge=1, le=65535)
    #: Database name.
    memory_pg_database: str = "memory"
    #: Database user.
    memory_pg_user: str = "memory"
    #: Database password.
    memory_pg_password: str = ""
    #: Addresses of hot standbys that may be read, separated by commas. A comma inside an address separates its hosts: a
    #: new address begins with `postgresql://`. See docs/scaling/replicas.md.
    database_replica_urls: str = ""
    #: Seconds that the data of a replica may be old. One that is further behind is not read.
    database_replica_max_lag: float = Field(5, ge=1, le=3600)
    #: What a request without `X-Consistency` gets: `strong` reads the primary, `eventual` lets searches, lists, context
    #: and pages of the console read a replica.
    default_consistency: str = "strong"
    #: Share database connections among the threads of a process. The web server switches this on for itself. Commands
    #: and workers open their own connections, so that they notice a dead database at once.
    pg_pool: bool = False
    #: Maximum number of database connections of one web process. In embedded mode, `WEB_WORKERS` times this value is
    #: limited to 45.
    pg_pool_size: int = Field(8, ge=1, le=200)
    #: Seconds a request waits for a free connection before it fails with 503.
    pg_pool_timeout: float = Field(30, gt=0, le=600)
    #: Seconds one SQL statement may take in a command or worker; 0 means no limit. The web server sets 10 for itself
    #: unless its process environment says otherwise.
    statement_timeout: float = Field(0, ge=0, le=3600)
    #: Candidates of a search by the index of the vectors, pgvector's `hnsw.ef_search`: a higher value finds more and
    #: takes longer. `tune_index` measures which one a store needs.
    hnsw_ef_search: int = Field(200, ge=1, le=1000)
    #: `transaction` when PgBouncer or another pooler in transaction mode stands between the site and PostgreSQL. The
    #: site then sends no settings when it connects: `migrate` and `serve` store them with the database role.
    database_pooler: str | None = None
    #: Address of the same database for the web server alone. Behind a pooler it names a role of its own, with which the
    #: web server's time limits are stored. Default: `DATABASE_URL`.
    web_database_url: str | None = None
    #: Broker address: `redis://`, `rediss://` or `redis+socket://`. Required outside embedded mode.
    redis_url: str | None = None

    #: Django's signing key, 32 characters or more, 50 random ones recommended. Required outside embedded mode; in
    #: embedded mode it is generated and stored in `DATA_DIR`.
    secret_key: str | None = Field(None, min_length=32)
    #: Host names the site answers to, separated by commas.
    allowed_hosts: str = "localhost,127.0.0.1,[::1]"
    #: Origins, separated by commas, whose pages may call `/mcp`, such as `https://chat.example.com`. Pages of the
    #: site's own host may, and what sends no `Origin`, as programs do.
    mcp_allowed_origins: str = ""
    #: Django's debug mode. Never use it in production.
    debug: bool = False
    #: Whether users reach the site over HTTPS. Default: off in embedded mode, on otherwise. When on, cookies are
    #: HTTPS-only, HTTP requests are redirected and HSTS is sent for one year, including subdomains and preload.
    https: bool | None = None
    #: Number of reverse proxies between the clients and the site that set `X-Forwarded-For`. The address of a client is
    #: then the last entry but so many of it; 0 means the address that the connection comes from.
    trusted_proxies: int = Field(0, ge=0, le=10)
    #: Second factor of the console: `optional` lets each account set up one-time passwords, `required` asks every
    #: account for them.
    console_totp: str = "optional"
    #: Directory of the embedded services. A relative path starts at the project directory.
    data_dir: Path = Path(".memory_site")

    #: What computes embeddings: `onnx` (in process, offline, for English), `multilingual` (in process, offline, about
    #: a hundred languages), `ollama`, `openai` (any server with that API) or `hashing` (for tests: no meaning).
    embedder: str = "onnx"
    #: Model name. Default: `all-MiniLM-L6-v2-int8` for onnx, `nomic-embed-text` for ollama, `text-embedding-3-small`
    #: for openai.
    embedding_model: str | None = None
    #: For onnx: a directory with `model.onnx` and `tokenizer.json`.
    embedding_model_dir: Path | None = None
    #: For onnx: the directory of the previous model. It serves searches until `reembed` has finished.
    earlier_embedding_model_dir: Path | None = None
    #: Seconds a claimed memory is reserved for one worker before another may claim it. Raise it for slow remote models.
    embedding_lease: float = Field(60, ge=1, le=3600)
    #: Address of the Ollama server.
    ollama_base_url: str = "http://127.0.0.1:11434"
    #: Model name for ollama, used when `EMBEDDING_MODEL` is not set.
    ollama_model: str | None = None
    #: Address of the OpenAI-compatible server (llama.cpp, vLLM, TEI, LM Studio and others).
    openai_base_url: str = "https://api.openai.com/v1"
    #: API key for that server.
    openai_api_key: str = ""

    #: Hours until a session interaction expires, unless its session has its own time to live.
    memory_ttl_hours: float = Field(24, gt=0, le=100 * 365 * 24)
    #: Maximum number of interactions stored per session; older ones are dropped.
    memory_max_context_length: int = Field(50, ge=1, le=1000)
    #: Fernet keys, separated by commas, that encrypt session histories. The first key encrypts, every key decrypts.
    #: Empty means no encryption.
    session_encryption_keys: str = ""

    #: Absolute paths, separated by commas, from which the API may ingest. Empty means that the API may ingest nothing;
    #: the `ingest` command may read any directory.
    ingestion_roots: str = ""
    #: How documents are split into chunks: `semantic` (by program, Markdown or text structure) or `llamaindex`
    #: (SentenceSplitter; needs the package `llama-index-core`).
    splitter: str = "semantic"

    #: Days after which measurements posted to `/performance` are deleted.
    performance_retention_days: int = Field(90, ge=1, le=36_500)
    #: Days for which what was deleted can be brought back from the trash.
    trash_days: int = Field(7, ge=1, le=3650)
    #: Days for which versions of memories are kept: what stood there before each change and deletion. At least
    #: `TRASH_DAYS`.
    history_retention_days: int = Field(90, ge=1, le=3650)

    #: Whether the console has a page on which accounts with the permission `operations.run_sql` run read-only SQL. See
    #: docs/console.md.
    sql_page: bool = False
    #: Address of the same database for that page, with a role that may read and nothing else. Required with
    #: `DATABASE_URL`; in embedded mode the site makes the role itself.
    sql_page_database_url: str | None = None

    #: Directory of the backups, readable by no other user. A relative path starts at the project directory. Default:
    #: `backups` inside `DATA_DIR` in embedded mode; otherwise there are no backups without it.
    backup_dir: Path | None = None
    #: Address of the same database for backups and restores: a direct connection where `DATABASE_URL` names a pooler,
    #: and a role that may read every row and create databases. Default: `DATABASE_URL`.
    backup_database_url: str | None = None
    #: Keys, separated by commas, that encrypt backups: 32 bytes each in base64. The first key encrypts, every key
    #: decrypts. Empty means no encryption.
    backup_encryption_key: str = ""
    #: Where a copy of each backup goes: a URL of fsspec, such as `s3://bucket/folder` (package `s3fs`),
    #: `gs://bucket/folder` (`gcsfs`), `sftp://user@host/folder` (`paramiko`) or `file:///mnt/other-disk/backups`.
    #: Credentials come from the usual places of these packages, such as `AWS_ACCESS_KEY_ID`.
    backup_target: str | None = None
    #: Days for which every backup is kept.
    backup_retention_days: int = Field(30, ge=1, le=3650)
    #: Calendar weeks for which one verified backup each is kept.
    backup_retention_weeks: int = Field(8, ge=0, le=520)
    #: Calendar months for which one verified backup each is kept.
    backup_retention_months: int = Field(12, ge=0, le=120)

    #: Number of web server processes. Each loads the embedding model when its first query needs it.
    web_workers: int = Field(1, ge=1, le=64)
    #: Seconds for which a request may be expected to wait while others are served. One that would wait longer gets 503
    #: with `Retry-After` before its body is read.
    web_max_wait: float = Field(5, gt=0, le=60)
    #: Directory in which the processes of this machine count for `/metrics`. Default: `metrics` in `DATA_DIR` in
    #: embedded mode, else a temporary directory of each `serve`. Containers that share a volume share their counters.
    prometheus_multiproc_dir: Path | None = None
    #: Port on which a worker shows what the processes of its machine count, where no web server runs. 0: none.
    metrics_port: int = Field(0, ge=0, le=65535)
    #: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    log_level: str = "INFO"
    #: `text` for people, or `json`: one JSON object a line, and a line for each finished request and task. See
    #: docs/operations/logs-and-traces.md.
    log_format: str = "text"
    #: Address of an OpenTelemetry receiver that speaks OTLP over HTTP, such as `http://collector:4318`. Web server and
    #: worker then send it traces and durations; other `OTEL_` variables apply too. Needs `memory-site[otel]`.
    otel_exporter_otlp_endpoint: str | None = None

    @field_validator("embedder")
    @classmethod
    def check_embedder(cls, value: str) -> str:
        if value not in EMBEDDERS:
            raise ValueError(f"must be one of {', '.join(EMBEDDERS)}")
        return value

    @field_validator("splitter")
    @classmethod
    def check_splitter(cls, value: str) -> str:
        if value not in SPLITTERS:
            raise ValueError(f"must be one of {', '.join(SPLITTERS)}")
        if value == "llamaindex" and not is_installed("llama_index.core"):
            raise ValueError("llamaindex needs the package llama-index-core, which is not installed")
        return value

    @field_validator("log_level")
    @classmethod
    def check_log_level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
            raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return value.upper()

    @field_validator("log_format")
    @classmethod
    def check_log_format(cls, value: str) -> str:
        if value.lower() not in FORMATS:
            raise ValueError(f"must be {' or '.join(FORMATS)}")
        return value.lower()

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def check_otel_exporter_otlp_endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        if not is_installed("opentelemetry.exporter.otlp.proto.http"):
            raise ValueError('needs packages that are not installed: pip install "memory-site[otel]"')
        return value

    @field_validator("console_totp")
    @classmethod
    def check_console_totp(cls, value: str) -> str:
        if value not in CONSOLE_TOTP_CHOICES:
            raise ValueError(f"must be {' or '.join(CONSOLE_TOTP_CHOICES)}")
        return value

    @field_validator("ingestion_roots")
    @classmethod
    def check_ingestion_roots(cls, value: str) -> str:
        if wrong := [part for part in split_list(value) if not Path(part).is_absolute()]:
            raise ValueError(f"must be absolute paths, and {', '.join(wrong)} is not")
        return value

    @field_validator("session_encryption_keys")
    @classmethod
    def check_encryption_keys(cls, value: str) -> str:
        try:
            [Fernet(key) for key in split_list(value)]
        except ValueError as error:
            raise ValueError("must be Fernet keys: 32 bytes each in URL-safe base64, separated by commas") from error
        return value

    @field_validator("history_retention_days")
    @classmethod
    def check_history_retention_days(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("trash_days", 1):
            raise ValueError("must be at least TRASH_DAYS: the trash is the newest part of the history")
        return value

    @field_validator("database_pooler")
    @classmethod
    def check_database_pooler(cls, value: str | None) -> str | None:
        if value not in (None, "transaction"):
            raise ValueError("must be transaction, or empty when nothing stands between the site and PostgreSQL")
        return value

    @field_validator("default_consistency")
    @classmethod
    def check_default_consistency(cls, value: str) -> str:
        if value not in CONSISTENCIES:
            raise ValueError(f"must be one of {', '.join(CONSISTENCIES)}")
        return value

    @field_validator("backup_target")
    @classmethod
    def check_backup_target(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", value) is None:
            raise ValueError("must be a URL, such as s3://bucket/folder or file:///mnt/backups")
        return value

    @field_validator("backup_encryption_key")
    @classmethod
    def check_backup_encryption_key(cls, value: str) -> str:
        if any(len(decode_base64(key)) != BACKUP_KEY_BYTES for key in split_list(value)):
            raise ValueError("must be keys of 32 bytes each in base64, separated by commas")
        return value

    @field_validator("database_url", "web_database_url", "backup_database_url", "sql_page_database_url")
    @classmethod
    def check_database_url(cls, value: str | None) -> str | None:
        if value is not None:
            require_database_url(value)
        return value

    @field_validator("database_replica_urls")
    @classmethod
    def check_database_replica_urls(cls, value: str) -> str:
        for url in split_database_urls(value):
            require_database_url(url)
        return value

    @field_validator("redis_url")
    @classmethod
    def check_redis_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "redis+socket://")):
            raise ValueError("must start with redis://, rediss:// or redis+socket://")
        return value

    @model_validator(mode="after")
    def check_combination(self):
        if not self.embedded:
            missing = [name for name in ("redis_url", "secret_key") if getattr(self, name) is None]
            if self.sql_page and not self.sql_page_database_url:
                raise ValueError("SQL_PAGE needs SQL_PAGE_DATABASE_URL when a PostgreSQL server is named")
            if missing:
                names = " and ".join(name.upper() for name in missing)
                raise ValueError(f"{names} must be set when a PostgreSQL server is named")
        elif self.web_database_url or self.database_pooler:
            raise ValueError("WEB_DATABASE_URL and DATABASE_POOLER need DATABASE_URL or MEMORY_PG_HOST")
        elif self.database_replica_urls:
            raise ValueError("DATABASE_REPLICA_URLS needs DATABASE_URL: the embedded PostgreSQL has no replicas")
        elif self.web_workers * self.pg_pool_size > EMBEDDED_CONNECTIONS:
            raise ValueError(f"WEB_WORKERS times PG_POOL_SIZE may be {EMBEDDED_CONNECTIONS} at most in embedded mode")
        return self

    @property
    def embedded(self) -> bool:
        return self.database_url is None and self.memory_pg_host is None


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package that would contain it
        return False


def split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def decode_base64(text: str) -> bytes:
    """Decode either alphabet of base64; empty if it is none."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        return b""


def require_database_url(text: str) -> None:
    """Raise ValueError if this is not one address of PostgreSQL."""
    if not text.startswith(("postgres://", "postgresql://")):
        raise ValueError("must start with postgresql://")
    if len(split_database_urls(text)) > 1:
        raise ValueError("is more than one address: name further hosts behind a comma inside it")
    try:
        conninfo_to_dict(text)
    except Exception as error:  # psycopg raises ProgrammingError for an unreadable address
        raise ValueError("is not a PostgreSQL address") from error


def split_database_urls(text: str) -> list[str]:
    """Split at the commas before a new address; those inside an address separate its hosts."""
    return [url.strip() for url in re.split(r",\s*(?=postgres(?:ql)?://)", text) if url.strip()]


def read_environment() -> Environment:
    """Read and validate the environment. Raise SettingsError that names every invalid variable."""
    try:
        return Environment()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"  {name}: {message}" if name else f"  {message}")
        raise SettingsError("Wrong settings:\n" + "\n".join(lines)) from None


def read_variables() -> dict[str, str | None]:
    """Return all variables of the process and of .env, settings or not."""
    return {**(dotenv_values(ENV_FILE) if ENV_FILE else {}), **os.environ}


env = read_environment()
EMBEDDED = env.embedded
#: Used by the embedded services only; the object touches nothing on disk by itself.
HOME = DataDirectory(BASE_DIR / env.data_dir)


def build_database_settings() -> dict:
    """Return the connection settings: the embedded server's socket, the address, or the MEMORY_PG_ variables."""
    if EMBEDDED:
        return HOME.database
    if env.pg_pool and env.web_database_url:
        return parse_database_url(env.web_database_url)
    if env.database_url is not None:
        return parse_database_url(env.database_url)
    return {
        "HOST": env.memory_pg_host,
        "PORT": env.memory_pg_port,
        "NAME": env.memory_pg_database,
        "USER": env.memory_pg_user,
        "PASSWORD": env.memory_pg_password,
    }


def parse_database_url(url: str) -> dict:
    """Return an address as Django's settings; every part that Django does not know is an option of libpq."""
    parts = conninfo_to_dict(url)
    known = {"HOST": "host", "PORT": "port", "NAME": "dbname", "USER": "user", "PASSWORD": "password"}
    named = {ours: parts.pop(theirs, "") for ours, theirs in known.items()}
    return {**named, "OPTIONS": parts}


def build_server_settings(statement_timeout: float, lock_timeout: float) -> dict[str, str]:
    """Return the settings of the server for each connection; both limits are seconds, 0 means none.

    The planner must see the values of each search (a generic plan ignores how selective a filter is). JIT compilation
    costs more than it saves. ef_search 200 takes half a millisecond more than 100 and improves the worst recall under a
    filter.
    """
    return {
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.ef_search": f"{env.hnsw_ef_search}",
        "hnsw.max_scan_tuples": "200000",
        "hnsw.scan_mem_multiplier": "8",
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",
        "statement_timeout": f"{int(statement_timeout * 1000)}",
        "lock_timeout": f"{int(lock_timeout * 1000)}",
        "idle_in_transaction_session_timeout": "60000",
    }


#: Seconds that one statement of a request may take; `wsgi` sets them for itself.
WEB_STATEMENT_TIMEOUT = float(os.environ.get("STATEMENT_TIMEOUT") or 10)
#: Seconds. A request that waits for a row lock occupies one of the web server's few connections.
WEB_LOCK_TIMEOUT = 3
# `memory_site.core.db.server_settings` stores them with the role, and checks them.
WEB_SERVER_SETTINGS = build_server_settings(WEB_STATEMENT_TIMEOUT, WEB_LOCK_TIMEOUT)
SERVER_SETTINGS = build_server_settings(env.statement_timeout, WEB_LOCK_TIMEOUT if env.pg_pool else 0)
# Sent when the connection opens, so that no request pays a round trip. A pooler refuses or ignores them.
STARTUP_OPTIONS = " ".join(f"-c {name}={value}" for name, value in SERVER_SETTINGS.items())
# The default reconnect_timeout doubles its pause for up to five minutes, which would double the length of an outage.
POOL = {"min_size": 1, "max_size": env.pg_pool_size, "timeout": env.pg_pool_timeout, "reconnect_timeout": 2}
#: Seconds that a request waits for a connection to a replica, before it uses the primary.
MAX_REPLICA_POOL_TIMEOUT = 2
DATABASE_POOLER = env.database_pooler


def build_connection_settings(database: dict) -> dict:
    """Return Django's settings of a connection to the database."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        **database,
        "CONN_HEALTH_CHECKS": True,
        # A cursor of the server lives in a session, which a pooler gives to others.
        "DISABLE_SERVER_SIDE_CURSORS": DATABASE_POOLER is not None,
        "OPTIONS": {
            "connect_timeout": 3,
            "server_side_binding": True,
            "pool": POOL if env.pg_pool else False,
            **({} if DATABASE_POOLER else {"options": STARTUP_OPTIONS}),
            **database.get("OPTIONS", {}),
        },
    }


def build_replica_settings(url: str) -> dict:
    """Return Django's settings of a replica. No check before each request: one that fails is repeated on the primary,
    and a frozen server would never answer the check. No request waits long for a connection either."""
    settings = build_connection_settings(parse_database_url(url))
    if env.pg_pool:
        settings["OPTIONS"]["pool"] = POOL | {"timeout": min(env.pg_pool_timeout, MAX_REPLICA_POOL_TIMEOUT)}
    return settings | {"CONN_HEALTH_CHECKS": False, "TEST": {"MIRROR": "default"}}


REPLICAS = {
    f"replica_{number}": build_replica_settings(url)
    for number, url in enumerate(split_database_urls(env.database_replica_urls), 1)
}
DATABASES = {"default": build_connection_settings(build_database_settings()), **REPLICAS}
DATABASE_REPLICA_MAX_LAG = env.database_replica_max_lag
DEFAULT_CONSISTENCY = env.default_consistency
#: The web server's own way to the database, with which `migrate` stores its settings; None: it has none.
WEB_DATABASE = build_connection_settings(parse_database_url(env.web_database_url)) if env.web_database_url else None

#: Django's settings of the connection of backups, without the site's own options; None: the site's.
BACKUP_DATABASE = parse_database_url(env.backup_database_url) if env.backup_database_url else None

#: The oldest server that the tests were run on. The tables need it: UNIQUE NULLS NOT DISTINCT.
MIN_POSTGRESQL_VERSION = (15,)

SECRET_KEY = env.secret_key or HOME.secret("django")
DEBUG = env.debug
ALLOWED_HOSTS = split_list(env.allowed_hosts)
MCP_ALLOWED_ORIGINS = frozenset(split_list(env.mcp_allowed_origins))
ROOT_URLCONF = "memory_site.urls"
WSGI_APPLICATION = "memory_site.wsgi.application"
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "memory_site.operations.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_celery_beat",
    "ninja",
    "memory_site.core.leases",
    "memory_site.core.lists",
    "memory_site.core.releases",
    "sessions_app",
    "memories",
    "memories.graph",
    "memories.insights",
    "memories.knowledge",
    "memories.history",
    "memories.jobs",
    "memories.bench",
    "memories.cleanup",
    "ingestion",
    "memory_site.operations",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "memory_site.operations.access",
]
MIDDLEWARE = [
    "memory_site.core.http.middleware.RequestMiddleware",
    "memory_site.core.tracing.requests.TracingMiddleware",
    "memory_site.core.logs.requests.RequestLogMiddleware",
    "memory_site.core.releases.middleware.ReleaseMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "memory_site.operations.access.middleware.ConsoleMiddleware",
    "axes.middleware.AxesMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "memory_site.api_keys.ApiKeyMiddleware",
    "memory_site.core.http.middleware.AddressMiddleware",
    "memory_site.head_requests.HeadRequestMiddleware",
    "memory_site.core.admin.unreadable_input.UnreadableInputMiddleware",
    "memory_site.core.admin.one_namespace.OneNamespaceMiddleware",
    "memory_site.core.admin.replica_reads.ReplicaReadsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# Failed logins are counted for an account and an address together: an attacker locks out only the own address.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "memory_site.core.http.client_address.get_client_network"
AXES_DISABLE_ACCESS_LOG = True  # the audit page has a table of its own
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_LOCKOUT_CALLABLE = "memory_site.operations.access.middleware.refuse_login"
OTP_TOTP_ISSUER = "Memory Site"
CONSOLE_TOTP = env.console_totp
TRUSTED_PROXIES = env.trusted_proxies
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]

LANGUAGE_CODE = "en-us"
# Django sets TZ for the process; files of other programs may have times of the machine's own zone.
MACHINE_TIME_ZONE = os.environ.get("TZ", "")
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served from the installed packages: no collectstatic step
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
APPEND_SLASH = True

HTTPS = env.https if env.https is not None else not EMBEDDED
SECURE_SSL_REDIRECT = HTTPS
# Health probes and Prometheus use plain HTTP inside the network.
SECURE_REDIRECT_EXEMPT = [r"^health/", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_ENGINE = "memory_site.operations.access.session_store"
SESSION_COOKIE_AGE = 8 * 3600
X_FRAME_OPTIONS = "DENY"

# Messages are hints: the work itself is stored in the database, so no message needs to survive.
CELERY_BROKER_URL = env.redis_url or HOME.broker_url
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # the default stops permanently after 100 attempts
# Every wait is bounded: with the defaults, a frozen broker blocks its caller indefinitely.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 10,
    "visibility_timeout": 180,
    "global_keyprefix": "memory_site:",
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "memory_site"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULER = "memory_site.operations.schedules:SeedingScheduler"
# Created once in the database: a changed default reaches new sites only. A name identifies its schedule for ever.
# The console shows the description, as long as the operator wrote no other one.
CELERY_BEAT_SCHEDULE = {
    "delete ended console sessions": {
        "description": "Deletes the console's sessions that have ended, and records of logins that are a year old.",
        "task": "memory_site.operations.access.tasks.delete_ended",
        "schedule": crontab(hour="3", minute="40"),
    },
    "embed pending memories": {
        "description": "Computes the vectors of new and changed memories, so that searches by meaning find them.",
        "task": "memories.tasks.embed_due",
        "schedule": 15,
        "options": {"expire_seconds": 15},
    },
    "re-embed pending namespaces": {
        "description": "Goes on with switching namespaces to another embedding model.",
        "task": "memories.tasks.reembed_due",
        "schedule": 60,
        "options": {"expire_seconds": 60},
    },
    "run pending ingestions": {
        "description": "Starts ingestions that were requested or interrupted.",
        "task": "ingestion.tasks.ingest_due",
        "schedule": 60,
        "options": {"expire_seconds": 60},
    },
    "run pending jobs": {
        "description": "Starts jobs that were requested or interrupted.",
        "task": "memories.jobs.tasks.run_jobs",
        "schedule": 15,
        "options": {"expire_seconds": 15},
    },
    "append erasures to the ledger": {
        "description": "Carries erasures of users and namespaces to the ledger beside the backups.",
        "task": "memory_site.operations.offsite.tasks.append_erasures",
        "schedule": 60,
        "options": {"expire_seconds": 60},
    },
    "record the beat's heartbeat": {
        "description": "Shows that scheduler, broker and worker work together.",
        "task": "memory_site.operations.tasks.note_beat",
        "schedule": 15,
        "options": {"expire_seconds": 15},
    },
    "measure free space": {
        "description": "Measures the free disk space, for the forecast of the health page.",
        "task": "memory_site.operations.tasks.measure_disks",
        "schedule": 900,
        "options": {"expire_seconds": 900},
    },
    "delete old idempotency keys": {
        "description": "Deletes the stored answers of retries after 24 hours.",
        "task": "sessions_app.tasks.delete_old_idempotency_keys",
        "schedule": 3600,
    },
    "delete outdated sessions": {
        "description": "Deletes sessions whose time to live is over.",
        "task": "sessions_app.tasks.delete_outdated_sessions",
        "schedule": crontab(hour="3", minute="30"),
    },
    "refresh statistics": {
        "description": "Refreshes the figures of users: totals, types, times.",
        "task": "memories.graph.tasks.refresh_statistics",
        "schedule": 900,
        "options": {"expire_seconds": 900},
    },
    "measure namespaces": {
        "description": "Counts each namespace's rows, from which searches choose their plan.",
        "task": "memories.tasks.measure_namespaces",
        "schedule": 600,
        "options": {"expire_seconds": 600},
    },
    "resolve pending relationships": {
        "description": "Connects pending relationships with entities that have come.",
        "task": "memories.graph.tasks.join_waiting",
        "schedule": 60,
        "options": {"expire_seconds": 60},
    },
    "prune insights": {
        "description": "Deletes old insights of low quality that were never used.",
        "task": "memories.insights.tasks.prune_insights",
        "schedule": crontab(hour="4", minute="15", day_of_week="sunday"),
    },
    "create queued clusters": {
        "description": "Groups new memories of a kind into clusters.",
        "task": "memories.knowledge.tasks.settle_clusters",
        "schedule": 60,
        "options": {"expire_seconds": 60},
    },
    "delete empty clusters": {
        "description": "Deletes clusters that no longer have a member.",
        "task": "memories.knowledge.tasks.remove_empty_clusters",
        "schedule": 3600,
    },
    "delete outdated memories": {
        "description": "Deletes outdated memories in the namespaces that forget every night.",
        "task": "memories.knowledge.tasks.forget_outdated",
        "schedule": crontab(hour="3", minute="45"),
    },
    "insert missing insight rows": {
        "description": "Adds the insight rows that imported memories lack.",
        "task": "memories.insights.tasks.adopt_insights",
        "schedule": 3600,
    },
    "delete old history": {
        "description": "Deletes versions of memories and the trash when their time is over.",
        "task": "memories.history.tasks.delete_old_history",
        "schedule": 3600,
    },
    "delete expired memories": {
        "description": "Deletes memories whose expiry time is past.",
        "task": "memories.tasks.delete_expired",
        "schedule": 3600,
    },
    "delete old exports": {
        "description": "Deletes the files of exports that are older than seven days.",
        "task": "memories.jobs.tasks.delete_old_files",
        "schedule": 3600,
    },
    "delete old measurements": {
        "description": "Deletes performance measurements older than PERFORMANCE_RETENTION_DAYS.",
        "task": "ingestion.tasks.delete_old_measurements",
        "schedule": crontab(hour="3", minute="50"),
    },
    "make a backup": {
        "description": "Makes the nightly backup and verifies it by restoring.",
        "task": "memory_site.operations.backups.tasks.make_nightly_backup",
        "schedule": crontab(hour="2", minute="0"),
    },
    "copy backups off-site": {
        "description": "Copies good backups to BACKUP_TARGET.",
        "task": "memory_site.operations.offsite.tasks.copy_new_backups",
        "schedule": 600,
        "options": {"expire_seconds": 600},
    },
    "rotate off-site copies": {
        "description": "Deletes off-site copies that the retention rules no longer keep.",
        "task": "memory_site.operations.offsite.tasks.rotate_old_copies",
        "schedule": crontab(hour="3", minute="20"),
    },
    "rotate backups": {
        "description": "Deletes backups that the retention rules no longer keep.",
        "task": "memory_site.operations.backups.tasks.rotate_old_backups",
        "schedule": crontab(hour="3", minute="0"),
    },
    "maintain the database": {
        "description": "Vacuums, analyzes and mends indexes where due, and stores a report.",
        "task": "memory_site.operations.tasks.maintain_database",
        "schedule": crontab(hour="5", minute="0", day_of_week="sunday"),
    },
    "make due base backups": {
        "description": "Makes the base backups of point-in-time recovery when one is due.",
        "task": "memory_site.operations.pitr.tasks.take_due_base",
        "schedule": 600,
        "options": {"expire_seconds": 600},
    },
    "drill recovery to a moment": {
        "description": "Proves that the database can be recovered to a moment, on a scratch server.",
        "task": "memory_site.operations.pitr.tasks.drill_recovery",
        "schedule": crontab(hour="5", minute="30", day_of_week="sunday"),
    },
    "vacuum vectors after deletions": {
        "description": "Cleans the index of vectors after large deletions.",
        "task": "memories.tasks.vacuum_due",
        "schedule": 60,
        "options": {"expire_seconds": 60},
    },
}

EMBEDDING_MODEL = env.embedding_model or (env.embedder == "ollama" and env.ollama_model) or DEFAULT_MODELS[env.embedder]
EMBEDDER_OPTIONS: dict[str, dict[str, object]] = {
    "onnx": {"directory": env.embedding_model_dir},
    "multilingual": {},
    "ollama": {"base_url": env.ollama_base_url},
    "openai": {"base_url": env.openai_base_url, "api_key": env.openai_api_key},
    "hashing": {},
}


def build_embedder_settings(kind: str, model: str, **options: object) -> dict:
    return {"BACKEND": EMBEDDERS[kind], "MODEL": model, "OPTIONS": EMBEDDER_OPTIONS[kind] | options}


# The configured embedder, and those that may still serve namespaces until `reembed` has finished.
EMBEDDINGS = {
    "default": build_embedder_settings(env.embedder, EMBEDDING_MODEL),
    **{kind: build_embedder_settings(kind, model) for kind, model in DEFAULT_MODELS.items()},
    "onnx": build_embedder_settings("onnx", DEFAULT_MODELS["onnx"], directory=None),
    **{
        str(directory): build_embedder_settings("onnx", EMBEDDING_MODEL, directory=directory)
        for directory in (env.embedding_model_dir, env.earlier_embedding_model_dir)
        if directory
    },
}
EMBEDDING_LEASE = env.embedding_lease
MEMORY_TTL_HOURS = env.memory_ttl_hours
MEMORY_MAX_CONTEXT_LENGTH = env.memory_max_context_length
INGESTION_ROOTS = split_list(env.ingestion_roots)
SPLITTER = SPLITTERS[env.splitter]
PERFORMANCE_RETENTION_DAYS = env.performance_retention_days
SESSION_ENCRYPTION_KEYS = split_list(env.session_encryption_keys)
SQL_PAGE = env.sql_page
SQL_PAGE_DATABASE_URL = env.sql_page_database_url
#: None: there is no place for backups.
BACKUP_DIR = BASE_DIR / env.backup_dir if env.backup_dir else HOME.path / "backups" if EMBEDDED else None
#: None: there are no copies elsewhere.
BACKUP_TARGET = env.backup_target
BACKUP_ENCRYPTION_KEYS = [decode_base64(key) for key in split_list(env.backup_encryption_key)]
TRASH_DAYS = env.trash_days
HISTORY_RETENTION_DAYS = env.history_retention_days
BACKUP_RETENTION_DAYS = env.backup_retention_days
BACKUP_RETENTION_WEEKS = env.backup_retention_weeks
BACKUP_RETENTION_MONTHS = env.backup_retention_months
#: Where processes count. One that `serve` did not start counts there if it exists, and otherwise for itself alone.
METRICS_DIRECTORY = env.prometheus_multiproc_dir or (HOME.path / "metrics" if EMBEDDED else None)
METRICS_PORT = env.metrics_port
WEB_WORKERS = env.web_workers
# Admission (memory_site/core/http/overload.py): a request that is served has a connection, so none waits for one.
WEB_MAX_WAIT = env.web_max_wait
WEB_PLACES = env.pg_pool_size
WEB_SEATS = 512
# More threads than seats: those who are refused need one too, for a moment.
WEB_THREADS = 2 * WEB_SEATS

LOG_LEVEL, LOG_FORMAT = env.log_level, env.log_format
LOGGING_CONFIG = "memory_site.core.logs.setup.configure"
LOGGING = build_logging(LOG_LEVEL, LOG_FORMAT)
TRACING = env.otel_exporter_otlp_endpoint is not None
#: For the SDK of OpenTelemetry, which reads the environment but not .env.
OTEL_VARIABLES = {name: value for name, value in read_variables().items() if name.startswith("OTEL_") and value}

LOGIN_REDIRECT_URL = "admin:index"
UNFOLD = {
    "SITE_TITLE": "Memory Site",
    "SITE_HEADER": "Memory Site",
    "SITE_SYMBOL": "neurology",
    "SITE_URL": None,
    "SHOW_HISTORY": False,  # of Django's log alone: memories have a history, and the audit page has the rest
    "ENVIRONMENT": "memory_site.navigation.get_environment",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "memory_site.navigation.get_favicon_url"}],
    "STYLES": ["memory_site.navigation.get_style_sheet_url"],
    "SCRIPTS": [f"memory_site.navigation.get_{name}_script_url" for name in ("json", "keys", "labels")],
    "DASHBOARD_CALLBACK": "memory_site.operations.dashboard.view.build_dashboard",
    "LOGIN": {"form": "memory_site.operations.access.login.LoginForm"},
    "ACCOUNT": {"navigation": "memory_site.navigation.build_account_links"},
    "COMMAND": {"search_callback": "memory_site.palette.search_palette"},
    "SIDEBAR": {"show_search": True, "command_search": True, "navigation": "memory_site.navigation.build_navigation"},
}
