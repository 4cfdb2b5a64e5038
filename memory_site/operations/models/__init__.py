"""What the operations of a site keep in the database: backups, heartbeats, schedules and how they end, free space,
reports of maintenance."""

from memory_site.operations.models.backups import Backup as Backup
from memory_site.operations.models.backups import BackupState as BackupState
from memory_site.operations.models.backups import OffsiteState as OffsiteState
from memory_site.operations.models.disks import DiskSample as DiskSample
from memory_site.operations.models.heartbeats import MAX_HEARTBEAT_AGE as MAX_HEARTBEAT_AGE
from memory_site.operations.models.heartbeats import Heartbeat as Heartbeat
from memory_site.operations.models.heartbeats import ProcessKind as ProcessKind
from memory_site.operations.models.maintenance import MaintenanceReport as MaintenanceReport
from memory_site.operations.models.namespace_clones import CloneState as CloneState
from memory_site.operations.models.namespace_clones import Desk as Desk
from memory_site.operations.models.namespace_clones import NamespaceClone as NamespaceClone
from memory_site.operations.models.schedules import RunState as RunState
from memory_site.operations.models.schedules import ScheduleOutcome as ScheduleOutcome
from memory_site.operations.models.schedules import SeededSchedule as SeededSchedule
from memory_site.operations.models.sql_statements import SqlStatement as SqlStatement
