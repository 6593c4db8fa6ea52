"""The Authorization header that the settings ask for."""

from __future__ import annotations

import base64

from metricsmith.model.settings_types import reveal
from metricsmith.net.settings import Access


def authorization(settings: Access) -> dict[str, str]:
    """Return the header, or nothing; secrets in files are read now.

    Raises:
        OSError, ValueError: the secret cannot be read, or is not one line of text.
    """
    basic, other = settings.basic_auth, settings.authorization
    if basic is not None:
        pair = f"{basic.username}:{reveal(basic.secret())}"
        value = f"Basic {base64.b64encode(pair.encode()).decode()}"
    elif other is not None:
        value = f"{other.type} {reveal(other.secret())}"
    else:
        return {}
    if not value.isprintable():
        raise ValueError("it holds control characters, wanted one line of text")
    return {"Authorization": value}
