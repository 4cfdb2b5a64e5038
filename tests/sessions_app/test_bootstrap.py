"""The first credentials of an installation."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import connection

from sessions_app.bootstrap import create_first_credentials
from sessions_app.models import ApiKey

pytestmark = pytest.mark.django_db(transaction=True)
MACHINES = 4


def test_of_machines_that_start_at_once_one_creates_them():
    start = Barrier(MACHINES)

    def create(_):
        try:
            with connection.cursor():
                start.wait(60)
            return create_first_credentials()
        finally:
            connection.close()

    with ThreadPoolExecutor(MACHINES) as pool:
        made = [credentials for credentials in pool.map(create, range(MACHINES)) if credentials]
    assert len(made) == ApiKey.objects.count() == User.objects.count() == 1
