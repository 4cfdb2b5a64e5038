"""/key: what the key of the request is."""

import hashlib

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from ninja import Router

from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, any_access
from sessions_app.models import SCOPES
from sessions_app.schemas.keys import KeyOut

router = Router(tags=["keys"])
#: A cluster of PostgreSQL draws its number when it is made, and its standbys have the same one.
SELECT_DATABASE_SQL = "SELECT system_identifier, current_database() FROM pg_control_system()"


@router.get("/key", auth=any_access, response={200: KeyOut, **PROBLEMS})
def get_key(request: ApiRequest):
    """Return what the key of this request is and may do. Every valid key may ask."""
    caller = request.auth
    return json_response(
        {
            "id": caller.public_id,
            "name": caller.key_name,
            "scopes": [scope for scope in SCOPES if scope in caller.scopes],
            "expires_at": caller.expires_at,
            "namespace": {"id": caller.namespace_id, "name": caller.namespace_name},
            "site": identify_site(connection),
        }
    )


def identify_site(connection: BaseDatabaseWrapper) -> str:
    """Return 16 hexadecimal digits that depend on the database and say nothing about it."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_DATABASE_SQL)
        system, name = cursor.fetchone()
    return hashlib.sha256(f"{system} {name}".encode()).hexdigest()[:16]
