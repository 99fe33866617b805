// Real clients, unmodified: each discovers, authenticates with private_key_jwt, exchanges and validates by itself.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const AUDIENCE = 'https://tickets.internal';

export function form(token, action = 'read') {
  return {
    subject_token: token,
    subject_token_type: ACCESS_TOKEN,
    audience: AUDIENCE,
    authorization_details: JSON.stringify([{ type: 'ticket', actions: [action], identifier: '42' }]),
  };
}

// What a token of the broker must say, whichever client got it.
export function narrow(claims, narrows, sub = 'alice') {
  assert.equal(claims.iss, narrows.issuer);
  assert.equal(claims.aud, AUDIENCE);
  assert.equal(claims.sub, sub);
  assert.deepEqual(claims.act, { iss: narrows.issuer, sub: 'edge' });
  assert.ok(claims.exp - claims.iat <= 120);
  assert.deepEqual(claims.authorization_details, [{ type: 'ticket', actions: ['read'], identifier: '42' }]);
}

export async function withJose(narrows, token, sub) {
  const metadata = await (await fetch(`${narrows.issuer}/.well-known/oauth-authorization-server`)).json();
  const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
  const { payload } = await jwtVerify(token, keys, { issuer: narrows.issuer, audience: AUDIENCE, typ: 'at+jwt', algorithms: [narrows.algorithm] });
  narrow(payload, narrows, sub);
}

export async function withOauth4webapi(narrows, token) {
  const options = { [oauth.allowInsecureRequests]: true };
  const issuer = new URL(narrows.issuer);
  const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options });
  const server = await oauth.processDiscoveryResponse(issuer, found);
  const client = { client_id: 'edge' };
  const authentication = oauth.PrivateKeyJwt({ key: narrows.privateKey, kid: narrows.kid });
  const ask = async (action) => {
    const response = await oauth.genericTokenEndpointRequest(server, client, authentication, GRANT, form(token, action), options);
    return oauth.processGenericTokenEndpointResponse(server, client, response);
  };
  const issued = await ask('read');
  assert.equal(issued.token_type, 'bearer');
  const request = new Request(AUDIENCE, { headers: { authorization: `Bearer ${issued.access_token}` } });
  narrow(await oauth.validateJwtAccessToken(server, request, AUDIENCE, options), narrows);
  await assert.rejects(ask('update'), (error) => error.error === 'invalid_authorization_details' && error.cause.reason === 'policy_denied');
  return issued.access_token;
}

export async function withOpenidClient(narrows, token) {
  const authentication = openid.PrivateKeyJwt({ key: narrows.privateKey, kid: narrows.kid });
  const options = { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] };
  const configuration = await openid.discovery(new URL(narrows.issuer), 'edge', undefined, authentication, options);
  const issued = await openid.genericGrantRequest(configuration, GRANT, form(token));
  await withJose(narrows, issued.access_token);
  await assert.rejects(openid.genericGrantRequest(configuration, GRANT, form(token, 'update')), (error) => error.error === 'invalid_authorization_details');
}

// The assertion grant: twice with a fresh ID-JAG each, then one of them again.
export async function withIdJag(narrows) {
  const { subject_token: _, subject_token_type: __, ...asked } = form('');
  const options = { [oauth.allowInsecureRequests]: true };
  const found = await oauth.discoveryRequest(new URL(narrows.issuer), { algorithm: 'oauth2', ...options });
  const server = await oauth.processDiscoveryResponse(new URL(narrows.issuer), found);
  assert.ok(server.grant_types_supported.includes(JWT_BEARER));
  const client = { client_id: 'edge' };
  const ask = async (assertion) => {
    const authentication = oauth.PrivateKeyJwt({ key: narrows.privateKey, kid: narrows.kid });
    const response = await oauth.genericTokenEndpointRequest(server, client, authentication, JWT_BEARER, { ...asked, assertion }, options);
    return oauth.processGenericTokenEndpointResponse(server, client, response);
  };
  const assertion = await narrows.idJag('alice');
  const issued = await ask(assertion);
  assert.equal(issued.refresh_token, undefined);
  await withJose(narrows, issued.access_token, 'workforce:alice');
  await assert.rejects(ask(assertion), (error) => error.error === 'invalid_grant' && error.cause.reason === 'subject_token_invalid');
  await assert.rejects(ask(await narrows.idJag('bob')), (error) => error.cause.reason === 'policy_denied');

  const authentication = openid.PrivateKeyJwt({ key: narrows.privateKey, kid: narrows.kid });
  const configuration = await openid.discovery(new URL(narrows.issuer), 'edge', undefined, authentication, { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] });
  const again = await openid.genericGrantRequest(configuration, JWT_BEARER, { ...asked, assertion: await narrows.idJag('alice') });
  await withJose(narrows, again.access_token, 'workforce:alice');
}

export async function withAuthlib(python, narrows, token) {
  await promisify(execFile)(python, [new URL('authlib_client.py', import.meta.url).pathname, narrows.issuer, narrows.folder, JSON.stringify(form(token))]);
}

// Asks about a token and ends it (RFC 7662, RFC 7009), and asks once more for a signed answer (RFC 9701).
export async function endsWithOauth4webapi(narrows, token) {
  const options = { [oauth.allowInsecureRequests]: true };
  const found = await oauth.discoveryRequest(new URL(narrows.issuer), { algorithm: 'oauth2', ...options });
  const server = await oauth.processDiscoveryResponse(new URL(narrows.issuer), found);
  const client = { client_id: 'edge' };
  const proof = () => oauth.PrivateKeyJwt({ key: narrows.privateKey, kid: narrows.kid });
  const about = async (more = {}) => {
    const response = await oauth.introspectionRequest(server, client, proof(), token, { ...options, ...more });
    return oauth.processIntrospectionResponse(server, client, response, options);
  };
  const before = await about();
  assert.equal(before.active, true);
  narrow(before, narrows);
  const signed = { ...client, introspection_signed_response_alg: 'ES256' };
  const response = await oauth.introspectionRequest(server, signed, proof(), token, { ...options, requestJwtResponse: true });
  const told = await oauth.processIntrospectionResponse(server, signed, response, options);
  assert.equal(told.active, true);
  await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, proof(), token, options));
  assert.deepEqual(await about(), { active: false });
}

// The same by clients of Python.
export async function endsWithPython(python, narrows, library, token) {
  const script = new URL('ending_clients.py', import.meta.url).pathname;
  await promisify(execFile)(python, [script, library, narrows.issuer, narrows.folder, token]);
}
