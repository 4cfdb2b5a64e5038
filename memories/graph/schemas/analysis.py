"""Schemas of the analysis of a user's graph."""

from uuid import UUID

from ninja import Field, Schema

from memories.graph.schemas.relationships import RelationshipTypeName
from memories.graph.summary import SHORT_CONTENT_LENGTH
from memories.memory_types import MemoryType
from memories.schemas import EntityOut


class ShortMemoryOut(Schema):
    id: UUID
    beginning: str = Field(description=f"The first {SHORT_CONTENT_LENGTH} characters of its content.")
    memory_type: MemoryType
    entity: EntityOut | None


class CentralOut(Schema):
    memory: ShortMemoryOut
    score: float = Field(description="PageRank; the scores of all connected memories add up to 1.")
    degree: int = Field(description="The number of memories it is connected with.")


class ClusterOut(Schema):
    id: int = Field(description="1 is the largest.")
    label: str = Field(description="Its most central memory: the name of its entity, or the beginning of its content.")
    size: int = Field(description="How many memories it has.", json_schema_extra={"example": 4})
    members: list[UUID] = Field(description="At most 50, the most central first.")


class BridgeOut(Schema):
    from_memory: ShortMemoryOut = Field(description="One of the two memories.")
    to_memory: ShortMemoryOut = Field(description="The other one.")
    types: list[RelationshipTypeName] = Field(description="The types of the relationships between the two.")
    separates: int = Field(
        description="The number of memories that its removal would cut off from the largest remaining part."
    )


class ConnectorOut(Schema):
    memory: ShortMemoryOut
    separates: int = Field(
        description="The number of memories that its removal would cut off from the largest remaining part."
    )


class GraphOut(Schema):
    memories: int = Field(description="How many memories the user has.")
    relationships: int
    connected: int = Field(description="The number of memories with a relationship. Only these are analysed.")
    central: list[CentralOut] = Field(description="The most central memories, first the one with the highest score.")
    cluster_total: int = Field(description="How many clusters there are.")
    clusters: list[ClusterOut] = Field(
        description="Groups of memories with more inner connections than chance would give."
    )
    bridge_total: int = Field(description="How many bridges there are.")
    bridges: list[BridgeOut] = Field(
        description="Pairs of memories whose connection alone joins two parts of the graph, the largest parts first."
    )
    connector_total: int = Field(description="How many connectors there are.")
    connectors: list[ConnectorOut] = Field(
        description="Memories that alone join parts of the graph, the largest parts first."
    )
