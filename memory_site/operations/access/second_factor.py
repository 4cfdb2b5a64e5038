"""One-time passwords as a second factor (RFC 6238), and the recovery codes for a lost phone.

Recovery codes have 80 random bits, and the table holds as many of their SHA-256: a code cannot be read there.
"""

import hashlib
from base64 import b32encode
from secrets import token_bytes
from typing import Any

from django.db import transaction
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

REQUIRED = "required"
#: In a session whose password was right and whose code is still missing.
PENDING = "_second_factor_pending"
RECOVERY_CODES = 10
CODE_BYTES = 10


def has_second_factor(user: Any) -> bool:
    return TOTPDevice.objects.filter(user=user, confirmed=True).exists()


def is_verified(user: Any) -> bool:
    """Return whether the request's session has passed the second factor, which ConsoleMiddleware asks for."""
    return user.is_verified()


def begin_set_up(user: Any) -> TOTPDevice:
    """Return the device that waits for its first code; one is made if none waits."""
    waiting = TOTPDevice.objects.filter(user=user, confirmed=False).first()
    return waiting or TOTPDevice.objects.create(user=user, name="phone", confirmed=False)


@transaction.atomic
def confirm_set_up(device: TOTPDevice, code: str) -> list[str] | None:
    """Make the device the account's second factor if the code is right. Return new recovery codes, or None."""
    if not verify(device, code):
        return None
    TOTPDevice.objects.filter(user=device.user).exclude(pk=device.pk).delete()
    device.confirmed = True
    device.save()
    return make_recovery_codes(device.user)


@transaction.atomic
def make_recovery_codes(user: Any) -> list[str]:
    """Replace the recovery codes. Return them; they are not shown again."""
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="recovery codes", confirmed=True)
    codes = [b32encode(token_bytes(CODE_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=hash_code(code)) for code in codes)
    return ["-".join(code[start : start + 4] for start in range(0, len(code), 4)) for code in codes]


def hash_code(code: str) -> str:
    return b32encode(hashlib.sha256(code.encode()).digest()[:CODE_BYTES]).decode().lower()


def count_recovery_codes(user: Any) -> int:
    return StaticToken.objects.filter(device__user=user).count()


@transaction.atomic
def find_device(user: Any, code: str) -> Device | None:
    """Return the device that the code is of: the phone's, or the recovery codes, of which it is used up."""
    text = "".join(code.split()).replace("-", "").lower()
    if text.isdecimal() and len(text) < CODE_BYTES:
        devices = list(TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True))
        return next((device for device in devices if verify(device, text)), None)
    recovery = StaticDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
    return recovery if recovery and recovery.verify_token(hash_code(text)) else None


def verify(device: TOTPDevice, code: str) -> bool:
    text = "".join(code.split())
    return text.isascii() and text.isdecimal() and len(text) == device.digits and device.verify_token(text)


def get_wait_seconds(user: Any) -> int:
    """Return for how long codes are refused after wrong ones: the time doubles with each."""
    waits = []
    for model in (TOTPDevice, StaticDevice):
        for device in model.objects.filter(user=user, confirmed=True):
            allowed, facts = device.verify_is_allowed()
            if not allowed and facts and facts.get("locked_until"):
                waits.append((facts["locked_until"] - device.throttling_failure_timestamp).total_seconds())
    return round(max(waits, default=0))


@transaction.atomic
def reset_second_factor(user: Any) -> bool:
    """Take the second factor off an account. Return False if it had none."""
    removed = [model.objects.filter(user=user).delete()[0] for model in (TOTPDevice, StaticDevice)]
    return any(removed)
