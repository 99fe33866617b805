"""Authlib and requests_oauth2client, unmodified: each asks about a token and ends it (RFC 7662, RFC 7009)."""

import pathlib
import sys
import time

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey
from requests_oauth2client import OAuth2Client, PrivateKeyJwt

library, issuer, folder, token = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]
metadata = requests.get(f"{issuer}/.well-known/oauth-authorization-server", timeout=10).json()
pem = (folder / "edge.pem").read_text()


def with_authlib():
    key = ECKey.import_key(pem)
    session = OAuth2Session("edge", key, token_endpoint_auth_method="private_key_jwt", revocation_endpoint_auth_method="private_key_jwt")

    def authenticated():
        # The broker takes assertions for its issuer identifier alone, for five minutes at most, and once; the library would
        # write its first `jti` into the claims that it is given and use it for ever.
        session.register_client_auth_method(PrivateKeyJWT(token_endpoint=issuer, claims={"exp": int(time.time()) + 60}, alg="ES256"))
        return session

    about = lambda: authenticated().introspect_token(metadata["introspection_endpoint"], token=token).json()
    return about, lambda: authenticated().revoke_token(metadata["revocation_endpoint"], token=token).status_code == 200


def with_requests_oauth2client():
    key = {**ECKey.import_key(pem).as_dict(private=True), "kid": "edge-1", "alg": "ES256"}
    client = OAuth2Client(
        metadata["token_endpoint"], PrivateKeyJwt("edge", key, aud=issuer), issuer=issuer, testing=True,
        introspection_endpoint=metadata["introspection_endpoint"], revocation_endpoint=metadata["revocation_endpoint"])
    return lambda: client.introspect_token(token), lambda: client.revoke_token(token)


about, end = {"Authlib": with_authlib, "requests_oauth2client": with_requests_oauth2client}[library]()
before = about()
assert before["active"] is True and before["sub"] == "alice" and before["act"]["sub"] == "edge", before
assert end()
assert about() == {"active": False}
