#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The OCI configuration that containerd would make of docs/kubernetes.yaml.

    oci.py ROOT CGROUP <MANIFEST >config.json

ROOT is the container's root file system, CGROUP its cgroup.
"""

import json
import sys

import yaml

root, cgroup = sys.argv[1:]
spec = yaml.safe_load(sys.stdin)["spec"]["template"]["spec"]
container = spec["containers"][0]
security = container["securityContext"]
volumes = {volume["name"]: volume for volume in spec["volumes"]}

assert spec["hostPID"] and spec["hostNetwork"]
assert security["capabilities"]["drop"] == ["ALL"]
assert security["seccompProfile"] == {"type": "Unconfined"}
assert not security.get("privileged")

# A manifest that asks for none gets the default one, where AppArmor is on.
profile = (security.get("appArmorProfile") or spec.get("securityContext", {}).get("appArmorProfile")
           or {"type": "RuntimeDefault"})
apparmor = {
    "Unconfined": {},
    "RuntimeDefault": {"apparmorProfile": "cri-containerd.apparmor.d"},
}[profile["type"]]


def mount(kind, destination, *options):
    return {"type": kind, "source": kind, "destination": destination, "options": list(options)}


mounts = [
    mount("proc", "/proc", "nosuid", "noexec", "nodev"),
    mount("tmpfs", "/dev", "nosuid", "mode=755"),
    mount("sysfs", "/sys", "nosuid", "noexec", "nodev", "ro"),
]
for use in container["volumeMounts"]:
    volume = volumes[use["name"]]
    if "hostPath" in volume:
        mounts.append({
            "type": "bind",
            "source": volume["hostPath"]["path"],
            "destination": use["mountPath"],
            "options": ["rbind", "rprivate", "ro" if use.get("readOnly") else "rw"],
        })
    else:
        mounts.append(mount("tmpfs", use["mountPath"], "mode=1777"))

capabilities = ["CAP_" + name for name in security["capabilities"]["add"]]
environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
environment.update((entry["name"], entry["value"]) for entry in container.get("env", []))
json.dump({
    "ociVersion": "1.0.2",
    "root": {"path": root, "readonly": security["readOnlyRootFilesystem"]},
    "mounts": mounts,
    "process": {
        "user": {"uid": security["runAsUser"], "gid": 0},
        "args": container["command"] + container.get("args", []),
        "cwd": "/",
        "env": [f"{name}={value}" for name, value in environment.items()],
        "noNewPrivileges": not security["allowPrivilegeEscalation"],
        "capabilities": {kind: capabilities for kind in ("bounding", "effective", "permitted")},
        **apparmor,
    },
    "linux": {
        "cgroupsPath": cgroup,
        # The node's pids and network; the rest its own, as containerd has it with cgroup v2.
        "namespaces": [{"type": kind} for kind in ("mount", "ipc", "uts", "cgroup")],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}, sys.stdout, indent=1)
