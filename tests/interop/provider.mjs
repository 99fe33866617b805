// A real identity provider, unmodified: oidc-provider on loopback, whose users log in through its own forms.
import { createServer } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

export const EDGE = 'https://edge.example';
// The same audience, with access tokens that only this provider can read.
const OPAQUE = `${EDGE}/opaque`;
const REDIRECT = 'http://127.0.0.1/callback';

async function signingKey(kid) {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, use: 'sig', alg: 'ES256' };
}

function configuration(keys) {
  return {
    jwks: { keys },
    clients: [{
      client_id: 'web', client_secret: 'web-secret', redirect_uris: [REDIRECT],
      grant_types: ['authorization_code'], response_types: ['code'],
      id_token_signed_response_alg: 'ES256',
    }, {
      client_id: 'narrows', client_secret: 'narrows-secret', redirect_uris: [], grant_types: [], response_types: [],
      id_token_signed_response_alg: 'ES256',
    }],
    cookies: { keys: ['only-for-this-test'] },
    pkce: { required: () => false },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: (_, token) => ({ groups: token.accountId === 'alice' ? ['support'] : ['sales'] }),
    features: {
      devInteractions: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => EDGE,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          scope: 'shop', audience: EDGE, accessTokenTTL: 600,
          ...(resource === OPAQUE ? { accessTokenFormat: 'opaque' } : { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
        }),
      },
    },
  };
}

export async function start() {
  let handler;
  const server = createServer((request, response) => handler(request, response));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const use = async (kid) => { handler = new Provider(issuer, configuration([await signingKey(kid)])).callback(); };
  await use('first');
  return {
    issuer,
    // The provider starts anew with another key, under the same issuer.
    rotate: () => use('second'),
    token: (user) => logIn(issuer, user, EDGE),
    opaque: (user) => logIn(issuer, user, OPAQUE),
    stop: () => new Promise((done) => { server.close(done); server.closeAllConnections(); }),
  };
}

// What a browser does: follows redirects, keeps cookies, fills in the two forms.
async function logIn(issuer, user, resource) {
  const cookies = new Map();
  const go = async (url, form) => {
    const headers = { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') };
    const response = await fetch(url, form
      ? { method: 'POST', body: new URLSearchParams(form), headers, redirect: 'manual' }
      : { headers, redirect: 'manual' });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      if (value) cookies.set(name, value); else cookies.delete(name);
    }
    const location = response.headers.get('location');
    return { response, next: location && new URL(location, url).href };
  };
  const query = new URLSearchParams({ client_id: 'web', response_type: 'code', scope: 'openid shop', resource, redirect_uri: REDIRECT, state: 's' });
  let { next } = await go(`${issuer}/auth?${query}`);
  for (let step = 0; step < 10 && next && !next.startsWith(REDIRECT); step += 1) {
    if (next.includes('/interaction/')) {
      const page = await (await go(next)).response.text();
      const form = page.includes('name="login"') ? { prompt: 'login', login: user, password: 'any' } : { prompt: 'consent' };
      ({ next } = await go(next, form));
    } else {
      ({ next } = await go(next));
    }
  }
  const code = new URL(next).searchParams.get('code');
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('web:web-secret')}` },
    body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: REDIRECT, resource }),
  });
  const body = await response.json();
  if (!body.access_token) throw new Error(`the provider gave no token: ${JSON.stringify(body)}`);
  return body.access_token;
}
