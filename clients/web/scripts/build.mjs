// Builds dist/ (the demo page) and dist/lib/ (the library as one ES module, with types). Run with: npm run build
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, rm, stat } from 'node:fs/promises';
import { build } from 'esbuild';

// Every visitor downloads main.js before the page works. The limit catches an unintended dependency. Half of the size is
// the protobuf runtime.
const MAX_MAIN_BYTES = 224 * 1024;

process.chdir(new URL('..', import.meta.url).pathname);
await rm('dist', { recursive: true, force: true });
await mkdir('dist/lib', { recursive: true });

const common = { bundle: true, format: 'esm', target: 'es2022', sourcemap: true, logLevel: 'warning' };
await build({ ...common, entryPoints: ['demo/main.ts', 'demo/style.css'], outdir: 'dist', minify: true });
await build({ ...common, entryPoints: ['src/index.ts'], outdir: 'dist/lib' });
for (const file of ['index.html', 'icon.svg']) await copyFile(`demo/${file}`, `dist/${file}`);
execFileSync('node_modules/.bin/tsc', ['-p', 'tsconfig.lib.json'], { stdio: 'inherit' });

const { size } = await stat('dist/main.js');
console.log(`dist/main.js: ${(size / 1024).toFixed(0)} KiB`);
if (size > MAX_MAIN_BYTES) throw new Error(`dist/main.js is larger than ${MAX_MAIN_BYTES / 1024} KiB`);
