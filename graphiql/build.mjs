// Bundles the page into the folder that is given, with the licences of all that is in it.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const folder = process.argv[2];
const SOURCES = ['build.mjs', 'no_styles.js', 'package-lock.json', 'page.css', 'page.html', 'page.jsx'];
const of = createHash('sha256');
for (const name of SOURCES) of.update(readFileSync(name));

// Fonts are the system's: those that come along would be more than all else together.
const systemFonts = {
  name: 'system-fonts',
  setup(bundler) {
    bundler.onLoad({ filter: /\.css$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll(/@font-face\s*\{[^}]*\}/g, ''),
      loader: 'css',
    }));
  },
};

// A hint for those who run two versions of graphql, which this page cannot.
const withoutHint = {
  name: 'without-hint',
  setup(bundler) {
    bundler.onLoad({ filter: /graphql\/jsutils\/instanceOf\.m?js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll(/https:\/\/yarn\S+/g, ''),
    }));
  },
};

const withoutStyleElements = {
  name: 'without-style-elements',
  setup(bundler) {
    bundler.onResolve({ filter: /^react-style-singleton$/ }, () => ({ path: resolve('no_styles.js') }));
  },
};

const { metafile } = await build({
  entryPoints: ['page.jsx'],
  outdir: folder,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  legalComments: 'none',
  define: { 'process.env.NODE_ENV': '"production"', 'globalThis.process': 'true' },
  banner: { js: `/* Made by \`make graphiql\` of ${of.digest('hex')}; licences in LICENSES.txt. */` },
  plugins: [systemFonts, withoutHint, withoutStyleElements],
  metafile: true,
});

const packages = new Set();
for (const input of Object.keys(metafile.inputs)) {
  const found = input.match(/^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)/);
  if (found) packages.add(found[0]);
}
const licences = [...packages].sort().map((path) => {
  const { name, version, license } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  const file = readdirSync(path).find((one) => /^(licen[cs]e|copying)(\.\w+)?$/i.test(one));
  const text = file ? readFileSync(join(path, file), 'utf8').trim() : `Its package names the licence ${license}.`;
  return `${name} ${version} (${license})\n\n${text}\n`;
});
writeFileSync(join(folder, 'LICENSES.txt'), licences.join(`\n${'-'.repeat(80)}\n\n`));
copyFileSync('page.html', join(folder, 'page.html'));
