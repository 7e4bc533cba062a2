"""A web server: keeps what is posted in a folder. /hold/ never answers, /gone/ and what is below is
404, /moved/ leads elsewhere. With a certificate and its key it speaks TLS alone."""
import http.server, json, os, ssl, sys, threading

folder = sys.argv[1]
lock = threading.Lock()
count = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global count
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with lock:
            count += 1
            path = os.path.join(folder, f"{count}.json")
        kept = {"path": self.path, "type": self.headers["Content-Type"], "body": json.loads(body)}
        with open(path + ".tmp", "w") as file:
            json.dump(kept, file)
        os.rename(path + ".tmp", path)
        if self.path.startswith("/hold/"):
            threading.Event().wait()
        code = 404 if self.path.startswith("/gone/") else 307 if self.path.startswith("/moved/") else 200
        answer = f"no such hook: {self.path}".encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(answer)))
        if code == 307:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if sys.argv[2:]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[2:])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("port", server.server_port, flush=True)
server.serve_forever()
