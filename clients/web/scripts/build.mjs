// Builds dist/ (the demo page) and dist/lib/ (the library as one ES module, with types). Run with: npm run build
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, readFile, rm } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

// Every visitor downloads these before the page works. In bytes, minified and gzipped.
const MAX_BYTES = { 'join alone': 47_000, Mesh: 60_000, 'demo page': 90_000 };

process.chdir(new URL('..', import.meta.url).pathname);
await rm('dist', { recursive: true, force: true });
await mkdir('dist/lib', { recursive: true });

const common = { bundle: true, format: 'esm', target: 'es2022', sourcemap: true, logLevel: 'warning' };
await build({ ...common, entryPoints: ['demo/main.ts', 'demo/style.css'], outdir: 'dist', minify: true });
await build({ ...common, entryPoints: ['src/index.ts'], outdir: 'dist/lib' });
for (const file of ['index.html', 'icon.svg']) await copyFile(`demo/${file}`, `dist/${file}`);
execFileSync('node_modules/.bin/tsc', ['-p', 'tsconfig.lib.json'], { stdio: 'inherit' });

const bundle = async (contents) => {
  const stdin = { contents, resolveDir: 'src' };
  const { outputFiles } = await build({ ...common, stdin, minify: true, sourcemap: false, write: false });
  return outputFiles[0].contents;
};
const files = {
  'join alone': await bundle("export { join } from './index.js';"),
  Mesh: await bundle("export { Mesh } from './index.js';"),
  'demo page': await readFile('dist/main.js'),
};
for (const [name, content] of Object.entries(files)) {
  const size = gzipSync(content).length;
  console.log(`${name}: ${(size / 1000).toFixed(1)} kB gzipped`);
  if (size > MAX_BYTES[name]) throw new Error(`${name} is larger than ${MAX_BYTES[name] / 1000} kB`);
}
