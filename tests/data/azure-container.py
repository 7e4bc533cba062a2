#!/usr/bin/env python3
"""Makes a container: azure-container.py ENDPOINT ACCOUNT KEY NAME. With Python alone, by Azure's Shared Key rules."""
import base64
import email.utils
import hashlib
import hmac
import sys
import urllib.parse
import urllib.request

endpoint, account, key, name = sys.argv[1:]
url = f"{endpoint}/{name}"
date = email.utils.formatdate(usegmt=True)
version = "2021-12-02"
path = urllib.parse.urlparse(url).path
text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n/{account}{path}\nrestype:container"
signature = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
request = urllib.request.Request(
    url + "?restype=container",
    method="PUT",
    headers={"x-ms-date": date, "x-ms-version": version, "Authorization": f"SharedKey {account}:{signature}"},
)
urllib.request.urlopen(request)
