"""The console's pages of relationships, of users' graphs and of erasures."""

from memories.graph.admin.entities import EntityAdmin as EntityAdmin
from memories.graph.admin.relationships import RelationshipAdmin as RelationshipAdmin
from memories.users.admin.erasures import ErasureAdmin as ErasureAdmin
from memories.users.admin.users import UserMemoryAdmin as UserMemoryAdmin
