"""Sources of memories (documents, the ingestions that read them, workflow executions), and measurements."""

from ingestion.models.documents import Document as Document
from ingestion.models.documents import DocumentQuerySet as DocumentQuerySet
from ingestion.models.ingestions import WORKER_TIMEOUT as WORKER_TIMEOUT
from ingestion.models.ingestions import Ingestion as Ingestion
from ingestion.models.ingestions import IngestionStatus as IngestionStatus
from ingestion.models.performance import ADAPTER_HEALTH as ADAPTER_HEALTH
from ingestion.models.performance import WORKFLOW_EXECUTION as WORKFLOW_EXECUTION
from ingestion.models.performance import PerformanceMetric as PerformanceMetric
from ingestion.models.performance import PerformanceMetricQuerySet as PerformanceMetricQuerySet
from ingestion.models.workflows import FINISHED_STATUSES as FINISHED_STATUSES
from ingestion.models.workflows import ExecutionStatus as ExecutionStatus
from ingestion.models.workflows import WorkflowExecution as WorkflowExecution
from ingestion.models.workflows import WorkflowExecutionQuerySet as WorkflowExecutionQuerySet
