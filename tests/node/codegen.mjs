// Generates the types of the console's documents with client-preset, checks a program that uses them, and prints both.
import { generate } from '@graphql-codegen/cli';
import { preset } from '@graphql-codegen/client-preset';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const [schema, documents, folder] = process.argv.slice(2);
const text = { input: 'string', output: 'string' };
const scalars = { BigInt: text, Credits: text, Date: text, DateTime: text, Decimal: text, ID: text };
await generate(
  {
    cwd: folder,
    silent: true,
    schema,
    documents: join(documents, '*.graphql'),
    generates: {
      [`${join(folder, 'gql')}/`]: {
        preset,
        presetConfig: { persistedDocuments: { hashAlgorithm: 'sha256' } },
        config: { scalars, strictScalars: true, enumsAsTypes: true, useTypeImports: true },
      },
    },
  },
  true,
);

function problems(program) {
  const file = join(folder, 'program.ts');
  writeFileSync(file, program);
  const options = {
    noEmit: true, strict: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler, types: [], lib: ['lib.es2022.d.ts'],
    paths: { '*': [join(import.meta.dirname, 'node_modules', '*')] },
  };
  const made = ts.createProgram([file], options);
  return ts.getPreEmitDiagnostics(made).map((one) => ts.flattenDiagnosticMessageText(one.messageText, ' '));
}

const reading = (field, type) => `
import type { ResultOf } from '@graphql-typed-document-node/core';
import { BreakdownQueryDocument } from './gql/graphql';
export const read = (data: ResultOf<typeof BreakdownQueryDocument>): ${type} | undefined =>
  data.viewer.workspace.groups.nodes[0]?.members.nodes[0]?.usage?.${field};
`;
console.log(
  JSON.stringify({
    persisted: JSON.parse(readFileSync(join(folder, 'gql', 'persisted-documents.json'), 'utf8')),
    right: problems(reading('credits', 'string')),
    misspelt: problems(reading('credit', 'string')),
    float: problems(reading('credits', 'number')),
  }),
);
