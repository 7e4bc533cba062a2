#!/usr/bin/env python3
"""A small store that speaks Google Cloud Storage's XML API: google-store.py BUCKET PUBLIC_KEY EMAIL. Objects are in memory.

Only what a repository asks for, by https://cloud.google.com/storage/docs/xml-api/reference-methods: objects that are put (also only
if none is there: x-goog-if-generation-match), read, looked at, deleted and listed in pages, and uploads in parts. Who asks shows a token
that the service account signed itself (RS256, https://google.aip.dev/auth/4111); the signature is checked by openssl."""
import base64
import email.utils
import hashlib
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import xml.etree.ElementTree as xml
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

bucket, public_key, account = sys.argv[1:]
PAGE = 50  # objects; Google's own have 1000
SMALLEST_PART = 5 << 20  # of an upload in parts, but the last one
lock = threading.Lock()
objects = {}  # name: bytes, generation, time
uploads = {}  # id: name, parts by number
numbers = itertools.count(1)
valid = set()


class Refused(Exception):
    def __init__(self, status, code):
        self.status, self.code = status, code


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def check(token):
    """Whether the account signed this token, and for now."""
    try:
        signed, _, signature = token.rpartition(".")
        header, claims = (json.loads(unpadded(part)) for part in signed.split("."))
    except ValueError:
        return False
    if header.get("alg") != "RS256" or claims.get("iss") != account or not claims["iat"] - 60 <= time.time() < claims["exp"]:
        return False
    with tempfile.NamedTemporaryFile() as file:
        file.write(unpadded(signature))
        file.flush()
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", public_key, "-signature", file.name], input=signed.encode(),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode == 0


def etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        where, _, name = url.path.lstrip("/").partition("/")
        try:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in valid:
                if not check(token):
                    raise Refused(401, "AuthenticationRequired")
                valid.add(token)
            if where != bucket:
                raise Refused(404, "NoSuchBucket")
            with lock:
                self.act(urllib.parse.unquote(name), query, body)
        except Refused as refused:
            self.answer(refused.status, f"<?xml version='1.0'?><Error><Code>{refused.code}</Code></Error>".encode())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

    def act(self, name, query, body):
        match self.command, name:
            case "GET", "" if "uploads" in query:
                self.answer(200, "".join(f"<Upload>{escape(upload[0])}</Upload>" for upload in uploads.values()).encode())
            case "GET", "":
                self.list(query)
            case "GET" | "HEAD", _:
                self.read(name)
            case "PUT", _ if "uploadId" in query:
                self.upload(name, query)[1][int(query["partNumber"])] = body
                self.answer(200, ETag=etag(body))
            case "PUT", _:
                self.put(name, body)
            case "POST", _ if "uploads" in query:
                number = f"upload/{next(numbers)}"
                uploads[number] = (name, {})
                self.answer(200, f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(name)}</Key>"
                                 f"<UploadId>{number}</UploadId></InitiateMultipartUploadResult>".encode())
            case "POST", _ if "uploadId" in query:
                self.complete(name, query, body)
            case "DELETE", _ if "uploadId" in query:
                self.upload(name, query)
                del uploads[query["uploadId"]]
                self.answer(204)
            case "DELETE", _:
                if objects.pop(name, None) is None:
                    raise Refused(404, "NoSuchKey")
                self.answer(204)
            case _:
                raise Refused(405, "MethodNotAllowed")

    def put(self, name, body):
        wanted = self.headers.get("x-goog-if-generation-match")
        there = objects[name][1] if name in objects else 0
        if wanted is not None and int(wanted) != there:
            raise Refused(412, "PreconditionFailed")
        generation = next(numbers)
        objects[name] = (body, generation, time.time())
        self.answer(200, ETag=etag(body), x_goog_generation=generation)

    def read(self, name):
        if name not in objects:
            raise Refused(404, "NoSuchKey")
        data, generation, at = objects[name]
        headers = {"ETag": etag(data), "x_goog_generation": generation, "Last_Modified": email.utils.formatdate(at, usegmt=True)}
        span = self.headers.get("Range")
        if span is None:
            return self.answer(200, data, Content_Length=len(data), **headers)
        first, _, last = span.removeprefix("bytes=").partition("-")
        first, last = int(first), min(int(last or len(data)), len(data) - 1)
        if first > last:
            raise Refused(416, "InvalidRange")
        self.answer(206, data[first:last + 1], Content_Range=f"bytes {first}-{last}/{len(data)}", **headers)

    def upload(self, name, query):
        found = uploads.get(query["uploadId"])
        if found is None or found[0] != name:
            raise Refused(404, "NoSuchUpload")
        return found

    def complete(self, name, query, body):
        parts = self.upload(name, query)[1]
        asked = [{child.tag.rpartition("}")[2]: child.text for child in part} for part in xml.fromstring(body)]
        data = []
        for part in asked:
            one = parts.get(int(part["PartNumber"]))
            if one is None or etag(one) != part["ETag"]:
                raise Refused(400, "InvalidPart")
            data.append(one)
        if any(len(one) < SMALLEST_PART for one in data[:-1]):
            raise Refused(400, "EntityTooSmall")
        del uploads[query["uploadId"]]
        generation = next(numbers)
        objects[name] = (b"".join(data), generation, time.time())
        self.answer(200, f"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(name)}</Key>"
                         "<ETag>\"joined\"</ETag></CompleteMultipartUploadResult>".encode(), x_goog_generation=generation)

    def list(self, query):
        prefix, behind = query.get("prefix", ""), query.get("continuation-token") or query.get("start-after", "")
        # By their bytes, as Google sorts them.
        names = sorted((name for name in objects if name.startswith(prefix) and name.encode() > behind.encode()), key=str.encode)
        page = names[:min(PAGE, int(query.get("max-keys", PAGE)))]
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if page and len(names) > len(page) else ""
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><ETag>{etag(objects[name][0])}</ETag><Size>{len(objects[name][0])}</Size>"
            f"<LastModified>{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(objects[name][2]))}</LastModified></Contents>" for name in page)
        self.answer(200, f"<?xml version='1.0'?><ListBucketResult><Name>{bucket}</Name>{contents}{more}</ListBucketResult>".encode())


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listens on http://127.0.0.1:{server.server_address[1]} now", flush=True)
server.serve_forever()
