// The page at /graphiql. It talks to its own server and to no other host.
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { createClient } from 'graphql-ws';
import { useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import 'graphiql/style.css';
import './page.css';

const FIRST_TABS = ['Breakdown', 'OwnBalance', 'RequestQueue', 'BudgetChanged'];

async function json(name) {
  const response = await fetch(`/graphiql/${name}.json`);
  return response.ok ? response.json() : {};
}

function Page({ documents, tokens }) {
  const callers = Object.keys(tokens);
  const [caller, setCaller] = useState(callers[0] ?? null);
  const fetcher = useMemo(() => {
    // With a session's cookie, the first header says that it is this page that asks, and not one elsewhere.
    const headers = { 'x-creditdesk-csrf': '1', ...(caller && { authorization: `Bearer ${tokens[caller]}` }) };
    const live = createClient({
      url: `${location.origin.replace(/^http/, 'ws')}/graphql`,
      connectionParams: caller ? { authorization: headers.authorization } : {},
    });
    return createGraphiQLFetcher({ url: '/graphql', headers, wsClient: live });
  }, [caller, tokens]);
  const tabs = FIRST_TABS.filter((name) => name in documents).map((name) => ({ query: documents[name] }));
  return (
    <GraphiQL fetcher={fetcher} defaultTabs={tabs.length ? tabs : undefined} shouldPersistHeaders={false}>
      <GraphiQL.Logo>
        <span className="creditdesk-name">creditdesk</span>
        {caller && (
          <label className="creditdesk-caller">
            Ask as{' '}
            <select value={caller} onChange={(event) => setCaller(event.target.value)}>
              {callers.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
      </GraphiQL.Logo>
    </GraphiQL>
  );
}

const [documents, tokens] = await Promise.all([json('documents'), json('tokens')]);
createRoot(document.getElementById('graphiql')).render(<Page documents={documents} tokens={tokens} />);
