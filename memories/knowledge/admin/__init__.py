"""Admin pages of clusters, patterns and preferences."""

from memories.knowledge.admin.clusters import ClusterAdmin as ClusterAdmin
from memories.knowledge.admin.patterns import PatternAdmin as PatternAdmin
from memories.knowledge.admin.preferences import PreferenceAdmin as PreferenceAdmin
