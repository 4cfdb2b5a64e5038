"""Models with a namespace, and foreign keys between two of them: every statement of the ORM names the namespace.

A partitioned or distributed table is divided by `namespace_id`. A statement that names it reads one part; one by id
alone reads all of them. The classes leave the migrations as they are.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from django.db import models
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ForwardOneToOneDescriptor,
    ReverseManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.db.models.fields.related_lookups import RelatedExact


class NamespacedModel(models.Model):
    """A model with a field `namespace`. Its objects are saved, deleted and read again by namespace and id."""

    namespace_id: int

    class Meta:
        abstract = True

    def _do_update(self, base_qs: models.QuerySet, *args: Any) -> Any:
        return super()._do_update(self._of_namespace(base_qs), *args)

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        return self._of_namespace(type(self)._base_manager.using(using)).filter(pk=self.pk).delete()

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet | None = None,
    ) -> None:
        rows = type(self)._base_manager.db_manager(using).all() if from_queryset is None else from_queryset
        super().refresh_from_db(using, fields, self._of_namespace(rows))

    def _of_namespace(self, rows: models.QuerySet) -> models.QuerySet:
        if "namespace_id" not in self.__dict__:  # deferred
            return rows
        return rows.filter(namespace=self.namespace_id)


class _RelatedRows:
    """Restricts what a descriptor prefetches to the namespaces of the objects that it prefetches for."""

    def get_prefetch_querysets(self, instances: list, querysets: list | None = None) -> tuple:
        rows = querysets[0] if querysets else self.get_queryset()  # type: ignore[attr-defined]
        rows = rows.filter(namespace__in={each.namespace_id for each in instances})
        return super().get_prefetch_querysets(instances, [rows])  # type: ignore[misc]


class _ForwardManyToOne(_RelatedRows, ForwardManyToOneDescriptor):
    pass


class _ForwardOneToOne(_RelatedRows, ForwardOneToOneDescriptor):
    pass


class _ReverseOneToOne(_RelatedRows, ReverseOneToOneDescriptor):
    pass


class _ReverseManyToOne(ReverseManyToOneDescriptor):
    @cached_property
    def related_manager_cls(self) -> type:
        class RelatedManager(super().related_manager_cls):  # type: ignore[misc]
            def _apply_rel_filters(self, queryset: models.QuerySet) -> models.QuerySet:
                return super()._apply_rel_filters(queryset.filter(namespace=self.instance.namespace_id))

            def get_prefetch_querysets(self, instances: list, querysets: list | None = None) -> tuple:
                rows = querysets[0] if querysets else self.model._default_manager.all()
                rows = rows.filter(namespace__in={each.namespace_id for each in instances})
                return super().get_prefetch_querysets(instances, [rows])

        return RelatedManager


class _Namespaced:
    """What the two fields below have in common: an id is looked up in the namespace of the row that holds it."""

    def deconstruct(self) -> tuple:
        name, _, *rest = super().deconstruct()  # type: ignore[misc]
        [plain] = [each for each in type(self).__bases__ if each is not _Namespaced]
        return name, f"django.db.models.{plain.__name__}", *rest

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> Any:
        """Return the condition that joins name besides the id. A trimmed join has no second table, and needs none."""
        if alias is None or related_alias is None:
            return None
        ours = self.model._meta.get_field("namespace")  # type: ignore[attr-defined]
        theirs = self.related_model._meta.get_field("namespace")  # type: ignore[attr-defined]
        return RelatedExact(theirs.get_col(related_alias), ours.get_col(alias))

    def get_extra_descriptor_filter(self, instance: Any) -> dict[str, Any]:
        return {"namespace": instance.namespace_id}

    def get_forward_related_filter(self, obj: Any) -> dict[str, Any]:
        return super().get_forward_related_filter(obj) | {"namespace": obj.namespace_id}  # type: ignore[misc]


class NamespacedForeignKey(_Namespaced, models.ForeignKey):
    """A foreign key between two models with a namespace."""

    forward_related_accessor_class = _ForwardManyToOne
    related_accessor_class = _ReverseManyToOne


class NamespacedOneToOneField(_Namespaced, models.OneToOneField):
    """A one-to-one field between two models with a namespace."""

    forward_related_accessor_class = _ForwardOneToOne
    related_accessor_class = _ReverseOneToOne
