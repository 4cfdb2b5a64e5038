"""The decorator of operations that write: it makes them safe to repeat, by the server and by the client."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import IntegrityError
from django.http import HttpResponse

from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.auth import ApiRequest
from sessions_app.idempotency import idempotent

Operation = Callable[..., HttpResponse]
ConflictResolver = Callable[[ApiRequest], bool]


def write_operation(operation: Operation | None = None, *, on_conflict: ConflictResolver | None = None) -> Any:
    """Decorate an operation that writes. From the outside in, because each layer has to see what the inner ones raise:

    1. a deadlock starts the operation over (`retry_on_deadlock`), with nothing left of the transaction;
    2. on a constraint violation `on_conflict(request)` may remove the cause; if it returns True, the operation runs
       once more, else the IntegrityError propagates;
    3. a POST or PUT honours Idempotency-Key (`idempotent`): its response is stored in the transaction that does the
       work.
    """
    if operation is None:
        return lambda decorated: write_operation(decorated, on_conflict=on_conflict)
    repeatable = idempotent(operation)
    if on_conflict is not None:
        repeatable = resolve_conflicts(repeatable, on_conflict)
    return retry_on_deadlock(repeatable)


def resolve_conflicts(operation: Operation, on_conflict: ConflictResolver) -> Operation:
    @wraps(operation)
    def run(request: ApiRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return operation(request, *args, **kwargs)
        except IntegrityError:
            if not on_conflict(request):
                raise
            return operation(request, *args, **kwargs)

    return run
