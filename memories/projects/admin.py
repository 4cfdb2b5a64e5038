"""The console's pages of projects: groups of them, and how they depend on each other."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories.insights.models import DependencyType, ProjectDependency, ProjectGroup
from memories.projects.schemas.projects import DependencyIn, Description, GroupIn, GroupPatch
from memories.projects.visibility import masks_of
from memory_site.core.admin.base import ConsoleList
from memory_site.core.admin.filters import ExactFilter
from memory_site.core.admin.formatting import grouped, name_cell, pretty_json, shortened, spaced
from memory_site.core.admin.schema_forms import CheckedAdmin, CheckedForm, MemberFilter, among_newest, choice
from memory_site.core.admin.widgets import Json, listing, text_area
from memory_site.core.http.fields import In, JsonObject
from sessions_app.admin.shared import NamespaceFilter

JOINED = '<span class="spoken-name">{}</span> <span class="spoken-arrow">→</span> <span class="spoken-name">{}</span>'
MEMBERS = '<span class="memory-beginning" title="{}"><b>{}</b> {}</span>'
ENDS = ("source_project", "target_project")
DEPENDENCY_TYPES = {
    DependencyType.USES: "info",
    DependencyType.EXTENDS: "success",
    DependencyType.REFERENCES: "primary",
    DependencyType.SHARES_CODE: "warning",
}


class DescribedForm(CheckedForm):
    description = text_area()
    metadata = Json()

    def clean_description(self) -> str:
        return self.cleaned_data["description"] or ""


class ProjectList(ConsoleList):
    def get_results(self, request: HttpRequest) -> None:
        self.queryset = self.queryset.defer("masks", "metadata")
        super().get_results(request)


class ProjectAdmin(CheckedAdmin):
    """What both pages share."""

    readonly_fields = ("created", "updated", "metadata_shown")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ProjectList]:
        return ProjectList

    @display(description="metadata")
    def metadata_shown(self, row: ProjectGroup | ProjectDependency) -> SafeString:
        return pretty_json(row.metadata)

    @display(description="about", empty_value="-")
    def about(self, row: ProjectGroup | ProjectDependency) -> str | None:
        return shortened(row.description[:200], 80) or None


# Groups


class GroupFilter(MemberFilter):
    title, parameter_name, column = "project", "project", "projects"


class GroupForm(DescribedForm):
    whole, part = GroupIn, GroupPatch
    identity = ("namespace", "name")
    taken = "There is a group of this name already."
    projects = listing(required=True)

    class Meta:
        model = ProjectGroup
        fields = ("namespace", "name", "description", "projects", "metadata")

    def implied(self) -> dict[str, Any]:
        """The names under which insights know its projects."""
        return {"masks": masks_of(self.cleaned_data["projects"])} if "projects" in self.changed_data else {}


@admin.register(ProjectGroup)
class GroupAdmin(ProjectAdmin):
    form = GroupForm
    list_display = ("called", "members", "about", "namespace", "updated")
    list_display_links = ("called",)
    list_filter = (NamespaceFilter, GroupFilter)
    list_before_template = "admin/insights/projectgroup/list_intro.html"
    search_fields = ("name",)  # shows the box; get_search_results says what it does
    search_help_text = "Name, or a part of it"
    fixed = ("namespace",)
    add_fieldsets = ((None, {"fields": ("namespace", "name", "projects", "description", "metadata")}),)
    fieldsets = (
        (None, {"fields": (("name", "namespace"), "projects", "description", "metadata_shown")}),
        ("Edit metadata", {"fields": ("metadata",), "classes": ("collapse",)}),
        ("Record", {"fields": (("created", "updated"),)}),
    )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        return (among_newest(queryset, Q(name__icontains=text)) if text else queryset), False

    @display(description="group")
    def called(self, group: ProjectGroup) -> SafeString:
        return name_cell(group.name)

    @display(description="projects")
    def members(self, group: ProjectGroup) -> SafeString:
        names = ", ".join(group.projects[:100])
        return format_html(MEMBERS, names, grouped(len(group.projects)), shortened(names, 80))


# Dependencies


class EitherFilter(ExactFilter):
    title, parameter_name = "project", "project"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        text = self.value() or ""
        if "\0" in text:  # which no row can hold
            return queryset.none()
        return queryset.filter(Q(source_project=text) | Q(target_project=text)) if text else queryset


class DependencyPatch(In):
    description: Description = None
    metadata: JsonObject = None


class DependencyForm(DescribedForm):
    whole, part = DependencyIn, DependencyPatch
    identity = ("namespace", "source_project", "target_project", "type")
    taken = "This dependency is known already."

    class Meta:
        model = ProjectDependency
        fields = ("namespace", "source_project", "target_project", "type", "description", "metadata")

    def implied(self) -> dict[str, Any]:
        """The names under which insights know the two."""
        both = [self.cleaned_data[name] for name in ENDS if name in self.cleaned_data]
        return {"masks": masks_of(both)} if both else {}


@admin.register(ProjectDependency)
class DependencyAdmin(ProjectAdmin):
    form = DependencyForm
    list_display = ("joined", "kind", "about", "namespace", "updated")
    list_display_links = ("joined",)
    list_filter = (NamespaceFilter, choice("type", DependencyType.values), EitherFilter)
    list_before_template = "admin/insights/projectdependency/list_intro.html"
    search_fields = ("source_project",)  # shows the box; get_search_results says what it does
    search_help_text = "Either project, or a part of its name"
    fixed = ("namespace", *ENDS, "type")
    add_fieldsets = ((None, {"fields": ("namespace", ENDS, "type", "description", "metadata")}),)
    fieldsets = (
        (None, {"fields": (ENDS, ("type", "namespace"), "description", "metadata_shown")}),
        ("Edit metadata", {"fields": ("metadata",), "classes": ("collapse",)}),
        ("Record", {"fields": (("created", "updated"),)}),
    )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        either = Q(source_project__icontains=text) | Q(target_project__icontains=text)
        return (among_newest(queryset, either) if text else queryset), False

    @display(description="dependency")
    def joined(self, dependency: ProjectDependency) -> SafeString:
        return format_html(JOINED, *(shortened(getattr(dependency, name), 60) for name in ENDS))

    @display(description="type", label=DEPENDENCY_TYPES)
    def kind(self, dependency: ProjectDependency) -> tuple[str, str]:
        return dependency.type, spaced(dependency.type)
