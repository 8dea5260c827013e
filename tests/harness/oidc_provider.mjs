// A real OpenID Connect issuer, told what to do on standard input, a line each: `rotate` (new keys instead of the old ones).
// usage: node oidc_provider.mjs FOLDER  (where `.ci/setup oidc` has installed it). Prints the issuer's URL first.

import http from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const folder = process.argv[2];
const { default: Provider } = await import(pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`));

const ROLES = { operator: ['esw-user', 'observer'], visitor: ['observer'], nobody: [] };

function key(kind, options, alg) {
  const { privateKey } = generateKeyPairSync(kind, options);
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg, use: 'sig' };
}

function provider(issuer) {
  return new Provider(issuer, {
    jwks: { keys: [key('rsa', { modulusLength: 2048 }, 'RS256'), key('ec', { namedCurve: 'P-256' }, 'ES256')] },
    clients: Object.keys(ROLES).map((name) => ({
      client_id: name,
      client_secret: `${name}-secret`,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    ttl: { ClientCredentials: 600 },
    extraTokenClaims: (_, token) => ({ realm_access: { roles: ROLES[token.clientId] } }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // urn:{algorithm}:{audience}: a client says what token it wants.
        getResourceServerInfo: (_, resource) => {
          const [, alg, audience] = resource.split(':');
          return { audience, scope: '', accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
        },
      },
    },
  });
}

let answer;
const server = http.createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  answer = provider(issuer).callback();
  console.log(issuer);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', () => {
    answer = provider(issuer).callback();
    console.log('rotated');
  });
  lines.on('close', () => process.exit()); // the test has ended
});
