#!/usr/bin/env python3
"""CPU per small HTTPS request: webgateway's dataplane compared with nginx and HAProxy, in one run on one machine.

Each proxy runs with one worker, pinned to one core; the backend (nginx) and the clients (h2load) share another.
The figure is the proxy's own CPU time (utime + stime of all its threads, from /proc/PID/task/*/schedstat) divided
by the requests answered. Rounds are interleaved, so that a machine whose speed drifts drifts for all of them; the ratio is the median of the rounds' own.
The peers only terminate TLS and proxy; webgateway also splits by SNI, as it always does.

Needs: nginx, haproxy, h2load (nghttp2-client), openssl, and a release build (make release).
"""

import argparse
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = "app.gw.example"
BACKEND, GATEWAY, NGINX, HAPROXY = 19000, 19443, 19444, 19445


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more)


def make_certificate(folder):
    key, chain = folder / "key.pem", folder / "chain.pem"
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    run("openssl", "req", "-x509", "-key", key, "-out", chain, "-days", "30", "-subj", f"/CN={HOST}",
        "-addext", f"subjectAltName=DNS:{HOST},DNS:gw.example")
    (folder / "both.pem").write_text(chain.read_text() + key.read_text())
    return key, chain


def gateway(binary, folder, key, chain):
    (folder / "feed.json").write_text(json.dumps({
        "version": 1,
        "settings": {"base_domain": "gw.example", "allowed_backends": ["127.0.0.0/8"]},
        "certificates": [{"id": HOST, "names": [HOST, "gw.example"], "chain": chain.read_text(), "key": key.read_text()}],
        "routes": [{"id": "00000000-0000-7000-8000-000000000001", "host": HOST, "backends": [f"127.0.0.1:{BACKEND}"]}],
    }))
    return [binary, "--feed-endpoint", f"file:{folder}/feed.json",
            "--https-port", str(GATEWAY), "--http-port", "0", "--listen", "127.0.0.1", "--workers", "1",
            "--admin-listen", "127.0.0.1:0", "--log-level", "warn"]


def nginx(folder, name, body):
    conf = folder / f"{name}.conf"
    conf.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log error;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; {body} }}
""")
    return ["nginx", "-p", str(folder), "-c", str(conf)]


def nginx_proxy(folder, key, chain):
    return nginx(folder, "proxy", f"""
upstream backend {{ server 127.0.0.1:{BACKEND}; keepalive 256; keepalive_requests 1000000000; }}
server {{
  listen 127.0.0.1:{NGINX} ssl; http2 on; server_name {HOST};
  ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
  location / {{
    proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Forwarded-Host $host;
  }}
}}""".replace(" http2 on;", "" if nginx_is_old() else " http2 on;").replace(
        f"{NGINX} ssl;", f"{NGINX} ssl http2;" if nginx_is_old() else f"{NGINX} ssl;"))


def nginx_is_old():
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", run("nginx", "-v").stderr)
    return tuple(map(int, version.groups())) < (1, 25, 1)


def haproxy(folder):
    conf = folder / "haproxy.cfg"
    conf.write_text(f"""
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend tls
  bind 127.0.0.1:{HAPROXY} ssl crt {folder}/both.pem alpn h2,http/1.1
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend app
backend app
  server one 127.0.0.1:{BACKEND}
""")
    return ["haproxy", "-db", "-f", str(conf)]


def start(command, cpu, port):
    with open(os.environ.get("BENCH_LOG", os.devnull), "a") as log:
        process = subprocess.Popen(["taskset", "-c", str(cpu), *map(str, command)], stdout=log, stderr=log)
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            if process.poll() is not None:
                sys.exit(f"{command[0]} did not start")
            time.sleep(0.02)
    sys.exit(f"{command[0]} does not listen on {port}")


def cpu_of(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1000  # µs


def visit(port, requests, connections, cpu, h1):
    out = run("taskset", "-c", str(cpu), "h2load", *(["--h1"] if h1 else ["-m", "8"]), "-n", str(requests),
              "-c", str(connections), "-t", "1", f"--connect-to=127.0.0.1:{port}", f"https://{HOST}/").stdout
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
    if not done or int(done[1]) != requests or re.search(r"status codes: (\d+) 2xx", out)[1] != str(requests):
        sys.exit(f"not every request succeeded on port {port}:\n{out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", default=ROOT / "target/release/webgateway-dataplane")
    arguments = parser.parse_args()
    processes = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        key, chain = make_certificate(folder)
        backend = nginx(folder, "backend", f"""
server {{ listen 127.0.0.1:{BACKEND}; location / {{ default_type text/plain; return 200 "hello\\n"; }} }}""")
        background = start(backend, 1, BACKEND)
        peers = {
            "webgateway": (gateway(arguments.binary, folder, key, chain), GATEWAY),
            "nginx": (nginx_proxy(folder, key, chain), NGINX),
            "haproxy": (haproxy(folder), HAPROXY),
        }
        try:
            for peer, (command, port) in peers.items():
                processes[peer] = start(command, 0, port)
            for work, h1 in [("h1", True), ("h2", False)]:
                figures = {peer: [] for peer in peers}
                for turn in range(arguments.rounds + 1):
                    for peer, (_, port) in peers.items():
                        before = cpu_of(processes[peer].pid)
                        visit(port, arguments.requests, arguments.connections, 1, h1)
                        if turn > 0:  # the first round warms up
                            figures[peer].append((cpu_of(processes[peer].pid) - before) / arguments.requests)
                for peer, values in figures.items():
                    # Pair by pair within a round: what slows the machine slows both.
                    ours = figures["webgateway"]
                    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, values))
                    beside = "" if peer == "webgateway" else f"  webgateway costs {ratio:.2f} of it"
                    print(f"{work}  {peer:<10}  {statistics.median(values):6.1f} µs/request  "
                          f"(min {min(values):.1f}, max {max(values):.1f}){beside}", flush=True)
        finally:
            for process in [*processes.values(), background]:
                process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
