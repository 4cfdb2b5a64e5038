"""An expired memory is there for nobody, so it may not stand in anybody's way until it is cleaned up."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse

from memories.models import Memory


def retry_after_purging_expired(operation: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Around an operation, outside its transaction: when a constraint refuses it, the namespace's expired memories are
    removed and it is done once more. Raises IntegrityError when they were not the reason."""

    @wraps(operation)
    def tried_twice(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return operation(request, *args, **kwargs)
        except IntegrityError:
            if not Memory.objects.filter(namespace_id=request.auth.namespace_id).expired().delete()[0]:
                raise
            return operation(request, *args, **kwargs)

    return tried_twice
