"""Task messages are sent without waiting for the broker."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from celery import Celery
from django.db import transaction
from redis import Redis

from memory_site.core.wakeup import MIN_INTERVAL_SECONDS, TaskTrigger
from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import DataDirectory

BROKER_QUEUE = "memory_site:memory_site"


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[Broker]:
    """A broker of our own, which may be frozen."""
    home = DataDirectory(Path(tmp_path_factory.mktemp("trigger")) / "home")
    with home.lock():
        broker = Broker(home)
        broker.launch()
        broker.wait_until_ready()
        yield broker
        broker.stop()


@pytest.fixture
def queue(broker: Broker) -> Iterator[Redis]:
    with Redis(unix_socket_path=str(broker.home.broker_socket), socket_timeout=60) as client:
        client.delete(BROKER_QUEUE)
        yield client


def build_trigger(url: str, **options: object) -> TaskTrigger:
    app = Celery("bells", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.conf.broker_url = url
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, **options}

    @app.task(name="ring a trigger", shared=False)
    def task() -> None:
        """Never run: there is no worker."""

    return TaskTrigger(task)


@pytest.fixture
def trigger(broker: Broker) -> TaskTrigger:
    return build_trigger(broker.home.broker_url, socket_timeout=60, socket_connect_timeout=60)


@pytest.fixture
def list_senders(monkeypatch: pytest.MonkeyPatch) -> Callable[[TaskTrigger], list[threading.Thread]]:
    """Return a list that grows by the thread of each attempt to send a message: who calls must not be among them."""

    def list_senders(trigger: TaskTrigger) -> list[threading.Thread]:
        senders: list[threading.Thread] = []
        send = trigger.task.apply_async

        def note_and_send(*arguments: object, **options: object) -> object:
            senders.append(threading.current_thread())
            return send(*arguments, **options)

        monkeypatch.setattr(trigger.task, "apply_async", note_and_send)
        return senders

    return list_senders


def wait_for(happens: Callable[[], object], seconds: float = 60) -> object:
    ends = time.monotonic() + seconds
    while not (found := happens()) and time.monotonic() < ends:
        time.sleep(0.01)
    return found


@pytest.mark.django_db(transaction=True)
def test_the_message_arrives(trigger, queue):
    trigger.notify_on_commit()
    assert wait_for(lambda: queue.llen(BROKER_QUEUE) == 1)


@pytest.mark.django_db(transaction=True)
def test_message_is_sent_after_the_commit(trigger, queue):
    with transaction.atomic():
        trigger.notify_on_commit()
        time.sleep(3 * MIN_INTERVAL_SECONDS)
        assert queue.llen(BROKER_QUEUE) == 0
    assert wait_for(lambda: queue.llen(BROKER_QUEUE) == 1)


@pytest.mark.django_db(transaction=True)
def test_rollback_sends_no_message(trigger, queue):
    with pytest.raises(KeyError), transaction.atomic():
        trigger.notify_on_commit()
        raise KeyError
    time.sleep(3 * MIN_INTERVAL_SECONDS)
    assert queue.llen(BROKER_QUEUE) == 0


@pytest.mark.django_db(transaction=True)
def test_at_most_ten_messages_a_second_are_sent(trigger, queue):
    started, rung = time.monotonic(), 0
    while time.monotonic() - started < 0.5 or rung < 20:
        trigger.notify_on_commit()
        rung += 1
        time.sleep(0.001)
    assert wait_for(lambda: queue.llen(BROKER_QUEUE) >= 2)
    time.sleep(2 * MIN_INTERVAL_SECONDS)
    sent = queue.llen(BROKER_QUEUE)
    assert sent <= (time.monotonic() - started) / MIN_INTERVAL_SECONDS + 1


@pytest.mark.django_db(transaction=True)
def test_threads_share_one_trigger(trigger, queue):
    before = threading.active_count()
    ringers = [threading.Thread(target=trigger.notify) for _ in range(20)]
    for ringer in ringers:
        ringer.start()
    for ringer in ringers:
        ringer.join()
    assert wait_for(lambda: queue.llen(BROKER_QUEUE) >= 1)
    assert threading.active_count() <= before + 1


def notify_often(trigger: TaskTrigger) -> None:
    for _ in range(20):
        trigger.notify_on_commit()


@pytest.mark.django_db(transaction=True)
def test_missing_broker_does_not_delay_the_caller(tmp_path, caplog, list_senders):
    dead = build_trigger(f"redis+socket://{tmp_path}/nobody.sock")
    senders = list_senders(dead)
    notify_often(dead)
    assert wait_for(lambda: "The broker did not take a message" in caplog.text)
    notify_often(dead)
    assert wait_for(lambda: len(senders) >= 2)
    assert threading.current_thread() not in senders


@pytest.mark.django_db(transaction=True)
def test_frozen_broker_does_not_delay_the_caller_and_gets_a_later_message(broker, queue, list_senders):
    trigger = build_trigger(broker.home.broker_url)
    senders = list_senders(trigger)

    def notify_until_sent(messages: int) -> bool:
        trigger.notify_on_commit()
        return queue.llen(BROKER_QUEUE) >= messages

    assert wait_for(lambda: notify_until_sent(1))
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        before = len(senders)
        notify_often(trigger)
        assert wait_for(lambda: len(senders) > before)
        notify_often(trigger)
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    sent = queue.llen(BROKER_QUEUE)
    assert wait_for(lambda: notify_until_sent(sent + 1))
    assert threading.current_thread() not in senders


@pytest.mark.django_db(transaction=True)
def test_failing_trigger_does_not_undo_the_store(trigger, monkeypatch):
    def no_more_threads(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    trigger.notify_on_commit()


@pytest.mark.django_db(transaction=True)
def test_store_sends_one_message_to_the_project_queue(api, project_queue):
    numbers = count()

    def store_until_sent() -> bool:  # a broker that is kept from its work for seconds gets the message of a later store
        api.add(f"tea {next(numbers)}")
        return any(b"memories.tasks.embed_due" in each for each in project_queue.lrange(BROKER_QUEUE, 0, -1))

    assert wait_for(store_until_sent)


@pytest.fixture
def project_queue(settings) -> Iterator[Redis]:
    with Redis(unix_socket_path=str(settings.HOME.broker_socket), socket_timeout=60) as client:
        client.delete(BROKER_QUEUE)
        yield client
