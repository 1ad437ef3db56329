#!/usr/bin/env python3
"""pool.py VESPER SERVER DRIVER.json PROGRAM POOL: what packaging/pool says of HAProxy, Slurm and Kubernetes holds.

Two servers behind HAProxy: sessions are shared out, one server drains without losing the session that it has, and what comes goes to
the other. The wrapper for Slurm runs a program on a server that its job starts. The manifests are such as Kubernetes takes, as far as
that can be seen without one. Prints why a part was left out; status 77 when all of them were.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

VESPER, SERVER, DRIVER, PROGRAM, POOL = sys.argv[1:6]
CONFIGURATION = pathlib.Path(POOL) / "haproxy.cfg"
LOCAL = {**os.environ, "VK_DRIVER_FILES": DRIVER, "VK_ICD_FILENAMES": DRIVER}


def until(what: str, seconds: float, look):
    """What ``look`` says, once it says something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def run(*arguments: str, status: int = 0, **options) -> str:
    found = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=120, **options)
    assert found.returncode == status, f"{arguments}: status {found.returncode}\n{found.stdout}\n{found.stderr}"
    return found.stdout + found.stderr


class Server:
    """One of the pool; all have the same credentials."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        self.out, self.admin = folder / f"{name}.out", f"unix:{folder}/{name}.admin"
        with open(self.out, "wb") as stream:
            self.process = subprocess.Popen(
                [SERVER, "--listen", "tls://127.0.0.1:0", "--credentials", folder / "trust", "--admin", self.admin],
                stdout=stream, stderr=stream, env=LOCAL,
            )
        atexit.register(self.process.kill)  # also when something is wrong
        self.port = until("a server listens", 60, lambda: re.search(r"^listening on tls://.*:(\d+)$", self.out.read_text(), re.M))[1]

    def sessions(self) -> int:
        return int(run(VESPER, "ps", "--admin", self.admin).split(" sessions,")[0])

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.out.read_text()


class Client:
    """A program with a session, which does something when told to."""

    def __init__(self, address: str) -> None:
        self.process = subprocess.Popen(
            [VESPER, "run", "--server", address, "--", VESPER, "bench-rows"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.tell("open submit.empty")
        self.work()

    def tell(self, line: str) -> str:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def work(self) -> None:
        said = self.tell("run 1")
        assert said.startswith("seconds "), said

    def end(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(30) == 0


def check_probe(servers: list[Server]) -> None:
    """Whoever asks is answered without TLS and without credentials; the check in the configuration asks the same."""
    for server in servers:
        assert "vesper is ready" in run(VESPER, "probe", "--server", f"tls://127.0.0.1:{server.port}")
    probe = run(VESPER, "probe", "--hex").strip()
    assert f"tcp-check send-binary {probe}\n" in CONFIGURATION.read_text(), f"haproxy.cfg has to say {probe}"
    run(VESPER, "probe", "--server", "tls://127.0.0.1:1", status=1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def haproxy(folder: pathlib.Path, servers: list[Server]):
    """HAProxy as packaging/pool configures it, but for where it listens and who is behind it."""
    port = free_port()
    text = CONFIGURATION.read_text().replace("bind *:7700", f"bind 127.0.0.1:{port}")
    for name, server in zip(("one", "two"), servers, strict=True):
        text = text.replace(f"server {name} gpu-{name}:7700", f"server {name} 127.0.0.1:{server.port}")
    configuration = folder / "haproxy.cfg"
    configuration.write_text(f"global\n  stats socket {folder}/stats level admin\n{text}")
    run("haproxy", "-c", "-f", configuration)
    process = subprocess.Popen(["haproxy", "-db", "-f", configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def states() -> dict[str, str]:
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(f"{folder}/stats")
            except OSError:
                return {}
            line.sendall(b"show stat\n")
            rows = [row.split(",") for row in line.makefile().read().splitlines() if row.startswith("servers,")]
        return {row[1]: f"{row[17]} {row[36]}" for row in rows}

    try:
        yield port, states
    finally:
        process.terminate()
        process.wait(10)


def check_haproxy(folder: pathlib.Path, token: str, fingerprint: str) -> None:
    servers = [Server(folder, "one"), Server(folder, "two")]
    check_probe(servers)
    with haproxy(folder, servers) as (port, states):
        until("both servers pass their check", 30, lambda: list(map(str.split, states().values()))[:2].count(["UP", "L7OK"]) == 2)
        address = f"tls://{token}@127.0.0.1:{port}#{fingerprint}"
        clients = [Client(address), Client(address)]
        assert [server.sessions() for server in servers] == [1, 1]  # the one with the fewest
        run(VESPER, "drain", "--admin", servers[0].admin)
        until("the one that drains is taken for down", 30, lambda: states().get("one", "").startswith("DOWN"))
        clients.append(Client(address))
        assert [server.sessions() for server in servers] == [1, 2]
        for client in clients:
            client.work()
        for client in clients:
            client.end()
        assert servers[0].process.wait(30) == 0, servers[0].out.read_text()  # with its last session
        run(VESPER, "run", "--server", address, "--", PROGRAM)
    servers[1].end()


def check_slurm(folder: pathlib.Path) -> None:
    """The wrapper, with an srun that runs the job here: the environment of its server is another one than that of its program."""
    tools = folder / "bin"
    tools.mkdir()
    for name, path in (("vesper", VESPER), ("vesper-server", SERVER)):
        (tools / name).symlink_to(path)
    srun = tools / "srun"
    srun.write_text(
        "#!/bin/bash\nwhile [ \"${1#--}\" != \"$1\" ]; do shift; done\n"
        f"export VK_DRIVER_FILES={DRIVER} VK_ICD_FILENAMES={DRIVER}\nexec \"$@\"\n"
    )
    srun.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    wrapper = pathlib.Path(POOL) / "vesper-slurm"
    run(wrapper, "--gres=gpu:1", "--", PROGRAM, env=environment)
    run(wrapper, "--gres=gpu:1", "--", "sh", "-c", "exit 7", env=environment, status=7)
    srun.write_text("#!/bin/sh\necho 'Requested node configuration is not available' >&2\nexit 1\n")
    assert "Requested node" in run(wrapper, "--gres=gpu:9", "--", PROGRAM, env=environment, status=126)


def check_kubernetes() -> None:
    import yaml

    documents = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all((pathlib.Path(POOL) / "kubernetes.yaml").read_text())}
    versions = {"Namespace": "v1", "DaemonSet": "apps/v1", "Service": "v1", "Pod": "v1"}
    for (kind, name), document in documents.items():
        assert document["apiVersion"] == versions[kind] and re.fullmatch("[a-z0-9-]{1,63}", name), document
    daemons, service = documents["DaemonSet", "vesper-server"]["spec"], documents["Service", "vesper"]["spec"]
    labels = daemons["template"]["metadata"]["labels"]
    assert daemons["selector"]["matchLabels"] == labels and service["selector"].items() <= labels.items()
    for pod in (daemons["template"]["spec"], documents["Pod", "vulkaninfo"]["spec"]):
        volumes = [volume["name"] for volume in pod["volumes"]]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes), container
            assert container["image"] and all(set(each) <= {"name", "value", "valueFrom"} for each in container.get("env", ()))
    (container,) = daemons["template"]["spec"]["containers"]
    assert {port["targetPort"] for port in service["ports"]} <= {port["name"] for port in container["ports"]}
    known = set(re.findall(r"--[a-z-]+", run(SERVER, "--help")))
    assert {a for a in container["args"] if a.startswith("--")} <= known
    for command in (container["readinessProbe"]["exec"]["command"], container["lifecycle"]["preStop"]["exec"]["command"]):
        assert command[0] == "vesper" and command[2] in run(VESPER, command[1], "--help"), command


def main() -> int:
    done = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        said = run(SERVER, "init", "--host", "127.0.0.1", "--credentials", folder / "trust")
        token, fingerprint = re.search(r"VESPER_SERVER='tls://([^@]+)@[^#]*#([^']+)'", said).groups()
        if shutil.which("haproxy"):
            check_haproxy(folder, token, fingerprint)
            done += 1
        else:
            print("pool.py: there is no haproxy")
        check_slurm(folder)
        done += 1
    try:
        check_kubernetes()
        done += 1
    except ImportError:
        print("pool.py: there is no python3-yaml")
    return 0 if done else 77


sys.exit(main())
