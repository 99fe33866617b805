// A broker of the real binary, on a free port of loopback, trusting the provider by discovery.
import { spawn } from 'node:child_process';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { exportJWK, exportPKCS8, generateKeyPair, SignJWT } from 'jose';
import { EDGE } from './provider.mjs';

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// An identity provider that vouches for one application to another; no library issues ID-JAGs yet, so jose signs them.
const WORKFORCE = 'https://workforce.example';

async function workforce(folder, audience) {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'w-1', alg: 'ES256', use: 'sig' };
  await writeFile(join(folder, 'workforce.jwks.json'), JSON.stringify({ keys: [jwk] }));
  return (user) => new SignJWT({ client_id: 'edge', scope: 'shop', groups: user === 'alice' ? ['support'] : ['sales'] })
    .setProtectedHeader({ alg: 'ES256', kid: 'w-1', typ: 'oauth-id-jag+jwt' })
    .setIssuer(WORKFORCE).setSubject(user).setAudience(audience)
    .setJti(randomBytes(16).toString('hex')).setIssuedAt().setExpirationTime('5m')
    .sign(privateKey);
}

export async function start(binary, provider, algorithm = 'ES256') {
  const folder = await mkdtemp(join(tmpdir(), 'narrows-interop-'));
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: 'edge-1', alg: 'ES256', use: 'sig' };
  await mkdir(join(folder, 'policies'));
  await writeFile(join(folder, 'edge.jwks.json'), JSON.stringify({ keys: [jwk] }));
  await writeFile(join(folder, 'edge.pem'), await exportPKCS8(privateKey), { mode: 0o600 });
  await writeFile(join(folder, 'narrows.key'), randomBytes(32).toString('base64'), { mode: 0o600 });
  await writeFile(join(folder, 'policies/edge.cedar'), `
@id("edge-reads-tickets-for-support")
permit (principal == Workload::"edge", action == Action::"ticket:read", resource is Detail::Ticket)
when { context.subject in Group::"corp|support" || context.subject in Group::"workforce|support" };
`);
  await writeFile(join(folder, 'narrows.toml'), `
issuer   = "${issuer}"
listen   = "127.0.0.1:${port}"
store    = "sqlite:narrows.db"
policies = ["policies/*.cedar"]
key_file = "narrows.key"

[tokens]
algorithm = "${algorithm}"

[[trusted_issuers]]
name       = "corp"
issuer     = "${provider.issuer}"
audiences  = ["${EDGE}"]
exchangers = ["edge"]
attributes = { groups = "set" }
introspection = { url = "${provider.issuer}/token/introspection", client_id = "narrows", client_secret = "narrows-secret" }

[[trusted_issuers]]
name        = "workforce"
issuer      = "${WORKFORCE}"
jwks_file   = "workforce.jwks.json"
token_types = ["id_jag"]
sub_prefix  = "workforce:"
attributes  = { groups = "set" }

[[clients]]
id   = "edge"
grants = ["token_exchange", "jwt_bearer"]
auth = { method = "private_key_jwt", jwks_file = "edge.jwks.json" }

[[audiences]]
id           = "https://tickets.internal"
details      = ["ticket"]
max_lifetime = "2m"

[[detail_types]]
type    = "ticket"
actions = ["read", "update"]

[[scopes]]
name    = "shop"
details = ["ticket:read,update"]
`);
  const idJag = await workforce(folder, issuer);
  const process = spawn(binary, ['--config', join(folder, 'narrows.toml'), 'serve'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  process.stderr.on('data', (data) => { log += data; });
  const ended = new Promise((done) => process.on('exit', done));
  for (let tries = 0; ; tries += 1) {
    const ready = await fetch(`${issuer}/readyz`).catch(() => undefined);
    if (ready?.ok) break;
    if (tries > 200 || process.exitCode !== null) throw new Error(`the broker did not start:\n${log}`);
    await new Promise((done) => { setTimeout(done, 50); });
  }
  return {
    issuer, folder, algorithm, privateKey, kid: 'edge-1', idJag,
    stop: async () => { process.kill('SIGTERM'); await ended; await rm(folder, { recursive: true }); },
  };
}
