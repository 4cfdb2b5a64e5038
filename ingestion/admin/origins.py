"""Where a memory came from, of what this app knows: documents and runs of workflows."""

from collections.abc import Iterator

from ingestion.admin.shared import build_admin_url
from ingestion.models import Document, WorkflowExecution
from memories.admin.memory_page.origins import MAX_WORDS, Origin, register_origin
from memories.models import Memory
from memory_site.core.admin.formatting import truncate


@register_origin
def find_document(memory: Memory) -> Iterator[Origin]:
    if memory.document_id is None:
        return
    documents = Document.objects.in_namespace(memory.namespace_id).defer("digest", "metadata")
    if (document := documents.filter(pk=memory.document_id).first()) is not None:
        url = build_admin_url("document", document.pk, view="change")
        yield Origin("Document", truncate(str(document), MAX_WORDS), url, describe_lines(memory))


def describe_lines(memory: Memory) -> str:
    """Return the lines of the chunk. API clients may have changed its metadata to anything."""
    first, last = (memory.metadata.get(name) for name in ("start_line", "end_line"))
    if not (isinstance(first, int) and isinstance(last, int)):
        return ""
    return f"line {first}" if first == last else f"lines {first} to {last}"


@register_origin
def find_execution(memory: Memory) -> Iterator[Origin]:
    executions = WorkflowExecution.objects.in_namespace(memory.namespace_id).filter(memory=memory.pk)
    execution = executions.defer("result", "error").order_by("-created_at").first()
    if execution is not None:
        url = build_admin_url("workflowexecution", execution.pk, view="change")
        note = f"{execution.status}, {execution.started_at:%Y-%m-%d %H:%M} UTC"
        yield Origin("Workflow run", truncate(execution.workflow_id, MAX_WORDS), url, note)
