// PostGraphile behind Node's own HTTP server. CALLER_SETTINGS=on names the caller to PostgreSQL, as its documentation
// does for row-level security; off leaves that out, which is faster.
import cluster from 'node:cluster';
import { createServer } from 'node:http';
import { makePgService } from 'postgraphile/adaptors/pg';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { postgraphile } from 'postgraphile';

const withCaller = process.env.CALLER_SETTINGS === 'on';
const preset = {
  extends: [PostGraphileAmberPreset],
  pgServices: [
    makePgService({ connectionString: process.env.DATABASE_URL, schemas: ['peer'], poolConfig: { max: 10 } }),
  ],
  grafserv: { graphiql: false, watch: false },
  schema: { defaultBehavior: '+list -connection +resource:list -mutation -insert -update -delete' },
  grafast: {
    explain: false,
    context({ node }) {
      if (!withCaller) return {};
      const headers = node?.req?.headers ?? {};
      return { pgSettings: { 'jwt.user_id': headers['x-user-id'], 'jwt.workspace_id': headers['x-workspace-id'] } };
    },
  },
};
const processes = Number(process.env.PROCESSES ?? 1);
if (processes > 1 && cluster.isPrimary) {
  for (let number = 0; number < processes; number += 1) cluster.fork();
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill();
    process.exit(0);
  });
} else {
  const server = createServer();
  await postgraphile(preset).createServ(grafserv).addTo(server);
  server.listen(0, '127.0.0.1', () => console.log(`listening at http://127.0.0.1:${server.address().port}`));
}
