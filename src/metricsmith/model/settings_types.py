"""Types of settings that every part shares: durations, sizes, secrets, paths."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
)
from pydantic.fields import FieldInfo

from metricsmith.model.duration import format_duration, parse_duration
from metricsmith.model.host_names import HOST_NAME

_SIZE = re.compile(r"(\d{1,15})\s*(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB)?", re.ASCII)
_FACTOR = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
MAX_SECRET_FILE_BYTES = 65_536


def _duration(value: Any) -> int:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return 0
    raise ValueError("a duration with its unit, such as 15s")


def parse_size(text: str) -> int:
    """Return bytes of a size such as 64MB; units are powers of 1024, as Prometheus reads them.

    Raises:
        ValueError: not a size.

    >>> parse_size("64MB"), parse_size("10")
    (67108864, 10)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'got "{text[:40]}", wanted a size such as 512KB or 64MB')
    return int(match[1]) * _FACTOR[(match[2] or "B").replace("i", "")]


def format_size(size: float) -> str:
    """Return bytes for people, one decimal.

    >>> format_size(2_684_354_560)
    '2.5GB'
    """
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f}B" if unit == "B" else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}TB"


def _size(value: Any) -> int:
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("a size such as 64MB")


DurationMs = Annotated[int, BeforeValidator(_duration), PlainSerializer(format_duration, when_used="json")]
"""A duration setting, written as 15s or 1h30m and kept in milliseconds."""

SizeBytes = Annotated[int, BeforeValidator(_size)]
"""A size setting, written as 64MB or a number of bytes."""

_FROM_FILE = "file:"


def context_of(file: str) -> dict[str, Path]:
    """Return the validation context of settings that stand in a file: where their relative paths begin.

    Without it, or when there is no file, that is the working directory.
    """
    return {"folder": Path(file).parent}


def _host_name(text: str) -> str:
    if not HOST_NAME.fullmatch(text):
        raise ValueError(f'got "{text[:100]}", wanted a name without port, such as metrics.example.com')
    return text


def _beside(path: str, info: ValidationInfo) -> str:
    folder = (info.context or {}).get("folder", Path())
    return os.path.join(folder, path) if path and folder != Path() else path  # noqa: PTH118 - globs stay as they are


def _secret_beside(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    path = file_of(secret)
    return secret if path is None else SecretStr(_FROM_FILE + _beside(path, info))


FilePathText = Annotated[str, AfterValidator(_beside)]
"""A path; a relative one begins beside the file that the setting stands in."""

_SECRET_FILE = "file of a secret"
SecretFile = Annotated[str, AfterValidator(_beside), _SECRET_FILE]
"""A path of a file that holds a secret: nobody else should be able to read it."""

PATTERN = "pattern of files"
FilePattern = Annotated[str, AfterValidator(_beside), PATTERN]
"""A path or glob of files that are looked at again and again: none may be there yet."""

FOLDER_PATH = "folder"
FolderPath = Annotated[str, AfterValidator(_beside), FOLDER_PATH]
"""A path of a folder that is looked into again and again."""

Secret = Annotated[SecretStr, AfterValidator(_secret_beside)]
"""A secret: its text, or `file:PATH`, which `reveal` reads."""


HostName = Annotated[str, AfterValidator(_host_name)]
"""A name of a host, `*.example.com` for those below it, `*` for all."""


def has_type(field: FieldInfo, marked: Any) -> bool:
    """Return whether a setting is of a type such as DurationMs, be it optional or not."""
    return any(mark in get_args(marked)[1:] for mark in _marks(field))


def names_secret_file(field: FieldInfo) -> bool:
    """Return whether a setting names a file that holds a secret, be it optional or not."""
    return _SECRET_FILE in _marks(field)


def _marks(field: FieldInfo) -> list[Any]:
    optional = [mark for inner in get_args(field.annotation) for mark in get_args(inner)[1:]]
    return [*field.metadata, *optional]


def in_unit(field: FieldInfo, number: float) -> str:
    """Return a number as people write it in that setting: 10 is 10ms in a duration, 10B in a size."""
    if has_type(field, DurationMs):
        return format_duration(int(number))
    if has_type(field, SizeBytes):
        return format_size(number).replace(".0", "")
    return str(number)


def file_of(secret: SecretStr | str) -> str | None:
    """Return the path of the file that a secret is in, None where it is its own text."""
    text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    return text.removeprefix(_FROM_FILE) if text.startswith(_FROM_FILE) else None


def reveal(secret: SecretStr | str) -> str:
    """Return a secret's text; `file:PATH` is read now, so that a rotated secret is seen.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is too large or no text.
    """
    text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    path = file_of(text)
    if path is None:
        return text
    with Path(path).open("rb") as file:
        data = file.read(MAX_SECRET_FILE_BYTES + 1)
    if len(data) > MAX_SECRET_FILE_BYTES:
        raise ValueError(f"got a secret file over {MAX_SECRET_FILE_BYTES} bytes, wanted one secret")
    return data.decode().strip()


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation is, or holds in a union, a tuple or a mapping; None if none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(nested_model, get_args(annotation))), None)
