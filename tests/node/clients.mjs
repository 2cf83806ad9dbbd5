// Asks a server as docs/frontend.md says: with Apollo Client, urql and Relay. Prints what each was answered and sent.
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client/core';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { relayStylePagination } from '@apollo/client/utilities';
import { Client, fetchExchange } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { relayPagination } from '@urql/exchange-graphcache/extras';
import { persistedExchange } from '@urql/exchange-persisted';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import relay from 'relay-runtime';

const [url, authorization, operations, artifacts] = process.argv.slice(2);
const people = readFileSync(join(operations, 'People.graphql'), 'utf8');
const none = 'query NoneQuery { node(id: "none") { id } }';
const names = (data) => data.viewer.workspace.users.edges.map(({ node }) => node.displayName);
const first = { first: 2, range: { preset: 'LAST_30_DAYS' }, search: null, orderBy: null };

/** Returns a fetch that notes what is sent by: a document's text, its hash, or its id. */
function noting(sent) {
  return (input, init = {}) => {
    const { query, documentId } = init.body ? JSON.parse(init.body) : {};
    sent.push(query ? 'text' : documentId ? 'id' : 'hash');
    return fetch(input, init);
  };
}

async function apollo() {
  const sent = [];
  const http = new HttpLink({ uri: url, headers: { authorization }, fetch: noting(sent) });
  const sha256 = (text) => createHash('sha256').update(text).digest('hex');
  const client = new ApolloClient({
    link: ApolloLink.from([new PersistedQueryLink({ sha256 }), http]),
    cache: new InMemoryCache({
      typePolicies: {
        Viewer: { merge: true },
        Workspace: { fields: { users: relayStylePagination(['filter', 'orderBy']) } },
      },
    }),
  });
  const query = gql(people);
  const page = await client.query({ query, variables: first });
  const watched = client.watchQuery({ query, variables: first });
  const watching = watched.subscribe(() => {});
  const after = page.data.viewer.workspace.users.pageInfo.endCursor;
  await watched.fetchMore({ variables: { after } });
  const all = names(client.readQuery({ query, variables: first }));
  const failed = await client.query({ query: gql(none) }).catch((error) => error);
  const code = CombinedGraphQLErrors.is(failed) ? failed.errors[0].extensions.code : String(failed);
  watching.unsubscribe();
  client.stop();
  return { first: names(page.data), all, code, sent };
}

async function urql() {
  const sent = [];
  const client = new Client({
    url,
    preferGetMethod: false,
    fetch: noting(sent),
    fetchOptions: () => ({ headers: { authorization } }),
    exchanges: [
      cacheExchange({
        keys: { Viewer: () => null, Budget: () => null, CreditUsage: () => null, LimitedTo: () => null, Unlimited: () => null },
        resolvers: { Workspace: { users: relayPagination() } },
      }),
      persistedExchange({ enableForMutation: true, preferGetForPersistedQueries: false }),
      fetchExchange,
    ],
  });
  const page = await client.query(people, first).toPromise();
  const after = page.data.viewer.workspace.users.pageInfo.endCursor;
  const more = await client.query(people, { ...first, after }).toPromise();
  const failed = await client.query(none, {}).toPromise();
  return { first: names(page.data), all: names(more.data), code: failed.error.graphQLErrors[0].extensions.code, sent };
}

async function relayed() {
  const sent = [];
  const codes = [];
  const asking = noting(sent);
  const { Environment, Network, RecordSource, Store, fetchQuery } = relay;
  const fetchGraphQL = async ({ id, text }, variables) => {
    const response = await asking(url, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json', accept: 'application/graphql-response+json' },
      body: JSON.stringify({ ...(id ? { documentId: id } : { query: text }), variables }),
    });
    const answer = await response.json();
    codes.push(...(answer.errors ?? []).map((error) => error.extensions.code));
    return answer;
  };
  const environment = new Environment({ network: Network.create(fetchGraphQL), store: new Store(new RecordSource()) });
  const compiled = (name) => import(pathToFileURL(join(artifacts, `${name}.graphql.js`)));
  const { default: query } = await compiled('PeopleQuery');
  const page = await fetchQuery(environment, query, first).toPromise();
  const after = page.viewer.workspace.users.pageInfo.endCursor;
  const more = await fetchQuery(environment, query, { ...first, after }).toPromise();
  const { default: group } = await compiled('GroupQuery');
  await fetchQuery(environment, group, { id: 'none' }).toPromise();
  return { first: names(page), all: [...names(page), ...names(more)], code: codes.join(), sent };
}

console.log(JSON.stringify({ apollo: await apollo(), urql: await urql(), relay: await relayed() }));
