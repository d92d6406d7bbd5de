"""Signs one API call with http-message-signatures and prints the status and the answer.

client.py URL KEY_FILE KEY_ID ALGORITHM COMPONENTS BODY; COMPONENTS are separated by commas; with `date`
among them there is a Date and no nonce.
"""

import json
import secrets
import sys
import urllib.error
import urllib.request
from email.utils import formatdate
from types import SimpleNamespace

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

ALGORITHMS = {
    "ed25519": algorithms.ED25519,
    "rsa-pss-sha512": algorithms.RSA_PSS_SHA512,
    "rsa-v1_5-sha256": algorithms.RSA_V1_5_SHA256,
}


def main(url, key_file, key_id, algorithm, components, body):
    with open(key_file, "rb") as file:
        key = load_pem_private_key(file.read(), password=None)

    class Keys(HTTPSignatureKeyResolver):
        def resolve_private_key(self, key_id):
            return key

    body = body.encode()
    headers = {"Content-Type": "application/json"}
    message = SimpleNamespace(method="POST", url=url, headers=headers, body=body)
    signer = HTTPMessageSigner(signature_algorithm=ALGORITHMS[algorithm], key_resolver=Keys())
    covered = tuple(components.split(","))
    if "date" in covered:
        # The date is the time and the signature the nonce; this library cannot leave `created` out.
        headers["Date"] = formatdate(usegmt=True)
        signer.sign(message, key_id=key_id, covered_component_ids=covered, body=body)
    else:
        signer.sign(message, key_id=key_id, nonce=secrets.token_hex(16), covered_component_ids=covered, body=body)
    request = urllib.request.Request(url, data=body, headers=dict(message.headers), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    print(json.dumps({"status": status, "answer": json.loads(text)}))


main(*sys.argv[1:])
