"""A unit for systemd, with what the agent does not need taken away from it."""

from __future__ import annotations

from collections.abc import Iterator

from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.files import Generated, header
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.sinks.file.settings import FileSinkConfig

UNIT = "metricsmith.service"
STATE = "/var/lib/metricsmith"
CONFIG = "/etc/metricsmith/metricsmith.yaml"
_PRIVILEGED_PORTS = range(1, 1024)

_UNIT = """\
{header}# Copy to /etc/systemd/system, then: systemctl daemon-reload && systemctl enable --now metricsmith
# What the configuration refers to as ${{NAME}} stands in /etc/metricsmith/environment, mode 0600,
# owner root, one NAME=VALUE a line: so the configuration holds no secret, and everybody may read it.
[Unit]
Description=metricsmith, an agent for custom metrics
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=5min
StartLimitBurst=10

[Service]
Type=exec
ExecStart={program} run -c {config}
ExecReload=/bin/kill -HUP $MAINPID
EnvironmentFile=-/etc/metricsmith/environment
Environment=METRICSMITH_STORAGE_PATH={state} PYTHONDONTWRITEBYTECODE=1
Restart=on-failure
RestartSec=5s
# A configuration with mistakes is not tried again and again.
RestartPreventExitStatus=3
TimeoutStopSec=60s
# A user of its own that is there while the agent runs; its data belongs to it whatever its number is.
DynamicUser=yes
StateDirectory=metricsmith
StateDirectoryMode=0700
UMask=0077
LimitNOFILE=65536

# What it sees: everything read-only but its state, no homes, no devices, but other processes, for the host's
# metrics.
ProtectSystem=strict
ProtectHome={homes}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateUsers={private_users}
RemoveIPC=yes

# What it may do: no privileges, no new ones, no system calls beyond those of a service.
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
NoNewPrivileges=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
# Not MemoryDenyWriteExecute=yes: libraries that call back into Python need such memory.

[Install]
WantedBy=multi-user.target
"""


def systemd(configured: Configured, program: str, config: str) -> Generated:
    """Return the unit that runs a program on a configuration at a path."""
    ports, parts = low_ports(configured), configured.meaning.of("sources")
    capabilities = "CAP_NET_BIND_SERVICE" if ports else ""
    unit = _UNIT.format(
        header=header("systemd"),
        program=program,
        config=config,
        state=STATE,
        capabilities=capabilities,
        # Within a user namespace of its own it could not listen on such a port.
        private_users="no" if ports else "yes",
        # What is hidden has no size.
        homes="read-only" if any(part.type == "host" for part in parts) else "yes",
    )
    return Generated({UNIT: unit}, tuple(_notes(configured)))


def low_ports(configured: Configured) -> list[int]:
    """Return the ports that it listens on and that only privileged programs may."""
    configs = [part.config for part in configured.meaning.of("sources")]
    bound = [c.endpoint for c in configs if isinstance(c, SocketSettings) and c.bind]
    ports = [int(endpoint.rpartition(":")[2]) for endpoint in bound if endpoint.startswith("tcp:")]
    return [p for p in (configured.meaning.settings.server.address()[1], *ports) if p in _PRIVILEGED_PORTS]


def _notes(configured: Configured) -> Iterator[str]:
    if any(part.type == "exec" for part in configured.meaning.of("sources")):
        yield "source exec: its programs may do what the unit may; widen it for those that need more"
    for part in configured.meaning.of("sinks"):
        if isinstance(part.config, FileSinkConfig) and not part.config.path.startswith(f"{STATE}/"):
            yield f"sink {part.name}: {part.config.path} cannot be written to; choose a folder in {STATE}"
