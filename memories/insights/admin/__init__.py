"""Admin classes of the app: insights, and groups and dependencies of projects."""

from memories.insights.admin.insights import InsightAdmin as InsightAdmin
from memories.projects.admin import DependencyAdmin as DependencyAdmin
from memories.projects.admin import GroupAdmin as GroupAdmin
