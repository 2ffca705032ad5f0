"""A hub of one process: enough of the protocol for models to be fetched and sent."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator


class Hub:
    """What it holds: files of each repository by commit, the newest last."""

    def __init__(self):
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.asked: list[str] = []
        self.tokens = {"right"}

    def put(self, name: str, files: dict[str, bytes]) -> str:
        commits = self.commits.setdefault(name, {})
        sha = hashlib.sha1(f"{name}{len(commits)}".encode()).hexdigest()
        commits[sha] = files
        return sha

    def commit(self, name: str, revision: str) -> str:
        commits = self.commits[name]
        return list(commits)[-1] if revision == "main" else commits.get(revision) and revision


@contextlib.contextmanager
def running() -> Iterator[tuple[Hub, str]]:
    """The hub and its address."""
    hub = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def json(self, value: object) -> None:
            self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

        def refuse(self, code: int, kind: str) -> None:
            self.answer(code, b"{}", X_Error_Code=kind, X_Error_Message=kind)

        def do_GET(self):
            hub.asked.append(self.path)
            if found := re.fullmatch(
                r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/?]+).*", self.path
            ):
                name, what, revision = found.groups()
                if name not in hub.commits:
                    return self.refuse(404, "RepoNotFound")
                if not (sha := hub.commit(name, revision)):
                    return self.refuse(404, "RevisionNotFound")
                files = hub.commits[name][sha]
                if what == "tree":
                    return self.json(
                        [
                            {"type": "file", "path": p, "size": len(b), "oid": sha}
                            for p, b in files.items()
                        ]
                    )
                return self.json(
                    {"id": name, "sha": sha, "siblings": [{"rfilename": path} for path in files]}
                )
            if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)", self.path):
                name, revision, path = found.groups()
                sha = hub.commit(name, revision)
                body = hub.commits[name][sha].get(path)
                if body is None:
                    return self.refuse(404, "EntryNotFound")
                etag = hashlib.sha1(body).hexdigest()
                return self.answer(200, body, ETag=f'"{etag}"', X_Repo_Commit=sha)
            return self.refuse(404, "RepoNotFound")

        do_HEAD = do_GET

        def do_POST(self):
            hub.asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.headers.get("Authorization", "").removeprefix("Bearer ") not in hub.tokens:
                return self.refuse(401, "Unauthorized")
            if self.path == "/api/repos/create":
                wanted = json.loads(body)
                name = f"{wanted.get('organization') or 'ada'}/{wanted['name']}"
                hub.commits.setdefault(name, {})
                return self.json({"url": f"http://{self.headers['Host']}/{name}", "id": name})
            if self.path == "/api/validate-yaml":
                return self.json({"warnings": [], "errors": []})
            if "/preupload/" in self.path:
                paths = [file["path"] for file in json.loads(body)["files"]]
                modes = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]
                return self.json({"files": modes})
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/?]+).*", self.path):
                lines = [json.loads(line) for line in body.splitlines()]
                new = {
                    line["value"]["path"]: base64.b64decode(line["value"]["content"])
                    for line in lines
                    if line["key"] == "file"
                }
                name = found[1]
                old = hub.commits[name][hub.commit(name, "main")] if hub.commits[name] else {}
                sha = hub.put(name, {**old, **new})
                url = f"http://{self.headers['Host']}/{name}/commit/{sha}"
                return self.json({"commitUrl": url, "commitOid": sha, "success": True})
            return self.refuse(404, "RepoNotFound")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
