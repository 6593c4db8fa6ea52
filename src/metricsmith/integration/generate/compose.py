"""A Compose file: the agents of a configuration, each in a container that may do little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from metricsmith.config.settings import Settings
from metricsmith.errors import ConfigError, Problem
from metricsmith.integration.generate import pods
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.files import Generated, header
from metricsmith.integration.generate.image import USER
from metricsmith.integration.generate.roles import (
    DATA,
    FILE,
    FOLDER,
    NAME,
    Role,
    cautions,
    files_of,
    roles,
    used_variables,
)
from metricsmith.integration.generate.rule_files import own_rule_files
from metricsmith.integration.generate.yaml_text import yaml_text

KIND = "compose"
MAIN = "compose.yaml"
SECRETS = "metricsmith.env"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_INFLUXDB = "influxdb:1.8.10"
_PROMETHEUS = "prom/prometheus:v3.5.0"
_PORTS = {"influxdb": 8086, "prometheus": 9090}


def compose(configured: Configured, image: str) -> Generated:
    """Return a Compose file, and the file of its secrets where there are any.

    A store on a loopback address, which in a container is the container itself,
    becomes a container of its own.

    Raises:
        ConfigError: secrets cannot be told apart, or rule files have mistakes.
    """
    settings, rules = configured.meaning.settings, own_rule_files(configured)
    stores = _store(configured, settings)
    found = tuple(_reaching(role, stores) for role in roles(configured))
    services, files, volumes = dict[str, Any](), dict[str, str](), dict[str, Any]()
    for role in found:
        services[role.name] = _service(role, settings, image, [*stores])
        # Files beside it and no `content`: that cannot be put into containers that are read-only.
        files |= {f"{role.name}/{name}": text for name, text in files_of(role, rules, header(KIND)).items()}
        volumes[f"{role.name}-data"] = {}
    volumes |= {f"{name}-data": {} for name in stores}
    data = {"name": NAME, "services": services | stores, "volumes": volumes}
    files = {MAIN: header(KIND) + yaml_text(data), **files}
    variables = {name: value for role in found for name, value in role.variables.items()}
    if variables:
        lines = (f"{name}={_one_line(name, value or '')}\n" for name, value in sorted(variables.items()))
        files[SECRETS] = header(KIND) + "".join(lines)
    private = {SECRETS: variables} if variables else {}
    notes, mounted = tuple(cautions(found, configured.meaning)), [name for name in files if "/" in name]
    return Generated(files, notes, frozenset(private), private, mounted)


def _service(role: Role, settings: Settings, image: str, needs: list[str]) -> dict[str, Any]:
    done: dict[str, Any] = {
        "image": image,
        "command": ["run", "-c", f"{FOLDER}/{FILE}"],
        "user": f"{USER}:{USER}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp:size=64m,mode=1777"],
        "mem_limit": f"{int(pods.memory(settings).removesuffix('Mi'))}m",
        "restart": "unless-stopped",
        "init": True,  # programs that integrations leave behind are cleared away
        "stop_grace_period": "60s",
        # The image's own health check asks there.
        "environment": {"METRICSMITH_URL": f"http://127.0.0.1:{role.http}"},
    }
    if role.per_node:
        done["environment"]["NODE_NAME"] = "${HOSTNAME:-node}"
    if role.variables:
        done["env_file"] = [{"path": SECRETS, "format": "raw"}]
    if not role.per_node:
        # To this machine alone; put an address before it to open it.
        done["ports"] = [f"127.0.0.1:{role.http}:{role.http}"]
        done["expose"] = [str(port) for port in role.ports.values()]
    done["volumes"] = [f"./{role.name}:{FOLDER}:ro", f"{role.name}-data:{DATA}", *_host(role)]
    others = [*needs, *([NAME] if role.name != NAME else [])]
    if others:
        done["depends_on"] = others
    return done


def _host(role: Role) -> Iterator[str]:
    if role.per_node:
        yield from ("/proc:/host/proc:ro", "/sys:/host/sys:ro", "/:/host/root:ro,rslave")


def _reaching(role: Role, stores: Mapping[str, Any]) -> Role:
    """Return an agent whose store is one of the containers, at the port that its image has."""
    storage = role.data.get("storage") or {}
    if not stores or "url" not in storage:
        return role
    (name,) = stores
    data = {**role.data, "storage": {**storage, "url": f"http://{name}:{_PORTS[name]}"}}
    return replace(role, data=data, variables=used_variables(data, role.variables))


def _store(configured: Configured, settings: Settings) -> dict[str, dict[str, Any]]:
    url = urlsplit(settings.storage.url or "")
    if url.hostname not in _LOOPBACK:
        return {}
    hardened = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "restart": "unless-stopped"}
    if configured.meaning.store.type == "influxdb":
        # It creates nothing that needs rights: the agent creates its database.
        start = {"image": _INFLUXDB, "environment": {"INFLUXDB_REPORTING_DISABLED": "true"}}
        return {"influxdb": {**start, **hardened, "volumes": ["influxdb-data:/var/lib/influxdb"]}}
    if configured.meaning.store.type == "prometheus":
        flags = ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
        start = {"image": _PROMETHEUS, "command": [*flags, "--web.enable-remote-write-receiver"]}
        return {"prometheus": {**start, **hardened, "volumes": ["prometheus-data:/prometheus"]}}
    return {}


def _one_line(name: str, value: str) -> str:
    if "\n" in value:
        wanted = "wanted one line: a file of variables holds no more"
        raise ConfigError([Problem(name, f"got several lines, {wanted}")])
    return value
