// npm `oidc-provider` with a minimal grant for token exchange: `node oidc-provider.mjs PORT FOLDER`.
//
// One client, `edge`, that authenticates with the key in FOLDER/edge.jwks.json; subject tokens of one issuer, verified with
// the key in FOLDER/provider.jwks.json. ES256 access tokens, everything in memory, no policy asked and nothing recorded.
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider, { errors } from '../../tests/interop/node_modules/oidc-provider/lib/index.js';

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const SUBJECT_ISSUER = 'https://login.corp.example';
const SUBJECT_AUDIENCE = 'https://edge.example';
const AUDIENCE = 'https://orders.internal';

const [port, folder] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const jwks = (name) => JSON.parse(readFileSync(`${folder}/${name}.jwks.json`, 'utf8'));
const subjectKey = createPublicKey({ key: jwks('provider').keys[0], format: 'jwk' });
const own = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...own, kid: 'own', use: 'sig', alg: 'ES256' }] },
  clients: [{
    client_id: 'edge', grant_types: [GRANT], redirect_uris: [], response_types: [], id_token_signed_response_alg: 'ES256',
    token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256', jwks: jwks('edge'),
  }],
  clientAuthMethods: ['private_key_jwt'],
  cookies: { keys: ['unused'] },
  routes: { token: '/oauth2/token' },
  features: { devInteractions: { enabled: false }, resourceIndicators: { enabled: true, defaultResource: () => AUDIENCE } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (ctx) => ({
    act: { sub: ctx.oidc.client.clientId },
    authorization_details: JSON.parse(ctx.oidc.params.authorization_details),
  }),
});

function subject(token) {
  const [header, payload, signature] = token.split('.');
  const key = { key: subjectKey, dsaEncoding: 'ieee-p1363' };
  if (!verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'))) return null;
  const claims = JSON.parse(Buffer.from(payload, 'base64url'));
  const now = Date.now() / 1000;
  return claims.iss === SUBJECT_ISSUER && claims.aud === SUBJECT_AUDIENCE && claims.exp > now ? claims : null;
}

async function exchange(ctx) {
  const { client, params } = ctx.oidc;
  const claims = params.subject_token_type === ACCESS_TOKEN ? subject(params.subject_token) : null;
  if (!claims) throw new errors.InvalidRequest('subject token');
  if (params.audience !== AUDIENCE) throw new errors.InvalidTarget();
  const token = new provider.AccessToken({ accountId: claims.sub, client, gty: GRANT, scope: claims.scope });
  token.resourceServer = new provider.ResourceServer(AUDIENCE, {
    audience: AUDIENCE, scope: 'shop', accessTokenTTL: 120, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } },
  });
  ctx.oidc.entity('AccessToken', token);
  ctx.body = {
    access_token: await token.save(), issued_token_type: ACCESS_TOKEN, token_type: 'Bearer', expires_in: token.expiration,
  };
}
provider.registerGrantType(GRANT, exchange, [
  'subject_token', 'subject_token_type', 'audience', 'authorization_details', 'scope',
]);

const answer = provider.callback();
createServer((request, response) => (request.url === '/readyz' ? response.end('ready') : answer(request, response)))
  .listen(Number(port), '127.0.0.1');
