"""Wire shapes of the analysis of a user's graph."""

from uuid import UUID

from ninja import Field, Schema

from memories.graph.schemas.relationships import RelationshipTypeName
from memories.graph.summary import SHORT_CONTENT_LENGTH
from memories.schemas import EntityOut
from memories.types import MemoryType


class ShortMemoryOut(Schema):
    id: UUID
    beginning: str = Field(description=f"Of its content: {SHORT_CONTENT_LENGTH} characters at most.")
    memory_type: MemoryType
    entity: EntityOut | None


class CentralOut(Schema):
    memory: ShortMemoryOut
    score: float = Field(description="PageRank; those of all connected memories add up to 1.")
    degree: int = Field(description="How many memories it is connected with.")


class ClusterOut(Schema):
    id: int = Field(description="1 is the largest.")
    label: str = Field(description="Its most central memory, by the name of its entity or by how its content begins.")
    size: int
    members: list[UUID] = Field(description="The most central first, 50 at most.")


class BridgeOut(Schema):
    from_memory: ShortMemoryOut
    to_memory: ShortMemoryOut
    types: list[RelationshipTypeName] = Field(description="Of the relationships between the two.")
    separates: int = Field(description="How many memories would no longer hang together with most of the others.")


class ConnectorOut(Schema):
    memory: ShortMemoryOut
    separates: int = Field(description="How many memories would no longer hang together with most of the others.")


class GraphOut(Schema):
    memories: int
    relationships: int
    connected: int = Field(description="Memories that have a relationship. Only these are looked at in what follows.")
    central: list[CentralOut]
    cluster_total: int
    clusters: list[ClusterOut] = Field(description="Groups with more connections inside than chance would give them.")
    bridge_total: int
    bridges: list[BridgeOut] = Field(description="Pairs that alone keep two parts together, the largest parts first.")
    connector_total: int
    connectors: list[ConnectorOut] = Field(description="Memories that alone keep parts together.")
