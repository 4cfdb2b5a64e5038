"""A PgBouncer in transaction mode before the PostgreSQL of a data directory."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection

from memory_site.embedded.data_dir import DataDirectory
from memory_site.operations.selftest.scratch_site import find_free_port
from tests.stack.stack import wait_until

#: Debian's place is not on the path of ordinary users.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NOT_INSTALLED = "PgBouncer is not installed: apt-get install pgbouncer"
#: Two server connections for each role: four in all.
CONFIGURATION = """
[databases]
memory = host={host} port={port} dbname=memory pool_size=2
[pgbouncer]
pool_mode = transaction
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
max_client_conn = 500
"""


@contextmanager
def running_pgbouncer(directory: Path, home: DataDirectory, passwords: Mapping[str, str]) -> Iterator[str]:
    """Provide the address of a pooler as HOST:PORT inside the block, for roles with these passwords."""
    port = find_free_port()
    users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
    users.write_text("".join(f'"{role}" "{password}"\n' for role, password in passwords.items()))
    names = {"host": home.database["HOST"], "port": home.database["PORT"], "listen_port": port, "users": users}
    configuration.write_text(CONFIGURATION.format(**names))
    # It does not run as root; the servers of root's data directory run as nobody.
    change = ["-u", "nobody"] if os.geteuid() == 0 else []
    directory.chmod(0o755)
    with (directory / "pgbouncer.log").open("w") as log:
        process = subprocess.Popen([PROGRAM, *change, str(configuration)], stdout=log, stderr=log)
    try:
        wait_until(lambda: accepts(port), 60, "PgBouncer listens")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def accepts(port: int) -> bool:
    try:
        create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
