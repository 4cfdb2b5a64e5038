"""/client/memory-site-client.tar.gz: the source of this release's Python client, which pip installs from there."""

import gzip
import tarfile
from functools import cache
from io import BytesIO
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

NAME = "memory-site-client"
CLIENT_DIR: Path = settings.BASE_DIR / "memory_client"
#: Of the files of the package and of what it is built with.
SUFFIXES = (".py", ".typed", ".toml", ".md")


@require_safe
def get_archive(request: HttpRequest) -> HttpResponse:
    """Return the archive to anybody: it is the same in every copy of the product."""
    return HttpResponse(pack_client(), content_type="application/gzip")


@cache
def pack_client() -> bytes:
    """Return the archive, packed once by each process; it has the same bytes wherever it is made."""
    packed = BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name in list_files():
            content = (CLIENT_DIR / name).read_bytes()
            entry = tarfile.TarInfo(f"{NAME}/{name}")
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    return packed.getvalue()


def list_files() -> list[Path]:
    """Return the files of the package, below its folder: none that is hidden, as in a `.venv`, and none by a link."""
    files = [path for path in CLIENT_DIR.rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    names = [path.relative_to(CLIENT_DIR) for path in files if not path.is_symlink()]
    return sorted(name for name in names if not any(part.startswith(".") for part in name.parts))
