"""Admin pages of documents, ingestions and workflow executions."""

from ingestion.admin import origins as origins
from ingestion.admin.documents import DocumentAdmin as DocumentAdmin
from ingestion.admin.ingestions import IngestionAdmin as IngestionAdmin
from ingestion.admin.performance import PerformanceMetricAdmin as PerformanceMetricAdmin
from ingestion.admin.workflows import WorkflowExecutionAdmin as WorkflowExecutionAdmin
