"""What the roles of the console may do, model by model. The groups are seeded from this table after every `migrate`.

A model without a line fails a test. Administrators have every permission of every model with a line. What the console
never does, whatever the permission (to change an audit line, to delete an API key), its pages refuse by themselves.
"""

from typing import NamedTuple

VIEWER, OPERATOR, ADMINISTRATOR = ROLES = ("viewer", "operator", "administrator")
VIEW = frozenset({"view"})
EVERYTHING = frozenset({"view", "add", "change", "delete"})
NOTHING: frozenset[str] = frozenset()


class Line(NamedTuple):
    """What two roles may do with a model; the third may do everything."""

    viewer: frozenset[str]
    operator: frozenset[str]


#: Operators look after it, viewers look at it.
DATA = Line(VIEW, EVERYTHING)
#: What happened by itself, or is kept by the site.
RECORD = Line(VIEW, VIEW)
#: Operators change or start it; it is not theirs to create or to delete.
SETTING = Line(VIEW, VIEW | {"change"})
#: Who may come in, and what they did.
ACCESS = Line(NOTHING, NOTHING)
#: Without a page.
INTERNAL = Line(NOTHING, NOTHING)

PERMISSIONS: dict[str, Line] = {
    # Memories and what was learned from them
    "memories.memory": DATA,
    "memories.embedding": RECORD,
    "memories.dueembedding": SETTING,
    "memories.reembedding": RECORD,
    "memories.namespacesize": RECORD,
    "bench.testsearch": DATA,
    "history.memoryversion": RECORD,
    "history.deletedpart": RECORD,
    "history.trashedmemory": SETTING,
    "jobs.job": DATA,
    "jobs.jobfile": RECORD,
    "cleanup.inspection": RECORD,
    "cleanup.duplicate": SETTING,
    "graph.relationship": DATA,
    "graph.pendingrelationship": RECORD,
    "graph.usertotal": RECORD,
    "graph.userstatistics": RECORD,
    "graph.erasure": RECORD,
    "insights.insight": DATA,
    "insights.projectgroup": DATA,
    "insights.projectdependency": DATA,
    "knowledge.cluster": DATA,
    "knowledge.duecluster": INTERNAL,
    "knowledge.pattern": DATA,
    "knowledge.preference": DATA,
    # Knowledge that was read in
    "ingestion.ingestion": DATA,
    "ingestion.document": DATA,
    "ingestion.workflowexecution": DATA,
    "ingestion.performancemetric": RECORD,
    # Sessions and conversations
    "sessions_app.sessionmemory": DATA,
    "sessions_app.sessionlink": DATA,
    "sessions_app.conversation": DATA,
    "sessions_app.message": DATA,
    "sessions_app.idempotentanswer": INTERNAL,
    # Who has access. A namespace is deleted with its keys, which locks its agents out.
    "sessions_app.namespace": Line(VIEW, VIEW | {"add", "change"}),
    "sessions_app.erasednamespace": INTERNAL,
    "sessions_app.apikey": Line(NOTHING, VIEW),
    "auth.user": ACCESS,
    "auth.group": ACCESS,
    "auth.permission": ACCESS,
    "access.consolesession": ACCESS,
    "access.accessevent": ACCESS,
    "access.seededgrant": INTERNAL,
    "axes.accessattempt": INTERNAL,
    "axes.accessattemptexpiration": INTERNAL,
    "axes.accessfailurelog": INTERNAL,
    "axes.accesslog": INTERNAL,
    "otp_static.staticdevice": INTERNAL,
    "otp_static.statictoken": INTERNAL,
    "otp_totp.totpdevice": INTERNAL,
    "admin.logentry": INTERNAL,
    "contenttypes.contenttype": INTERNAL,
    "sessions.session": INTERNAL,
    # Operations
    "django_celery_beat.periodictask": SETTING,
    "django_celery_beat.intervalschedule": INTERNAL,
    "django_celery_beat.crontabschedule": INTERNAL,
    "django_celery_beat.clockedschedule": INTERNAL,
    "django_celery_beat.solarschedule": INTERNAL,
    "django_celery_beat.periodictasks": INTERNAL,
    "operations.backup": SETTING,
    "operations.heartbeat": RECORD,
    "operations.disksample": RECORD,
    "operations.maintenancereport": RECORD,
    "operations.namespaceclone": RECORD,
    "operations.desk": INTERNAL,
    "operations.sqlstatement": ACCESS,
    "lists.savedfilter": INTERNAL,
    "operations.seededschedule": INTERNAL,
    "operations.scheduleoutcome": RECORD,
    "leases.lease": INTERNAL,
    "graph.entity": INTERNAL,
    "releases.databaserelease": INTERNAL,
}
#: Permissions of a model's `Meta.permissions`, with the roles that have them besides administrators.
EXTRA_PERMISSIONS: dict[str, frozenset[str]] = {"bench.view_plan": frozenset({OPERATOR})}
