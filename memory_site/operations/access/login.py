"""The form of the login page."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from unfold.forms import AuthenticationForm

WRONG = "The name or the password is wrong. Both are case-sensitive."
LOCKED = "Too many failed attempts from here. Try again in 15 minutes, or ask an administrator to unlock the login."


class LoginForm(AuthenticationForm):
    """Says the same whether the account exists, is switched off, or is no member of the staff."""

    error_messages = {**AuthenticationForm.error_messages, "invalid_login": WRONG, "inactive": WRONG}

    def __init__(self, *args: Any, **options: Any) -> None:
        """Have a longer name be an error of the form: Django would only tell the browser how long it may be."""
        super().__init__(*args, **options)
        username = self.fields["username"]
        username.validators.append(MaxLengthValidator(username.max_length))

    def clean(self) -> dict[str, Any]:
        try:
            return super().clean()
        except ValidationError as error:
            if getattr(self.request, "axes_locked_out", False):
                raise ValidationError(LOCKED, code="locked") from error
            raise
