// A certified OpenID provider on a free port of this machine: people, a page, a program, JWT access tokens for one API.
// It prints a line of JSON when it listens. Beneath /-/ it takes orders of the tests: rotate, retire, algorithm/NAME.
import http from 'node:http';

import { exportJWK, generateKeyPair } from 'jose';
import Provider, { errors } from 'oidc-provider';

const API = 'urn:creditdesk:api';
const SCOPES = ['usage:read', 'usage:write'];
const PEOPLE = {
  ana: { workspace: 'acme', roles: ['admin'], email: 'ana@example.com', email_verified: true },
  mo: { workspace: 'acme', roles: ['member'], email: 'mo@example.com', email_verified: true },
};

let made = 0;
const key = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  made += 1;
  return { ...(await exportJWK(privateKey)), kid: `${alg}-${made}`, alg, use: 'sig' };
};
const pair = async () => [await key('RS256'), await key('ES256')];

let keys = await pair();
let algorithm = 'RS256';
let provider;
let answer;

const configuration = () => ({
  jwks: { keys },
  clients: [
    {
      client_id: 'console',
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/callback'],
      id_token_signed_response_alg: 'RS256',
      scope: `openid offline_access email ${SCOPES.join(' ')}`,
    },
    {
      client_id: 'creditdesk',
      client_secret: 'creditdesk-secret-of-the-tests-0123456789',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: ['http://localhost:8000/auth/callback'],
      post_logout_redirect_uris: ['http://localhost:8000/'],
      scope: `openid offline_access email ${SCOPES.join(' ')}`,
    },
    {
      client_id: 'gateway',
      client_secret: 'gateway-secret-of-the-tests-0123456789',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      scope: SCOPES.join(' '),
    },
  ],
  scopes: ['openid', 'offline_access', 'email', ...SCOPES],
  claims: { openid: ['sub', 'roles', 'workspace'], email: ['email', 'email_verified'] },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async (_, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  findAccount: (_, id) => PEOPLE[id] && { accountId: id, claims: async () => ({ sub: id, ...PEOPLE[id] }) },
  extraTokenClaims: (_, token) =>
    token.kind === 'AccessToken' ? PEOPLE[token.accountId] : { workspace: 'acme', gty: 'client-credentials' },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => API,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => {
        if (resource !== API) throw new errors.InvalidTarget();
        return {
          scope: SCOPES.join(' '),
          audience: API,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: algorithm } },
        };
      },
    },
  },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  ttl: { AccessToken: 300, ClientCredentials: 300, IdToken: 300, Interaction: 60, Session: 600, Grant: 600, RefreshToken: 3600 },
  cookies: { keys: ['only-for-tests'] },
});

// Whoever comes is the one that the request hints at, and consents.
const signIn = async (request, response) => {
  const { params } = await provider.interactionDetails(request, response);
  const grant = new provider.Grant({ accountId: params.login_hint, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  grant.addResourceScope(API, params.scope);
  const result = { login: { accountId: params.login_hint }, consent: { grantId: await grant.save() } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
};

const orders = {
  rotate: async () => { keys = [...(await pair()), ...keys.slice(0, 2)]; },
  retire: async () => { keys = keys.slice(0, 2); },
  algorithm: async (name) => { algorithm = name; },
};

const server = http.createServer(async (request, response) => {
  try {
    const [, first, order, argument] = request.url.split('/');
    if (first === '-') {
      await orders[order](argument);
      begin();
      response.end(JSON.stringify(keys.map(({ kid }) => kid)));
    } else if (first === 'interaction') {
      await signIn(request, response);
    } else {
      await answer(request, response);
    }
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error?.stack ?? error));
  }
});

let url;
const begin = () => {
  provider = new Provider(url, configuration());
  answer = provider.callback();
};
server.listen(0, '127.0.0.1', () => {
  url = `http://127.0.0.1:${server.address().port}`;
  begin();
  console.log(JSON.stringify({ url }));
});
