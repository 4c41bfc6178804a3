"""
What a file that is sent says of itself: its form, by the Content-Type.

Reads headers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message

from fastapi import Request

from app.problem import Problem, ProblemKind


def suffix_of(request: Request, suffixes: Mapping[str, str], advice: str = "") -> str:
    """
    That of `suffixes`, by media type. A Problem for other forms and charsets, and for compression: a small gzip body
    can hold gigabytes.
    """
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    suffix = suffixes.get(header.get_content_type()) if header["content-type"] else None
    is_utf8 = str(header.get_param("charset", "utf-8")).lower() in ("utf-8", "utf8")
    if suffix is None or not is_utf8 or request.headers.get("content-encoding", "identity") != "identity":
        detail = f"Send uncompressed UTF-8 with a Content-Type of {', '.join(suffixes)}{advice}."
        raise Problem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, detail)
    return suffix
