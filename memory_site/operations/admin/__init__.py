"""Console pages of users and groups, scheduled tasks, heartbeats, backups and maintenance."""

from memory_site.operations.admin.backups import BackupAdmin as BackupAdmin
from memory_site.operations.admin.desk import DeskAdmin as DeskAdmin
from memory_site.operations.admin.heartbeats import HeartbeatAdmin as HeartbeatAdmin
from memory_site.operations.admin.maintenance import MaintenanceReportAdmin as MaintenanceReportAdmin
from memory_site.operations.admin.namespaces import NamespaceAdmin as NamespaceAdmin
from memory_site.operations.admin.schedules import PeriodicTaskAdmin as PeriodicTaskAdmin
from memory_site.operations.admin.sql_page import SqlStatementAdmin as SqlStatementAdmin
from memory_site.operations.admin.users import GroupAdmin as GroupAdmin
from memory_site.operations.admin.users import UserAdmin as UserAdmin
