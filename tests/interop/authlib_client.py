"""Authlib, unmodified: private_key_jwt whose assertion names the issuer, an exchange, and validation of the token."""

import json
import pathlib
import sys
import time

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.jose import JsonWebKey, jwt
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

issuer, folder, form = sys.argv[1], pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])
metadata = requests.get(f"{issuer}/.well-known/oauth-authorization-server", timeout=10).json()
assert metadata["issuer"] == issuer

# A key that is given as text is taken for RSA.
key = ECKey.import_key((folder / "edge.pem").read_text())
session = OAuth2Session("edge", key, token_endpoint_auth_method="private_key_jwt", token_endpoint=metadata["token_endpoint"])
# The broker takes assertions for its issuer identifier alone, not for the address of an endpoint, and for five
# minutes at most; the library's own choice is an hour.
method = PrivateKeyJWT(token_endpoint=issuer, claims={"exp": int(time.time()) + 60}, alg="ES256")
session.register_client_auth_method(method)
token = session.fetch_token(metadata["token_endpoint"], grant_type="urn:ietf:params:oauth:grant-type:token-exchange", **form)

keys = JsonWebKey.import_key_set(requests.get(metadata["jwks_uri"], timeout=10).json())
claims = jwt.decode(
    token["access_token"],
    keys,
    claims_options={
        "iss": {"essential": True, "value": issuer},
        "aud": {"essential": True, "value": "https://tickets.internal"},
        "sub": {"essential": True, "value": "alice"},
    },
)
claims.validate()
assert claims["act"]["sub"] == "edge", claims
