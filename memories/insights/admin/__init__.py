"""The console's pages of insights, and of the projects they belong to."""

from memories.insights.admin.insights import InsightAdmin as InsightAdmin
from memories.projects.admin import DependencyAdmin as DependencyAdmin
from memories.projects.admin import GroupAdmin as GroupAdmin
