// Watches a budget with the clients that frontends use, and prints what each was told and how its connections ended.
import { createClient } from 'graphql-ws';
import { createClient as createStreamClient } from 'graphql-sse';
import WebSocket from 'ws';

const [kind, url, wanted, ...tokens] = process.argv.slice(2);
const query = 'subscription { budgetChanged { used } }';
const told = [];
const codes = [];
let connections = 0;
// A fresh token for each connection: what a frontend gets from its identity provider.
const authorization = () => `Bearer ${tokens[Math.min(connections++, tokens.length - 1)]}`;

const client =
  kind === 'ws'
    ? createClient({
        url,
        webSocketImpl: WebSocket,
        connectionParams: () => ({ authorization: authorization() }),
        retryAttempts: 3,
        retryWait: () => Promise.resolve(),
        on: { closed: (event) => codes.push(event.code) },
      })
    : createStreamClient({ url, headers: () => ({ authorization: authorization() }) });

for await (const { data, errors } of client.iterate({ query })) {
  if (errors) throw new Error(JSON.stringify(errors));
  told.push(data.budgetChanged.used);
  process.stderr.write(`${data.budgetChanged.used}\n`);
  // So that what is to change does not change before the state has been told: then it would be told once.
  if (told.length === 1) await fetch(new URL('/told', url.replace(/^ws/, 'http')));
  if (told.length >= Number(wanted)) break;
}
await client.dispose();
console.log(JSON.stringify({ told, codes, connections }));
