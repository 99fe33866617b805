// Plays every client against one broker and one provider. Ends with the line that scripts/test counts.
import assert from 'node:assert/strict';
import * as clients from './clients.mjs';
import { start as startBroker } from './installation.mjs';
import { start as startProvider } from './provider.mjs';
import { withSchemathesis } from './schemathesis.mjs';

const [binary, python] = process.argv.slice(2);
let passed = 0;
let failed = 0;
async function claim(name, play) {
  try {
    await play();
    passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok  ${name}: ${error.stack} ${error.stderr ?? ''} ${JSON.stringify(error.cause ?? '')}`);
  }
}

const provider = await startProvider();
const narrows = await startBroker(binary, provider);
try {
  const alice = await provider.token('alice');
  let issued;
  await claim('oauth4webapi discovers, authenticates, exchanges and validates', async () => { issued = await clients.withOauth4webapi(narrows, alice); });
  await claim('jose verifies the token from our key set', () => clients.withJose(narrows, issued));
  await claim('openid-client discovers, authenticates and exchanges', () => clients.withOpenidClient(narrows, alice));
  await claim('Authlib authenticates, exchanges and validates', () => clients.withAuthlib(python, narrows, alice));
  await claim('oauth4webapi asks about a token, also for a signed answer, and ends it', () => clients.endsWithOauth4webapi(narrows, issued));
  for (const library of ['Authlib', 'requests_oauth2client']) {
    await claim(`${library} asks about a token and ends it`, async () => {
      await clients.endsWithPython(python, narrows, library, await clients.withOauth4webapi(narrows, alice));
    });
  }
  await claim('oauth4webapi and openid-client show an ID-JAG, and each ID-JAG once', () => clients.withIdJag(narrows));
  await claim('a user outside the group is refused by policy', async () => {
    const bob = await provider.token('bob');
    await assert.rejects(clients.withOauth4webapi(narrows, bob), (error) => error.cause?.reason === 'policy_denied');
  });
  const opaque = await provider.opaque('alice');
  await claim('an opaque token is exchanged on its issuer\'s word', async () => {
    assert.ok(!opaque.includes('.'));
    await clients.withOauth4webapi(narrows, opaque);
  });
  await claim('an opaque token of a user outside the group is refused by policy', async () => {
    const bob = await provider.opaque('bob');
    await assert.rejects(clients.withOauth4webapi(narrows, bob), (error) => error.cause?.reason === 'policy_denied');
  });
  await claim('an opaque token that nobody issued is refused', async () => {
    await assert.rejects(clients.withOauth4webapi(narrows, `${opaque}x`), (error) => error.cause?.reason === 'subject_token_invalid');
  });
  for (const algorithm of ['RS256', 'PS256', 'EdDSA']) {
    const signing = await startBroker(binary, provider, algorithm);
    try {
      await claim(`oauth4webapi, jose and Authlib verify a token that is signed with ${algorithm}`, async () => {
        await clients.withJose(signing, await clients.withOauth4webapi(signing, alice));
        await clients.withAuthlib(python, signing, alice);
      });
    } finally {
      await signing.stop();
    }
  }
  await claim('schemathesis finds nothing at /v1 that its document does not say', () => withSchemathesis(binary, python, narrows));
  await claim('keys that the provider rotates are found without a restart', async () => {
    await provider.rotate();
    await clients.withOauth4webapi(narrows, await provider.token('alice'));
  });
  await claim('an opaque token that its issuer has forgotten is refused, though it was taken before', async () => {
    await assert.rejects(clients.withOauth4webapi(narrows, opaque), (error) => error.cause?.reason === 'subject_token_invalid');
  });
} finally {
  await narrows.stop();
  await provider.stop();
}
console.log(`interop: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
