"""Values of typed settings: all of them, with their places, and which of them name files of secrets."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from metricsmith.model.settings_types import FilePathText, Secret, SecretFile, file_of, names_secret_file
from metricsmith.model.settings_values import setting_values


class Inner(BaseModel):
    key_file: SecretFile | None = None
    names: dict[str, Secret] = {}


class Outer(BaseModel):
    global_: int = Field(1, alias="global")
    many: tuple[Inner, ...] = ()
    token: Annotated[SecretFile, AfterValidator(str)] = ""
    ca_file: FilePathText | None = None


def test_all_values_with_their_places() -> None:
    inner = {"key_file": "k", "names": {"a": "file:s", "b": "text"}}
    found = list(setting_values(Outer.model_validate({"many": [inner], "token": "t"}), ("top",)))
    assert [(each.path[1:], each.key) for each in found] == [
        (("global",), "global"),
        (("many", 0, "key_file"), "key_file"),
        (("many", 0, "names", "a"), "a"),
        (("many", 0, "names", "b"), "b"),
        (("token",), "token"),
        (("ca_file",), "ca_file"),
    ]
    assert [each.path[-1] for each in found if names_secret_file(each.field)] == ["key_file", "token"]
    secrets = [each.value for each in found if isinstance(each.value, SecretStr)]
    assert [file_of(secret) for secret in secrets] == ["s", None]
