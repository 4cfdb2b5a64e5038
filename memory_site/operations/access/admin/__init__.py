"""Console pages of sessions and of the audit. Devices of the second factor have none: it would show their secrets."""

from django.contrib import admin
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from memory_site.operations.access.admin.audit import AuditAdmin as AuditAdmin
from memory_site.operations.access.admin.sessions import ConsoleSessionAdmin as ConsoleSessionAdmin

for model in (StaticDevice, TOTPDevice):
    if admin.site.is_registered(model):
        admin.site.unregister(model)
