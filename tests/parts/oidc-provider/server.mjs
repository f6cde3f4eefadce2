// An independent OpenID provider that the gateway is tried against: npm's oidc-provider with one confidential client.
//
// Everything is said by environment variables, so that a test can choose its gateway's address freely:
//   CLIENT_ID, CLIENT_SECRET        the one client, authenticated by client_secret_basic
//   REDIRECT_URI                    its only redirect URI
//   POST_LOGOUT_REDIRECT_URI        its only post-logout redirect URI
//   BACKCHANNEL_LOGOUT_URI          where it is told that a session has ended; nobody is told when absent
//   ISSUER_HOST                     the host in the issuer, 127.0.0.1 when absent
//   RESOURCES                       resources that access tokens are given for, "URI FORMAT" with commas between, where FORMAT is "opaque" or
//                                   "jwt"; introspection and client credentials are on then
//   CALLER_SECRET                   of a further client, "caller", a service that gets tokens for these resources; there is none when absent
//   CLAIMS_IN_ID_TOKEN              "yes" puts the claims of the scopes into the ID token; UserInfo alone has them otherwise
//   ACCESS_TOKEN_SECONDS            how long access tokens last, 300 when absent
//   REFRESH_TOKENS                  "rotating" gives one with every sign-in, each good for one use; one that is used twice ends the
//                                   grant. Otherwise they come with the scope offline_access alone
// It prints "granted TYPE" for each token answer.
// Any login name signs in with any password. One line is printed when it serves: "ready http://127.0.0.1:PORT".

import { createServer } from 'node:http';

import Provider, { errors } from 'oidc-provider';

function required(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`server.mjs needs the environment variable ${name}`);
    process.exit(2);
  }
  return value;
}

const client = {
  client_id: required('CLIENT_ID'),
  client_secret: required('CLIENT_SECRET'),
  redirect_uris: [required('REDIRECT_URI')],
  post_logout_redirect_uris: [required('POST_LOGOUT_REDIRECT_URI')],
  token_endpoint_auth_method: 'client_secret_basic',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
};
const clients = [client];
// What each resource is given: its scopes, and the format of its tokens.
const resources = new Map((process.env.RESOURCES ?? '').split(',').filter(Boolean).map((entry) => entry.split(' ')));
if (resources.size > 0) {
  client.grant_types.push('client_credentials');
}
if (process.env.CALLER_SECRET) {
  clients.push({
    client_id: 'caller',
    client_secret: process.env.CALLER_SECRET,
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  });
}
if (process.env.BACKCHANNEL_LOGOUT_URI) {
  client.backchannel_logout_uri = process.env.BACKCHANNEL_LOGOUT_URI;
  client.backchannel_logout_session_required = true;
}

// The login name is the subject; the one named alice is an administrator.
function account(login) {
  return {
    accountId: login,
    claims: async () => ({
      sub: login,
      email: `${login}@example.com`,
      email_verified: true,
      name: `${login.slice(0, 1).toUpperCase()}${login.slice(1)} Example`,
      preferred_username: login,
      groups: login === 'alice' ? ['staff', 'admins'] : ['staff'],
    }),
  };
}

const rotating = process.env.REFRESH_TOKENS === 'rotating';

const configuration = {
  ...(rotating && {
    issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: () => true,
  }),
  clients,
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['name', 'preferred_username'],
    groups: ['groups'],
  },
  scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
  conformIdTokenClaims: process.env.CLAIMS_IN_ID_TOKEN !== 'yes',
  pkce: { required: () => true },
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    revocation: { enabled: true },
    userinfo: { enabled: true },
    ...(resources.size > 0 && {
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: async (_context, resource) => {
          if (!resources.has(resource)) {
            throw new errors.InvalidTarget();
          }
          return { audience: resource, scope: 'orders:read orders:write jobs:run', accessTokenFormat: resources.get(resource) };
        },
      },
    }),
  },
  // The dispatcher that comes with the options refuses loopback addresses, and the gateway of a test has no other.
  fetch: (url, { dispatcher: _refusing, ...options }) => fetch(url, options),
  findAccount: async (_context, id) => account(id),
  cookies: { keys: ['only-for-tests-on-loopback'] },
  ttl: { AccessToken: Number(process.env.ACCESS_TOKEN_SECONDS ?? 300), AuthorizationCode: 60, IdToken: 300, Interaction: 600, Session: 3600, Grant: 3600, RefreshToken: 3600 },
};

// The port must be known before the issuer is, so the server listens first and gets its handler after.
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://${process.env.ISSUER_HOST ?? '127.0.0.1'}:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  for (const event of ['authorization.error', 'grant.error', 'end_session.error', 'userinfo.error', 'revocation.error', 'backchannel.error', 'introspection.error', 'server_error']) {
    provider.on(event, (_context, error) => {
      console.error(`${event}: ${error.error ?? error.name}: ${error.error_description ?? error.message}`);
    });
  }
  for (const event of ['backchannel.success', 'refresh_token.destroyed', 'access_token.destroyed', 'grant.revoked']) {
    provider.on(event, () => console.error(event));
  }
  provider.on('grant.success', (context) => console.log(`granted ${context.oidc.params.grant_type}`));
  server.on('request', provider.callback());
  console.log(`ready ${issuer}`);
});
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    server.closeAllConnections();
    server.close(() => process.exit(0));
  });
}
