"""
Photographs that clients sent, in the object store: each below its client's own prefix, named by what was sent.

Knows no pictures; what is kept is bytes that model/photograph.py has made safe.
"""

from __future__ import annotations

import hashlib
import re

from model.store.objects import ObjectMissingError, ObjectStore

REFERENCE_PATTERN = "^ph_[0-9a-f]{32}$"
_REFERENCE = re.compile("ph_[0-9a-f]{32}")
NAME_CHARS = 32
"""Of a sha256: names are looked for below one client alone, who could only collide with itself."""


def reference_of(sent: bytes) -> str:
    """
    The same file has the same reference for ever, whatever is made of it.

    So a client whose photograph has expired sends the file again, and every product that names it is whole again.
    """
    return f"ph_{hashlib.sha256(sent).hexdigest()[:NAME_CHARS]}"


def is_reference(image: str) -> bool:
    """Whether a product's `image` names a photograph that was sent here, and not an address somewhere else."""
    return _REFERENCE.fullmatch(image) is not None


def keep(objects: ObjectStore, client: str, reference: str, content: bytes) -> None:
    """Raises ObjectStoreDownError."""
    objects.put(_key(client, reference), content)


def find(objects: ObjectStore, client: str, reference: str) -> bytes | None:
    """None where this client has none of that name, or has it no longer. Raises ObjectStoreDownError."""
    try:
        return objects.get(_key(client, reference))
    except ObjectMissingError:
        return None


def is_kept(objects: ObjectStore, client: str, reference: str) -> bool:
    """As `find`, without its bytes."""
    return bool(objects.list(_key(client, reference)))


def _key(client: str, reference: str) -> str:
    """A provider may call its clients anything, and a key takes few characters: the folder is the name's digest."""
    return f"photographs/{hashlib.sha256(client.encode()).hexdigest()[:NAME_CHARS]}/{reference}"
