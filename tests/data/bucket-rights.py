#!/usr/bin/env python3
"""A bucket with versions on moto, a host's key that creates and reads, an administrator's that may all.

bucket-rights.py ENDPOINT make BUCKET             makes them, has moto check rights from then on; prints the keys as JSON
bucket-rights.py ENDPOINT attack BUCKET ID KEY    does all that a thief can do with a key; prints what came of it
bucket-rights.py ENDPOINT undo BUCKET ID KEY TIME puts back what was current at TIME (seconds since 1970)
bucket-rights.py ENDPOINT lock BUCKET ID KEY MODE makes it anew, with object lock for a day
bucket-rights.py ENDPOINT destroy BUCKET ID KEY   deletes every version, as far as that is possible; prints what came of it
bucket-rights.py ENDPOINT show BUCKET ID KEY      shows again what was deleted, by deleting the marks of that
"""
import json
import sys
import urllib.request

import boto3
from botocore.exceptions import ClientError

# As in docs/stores.md.
HOST = ["s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:AbortMultipartUpload"]


def client(service, key_id="setup", key="setup"):
    return boto3.client(
        service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key_id, aws_secret_access_key=key
    )


def make(bucket):
    s3, iam = client("s3"), client("iam")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    keys = {}
    for user, actions in {"host": HOST, "admin": ["*"]}.items():
        iam.create_user(UserName=user)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        iam.put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=json.dumps(policy))
        made = iam.create_access_key(UserName=user)["AccessKey"]
        keys[user] = [made["AccessKeyId"], made["SecretAccessKey"]]
    plain = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset-auth", data=b"0", headers=plain))
    print(json.dumps(keys))


def attack(bucket, key_id, key):
    s3 = client("s3", key_id, key)
    done = {"deleted": 0, "overwritten": 0, "refused": 0}

    def attempt(what, action, **arguments):
        try:
            answer = action(Bucket=bucket, **arguments)
            done[what] += 1 if not answer.get("Errors") else 0
            done["refused"] += len(answer.get("Errors", []))
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied", error
            done["refused"] += 1

    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [one["Key"] for page in pages for one in page["Contents"]]
    for name in names:
        attempt("deleted", s3.delete_object, Key=name)
    attempt("deleted", s3.delete_objects, Delete={"Objects": [{"Key": name} for name in names]})
    attempt("deleted", s3.put_bucket_versioning, VersioningConfiguration={"Status": "Suspended"})
    for name in names:
        attempt("overwritten", s3.put_object, Key=name, Body=b"destroyed")
    print(json.dumps({**done, "objects": len(names)}))


def undo(bucket, key_id, key, time):
    s3 = client("s3", key_id, key)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for one in page["Versions"]:
            if one["IsLatest"] and one["LastModified"].timestamp() > float(time):
                versions = s3.list_object_versions(Bucket=bucket, Prefix=one["Key"])["Versions"]
                old = [v for v in versions if v["Key"] == one["Key"] and v["LastModified"].timestamp() <= float(time)]
                source = {"Bucket": bucket, "Key": one["Key"], "VersionId": max(old, key=lambda v: v["LastModified"])["VersionId"]}
                s3.copy_object(Bucket=bucket, Key=one["Key"], CopySource=source)


def lock(bucket, key_id, key, mode):
    s3 = client("s3", key_id, key)
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": mode, "Days": 1}}
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule})


def destroy(bucket, key_id, key):
    s3 = client("s3", key_id, key)
    done = {"destroyed": 0, "refused": 0}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for one in page["Versions"]:
            try:
                s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
                done["destroyed"] += 1
            except ClientError as error:
                assert error.response["Error"]["Code"] == "AccessDenied", error
                done["refused"] += 1
    print(json.dumps(done))


def show(bucket, key_id, key):
    s3 = client("s3", key_id, key)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for one in page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])


endpoint, action, *rest = sys.argv[1:]
actions = {"make": make, "attack": attack, "undo": undo, "lock": lock, "destroy": destroy, "show": show}
actions[action](*rest)
