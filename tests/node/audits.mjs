// Runs the audits of graphql-http against a server, and prints what each found.
import { serverAudits } from 'graphql-http';

const [url, authorization] = process.argv.slice(2);
const fetchFn = (input, init = {}) =>
  fetch(input, { ...init, headers: { ...init.headers, authorization, 'graphql-require-preflight': '1' } });

const found = [];
for (const audit of serverAudits({ url, fetchFn })) {
  const result = await audit.fn();
  const { id, name, status } = result;
  found.push({ id, name, status, reason: result.reason ?? null, answered: result.response?.status ?? null });
}
console.log(JSON.stringify(found));
