// Fails if src/gen differs from the code generated from ../../proto. Run with: npm run check:generated
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

process.chdir(new URL('..', import.meta.url).pathname);
const folder = mkdtempSync(join(tmpdir(), 'signalbox-gen-'));
try {
  const run = (command, ...args) => spawnSync(command, args, { stdio: 'inherit' }).status;
  // With -o the plugin's `out` is relative to the folder.
  if (run('node_modules/.bin/buf', 'generate', '-o', folder) !== 0) process.exitCode = 1;
  else if (run('diff', '-r', 'src/gen', join(folder, 'src/gen')) !== 0) {
    console.error('src/gen does not match proto/. Run: npm run generate (in clients/web), and commit the result.');
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
