"""Addresses of the pages of one's own account."""

from django.contrib import admin
from django.urls import path

from memory_site.operations.access import views

urlpatterns = [
    path("second-factor/", views.ask_for_code, name="second_factor"),
    path("account/", admin.site.admin_view(views.show_account), name="account"),
    path("account/sessions/end/", admin.site.admin_view(views.end_own_sessions), name="end_own_sessions"),
    path("account/second-factor/", admin.site.admin_view(views.set_up_second_factor), name="set_up_second_factor"),
    path(
        "account/second-factor/change/", admin.site.admin_view(views.change_second_factor), name="change_second_factor"
    ),
]
