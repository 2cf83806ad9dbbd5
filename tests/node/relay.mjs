// Compiles the console's documents with relay-compiler, and prints what it persisted.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const [schema, documents, folder] = process.argv.slice(2);
const text = 'string';
const config = {
  root: '.',
  sources: { src: 'console' },
  projects: {
    console: {
      schema: 'schema.graphql',
      language: 'javascript',
      eagerEsModules: true,
      customScalarTypes: { BigInt: text, Credits: text, Date: text, DateTime: text, Decimal: text },
      persist: { file: 'persisted.json', algorithm: 'SHA256' },
    },
  },
};
mkdirSync(join(folder, 'src'));
copyFileSync(schema, join(folder, 'schema.graphql'));
writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
writeFileSync(join(folder, 'persisted.json'), '{}');
writeFileSync(join(folder, 'relay.config.json'), JSON.stringify(config));
for (const name of readdirSync(documents)) {
  const document = readFileSync(join(documents, name), 'utf8');
  const module = `import { graphql } from 'relay-runtime';\nexport default graphql\`\n${document}\`;\n`;
  writeFileSync(join(folder, 'src', `${basename(name, '.graphql')}.js`), module);
}
const compiler = join(import.meta.dirname, 'node_modules', 'relay-compiler', 'cli.js');
const done = spawnSync(process.execPath, [compiler, 'relay.config.json'], { cwd: folder, encoding: 'utf8' });
const persisted = JSON.parse(readFileSync(join(folder, 'persisted.json'), 'utf8'));
const generated = done.status
  ? []
  : readdirSync(join(folder, 'src', '__generated__')).map((name) => basename(name, '.graphql.js'));
console.log(JSON.stringify({ code: done.status, said: done.stdout + done.stderr, persisted, generated }));
