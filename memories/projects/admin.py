"""The console's pages of project groups and project dependencies."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories.insights.models import DependencyType, ProjectDependency, ProjectGroup
from memories.projects.console_page import show_projects
from memories.projects.schemas.projects import DependencyIn, GroupIn, GroupPatch, ProjectDescription
from memories.projects.storage import map_redacted_names
from memory_site.core.admin.base import CappedChangeList
from memory_site.core.admin.filters import ExactFilter
from memory_site.core.admin.formatting import (
    format_number,
    render_json,
    render_name_cell,
    replace_underscores,
    truncate,
)
from memory_site.core.admin.schema_forms import (
    ArrayContainsFilter,
    SchemaAdmin,
    SchemaForm,
    filter_newest,
    make_choice_filter,
)
from memory_site.core.admin.widgets import JSONObjectField, make_tags_field, make_text_field
from memory_site.core.http.fields import InputSchema, JsonObject
from sessions_app.admin.namespaces import NamespaceFilter

DEPENDENCY_TEMPLATE = (
    '<span class="spoken-name">{}</span> <span class="spoken-arrow">→</span> <span class="spoken-name">{}</span>'
)
MEMBERS_TEMPLATE = '<span class="memory-beginning" title="{}"><b>{}</b> {}</span>'
DEPENDENCY_ENDS = ("source_project", "target_project")
DEPENDENCY_TYPE_COLOURS = {
    DependencyType.USES: "info",
    DependencyType.EXTENDS: "success",
    DependencyType.REFERENCES: "primary",
    DependencyType.SHARES_CODE: "warning",
}


class ProjectForm(SchemaForm):
    description = make_text_field()
    metadata = JSONObjectField()

    def clean_description(self) -> str:
        return self.cleaned_data["description"] or ""


class ProjectList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        self.queryset = self.queryset.defer("redacted_names", "metadata")
        super().get_results(request)


class ProjectAdmin(SchemaAdmin):
    """Base of both pages."""

    readonly_fields = ("created", "updated", "metadata_shown")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ProjectList]:
        return ProjectList

    @display(description="metadata")
    def metadata_shown(self, row: ProjectGroup | ProjectDependency) -> SafeString:
        return render_json(row.metadata)

    @display(description="about", empty_value="-", ordering="description")
    def about(self, row: ProjectGroup | ProjectDependency) -> str | None:
        return truncate(row.description[:200], 80) or None


# Groups


class GroupProjectFilter(ArrayContainsFilter):
    title, parameter_name, column = "project", "project", "projects"


class GroupForm(ProjectForm):
    whole, part = GroupIn, GroupPatch
    identity = ("namespace", "name")
    taken = "A group with this name exists."
    projects = make_tags_field(required=True)

    class Meta:
        model = ProjectGroup
        fields = ("namespace", "name", "description", "projects", "metadata")

    def implied(self) -> dict[str, Any]:
        """Return the redacted names of the projects if these were changed."""
        if "projects" not in self.changed_data:
            return {}
        return {"redacted_names": map_redacted_names(self.cleaned_data["projects"])}


@admin.register(ProjectGroup)
class GroupAdmin(ProjectAdmin):
    empty_text = "The projects of a group see each other's memories and insights."
    form = GroupForm
    list_display = ("name_cell", "members", "about", "namespace", "updated")
    list_display_links = ("name_cell",)
    list_filter = (NamespaceFilter, GroupProjectFilter)
    list_before_template = "admin/insights/projectgroup/list_intro.html"
    search_fields = ("name",)  # shows the search box; get_search_results does the search
    search_help_text = "A name, or a part of it"
    fixed = ("namespace",)
    add_fieldsets = ((None, {"fields": ("namespace", "name", "projects", "description", "metadata")}),)
    fieldsets = (
        (None, {"fields": (("name", "namespace"), "projects", "description", "metadata_shown")}),
        ("Edit metadata", {"fields": ("metadata",), "classes": ("collapse",)}),
        ("Record", {"fields": (("created", "updated"),)}),
    )

    def get_urls(self) -> list[URLPattern]:
        """Add the page of projects, named like a list because the side bar links to lists."""
        view = self.admin_site.admin_view(partial(show_projects, model_admin=self))
        return [path("projects/", view, name="insights_project_changelist"), *super().get_urls()]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        return (filter_newest(queryset, Q(name__icontains=text)) if text else queryset), False

    @display(description="group", ordering="name")
    def name_cell(self, group: ProjectGroup) -> SafeString:
        return render_name_cell(group.name)

    @display(description="projects", ordering="projects__len")
    def members(self, group: ProjectGroup) -> SafeString:
        names = ", ".join(group.projects[:100])
        return format_html(MEMBERS_TEMPLATE, names, format_number(len(group.projects)), truncate(names, 80))


# Dependencies


class DependencyProjectFilter(ExactFilter):
    title, parameter_name = "project", "project"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        text = self.value() or ""
        if "\0" in text:  # no text of PostgreSQL has one
            return queryset.none()
        return queryset.filter(Q(source_project=text) | Q(target_project=text)) if text else queryset


class DependencyPatch(InputSchema):
    description: ProjectDescription = None
    metadata: JsonObject = None


class DependencyForm(ProjectForm):
    whole, part = DependencyIn, DependencyPatch
    identity = ("namespace", "source_project", "target_project", "type")
    taken = "This dependency exists."

    class Meta:
        model = ProjectDependency
        fields = ("namespace", "source_project", "target_project", "type", "description", "metadata")

    def implied(self) -> dict[str, Any]:
        """Return the redacted names of both projects."""
        both = [self.cleaned_data[name] for name in DEPENDENCY_ENDS if name in self.cleaned_data]
        return {"redacted_names": map_redacted_names(both)} if both else {}


@admin.register(ProjectDependency)
class DependencyAdmin(ProjectAdmin):
    empty_text = "Two projects, one of which depends on the other, see each other's memories and insights."
    form = DependencyForm
    list_display = ("ends", "type_label", "about", "namespace", "updated")
    list_display_links = ("ends",)
    list_filter = (NamespaceFilter, make_choice_filter("type", DependencyType.values), DependencyProjectFilter)
    list_before_template = "admin/insights/projectdependency/list_intro.html"
    search_fields = ("source_project",)  # shows the search box; get_search_results does the search
    search_help_text = "The name of either project, or a part of it"
    fixed = ("namespace", *DEPENDENCY_ENDS, "type")
    add_fieldsets = ((None, {"fields": ("namespace", DEPENDENCY_ENDS, "type", "description", "metadata")}),)
    fieldsets = (
        (None, {"fields": (DEPENDENCY_ENDS, ("type", "namespace"), "description", "metadata_shown")}),
        ("Edit metadata", {"fields": ("metadata",), "classes": ("collapse",)}),
        ("Record", {"fields": (("created", "updated"),)}),
    )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        either = Q(source_project__icontains=text) | Q(target_project__icontains=text)
        return (filter_newest(queryset, either) if text else queryset), False

    @display(description="dependency", ordering="source_project")
    def ends(self, dependency: ProjectDependency) -> SafeString:
        return format_html(DEPENDENCY_TEMPLATE, *(truncate(getattr(dependency, name), 60) for name in DEPENDENCY_ENDS))

    @display(description="type", label=DEPENDENCY_TYPE_COLOURS, ordering="type")
    def type_label(self, dependency: ProjectDependency) -> tuple[str, str]:
        return dependency.type, replace_underscores(dependency.type)
