"""The caches of a process: bounded, expiring, cleared together and empty after a fork."""

import os
import threading

from memory_site.core.caches import Cache, clear_all_caches


def test_the_least_recently_used_entry_leaves_a_full_cache():
    cache = Cache(maxsize=2)
    cache.set("a", 1)
    cache.set("b", 2)
    assert cache.get("a") == 1
    cache.set("c", 3)
    assert dict(cache.items()) == {"a": 1, "c": 3}


def test_an_entry_expires_however_often_it_is_read():
    cache = Cache(maxsize=2, seconds=0.05)
    cache.set("a", 1)
    pause = threading.Event()
    for _ in range(4):
        cache.get("a")
        pause.wait(0.02)
    assert cache.get("a") is None


def test_concurrent_callers_create_an_entry_once():
    cache, created = Cache(maxsize=2), []

    def create() -> int:
        created.append(threading.get_ident())
        return 1

    threads = [threading.Thread(target=cache.get_or_create, args=("a", create)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(created) == 1


def test_an_entry_that_is_no_longer_valid_is_created_again():
    cache = Cache(maxsize=2)
    cache.set("a", 1)
    assert cache.get_or_create("a", lambda: 2, lambda value: value > 1) == 2
    assert cache.get("a") == 2


def test_all_caches_are_cleared_together():
    caches = [Cache(maxsize=2), Cache(maxsize=2, seconds=60)]
    for cache in caches:
        cache.set("a", 1)
    clear_all_caches()
    assert [cache.items() for cache in caches] == [[], []]


def test_a_forked_process_starts_with_empty_caches_and_free_locks():
    cache = Cache(maxsize=2)
    cache.set("a", 1)
    child = fork_while_locked(cache)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.get("a") == 1


def fork_while_locked(cache: Cache) -> int:
    """Fork while another thread is creating an entry; the child's exit code is 0 if it can use the cache."""
    creating, done = threading.Event(), threading.Event()

    def create() -> int:
        creating.set()
        done.wait(60)
        return 2

    thread = threading.Thread(target=cache.get_or_create, args=("b", create))
    thread.start()
    creating.wait(60)
    child = os.fork()
    if not child:
        os._exit(0 if cache.items() == [] else 1)
    done.set()
    thread.join()
    return child
