// Takes a picture of a terminal that runs scripts/share.sh, with a real share through a local bore server.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { openPage, SERVER, until } from './harness.mjs';

const ROOT = resolve(import.meta.dirname, '../../../..');
const BORE = process.env.BORE ?? join(ROOT, '.cache/bore-0.6.0/bin/bore');
const TUNNEL = process.env.SIGNALBOX_TUNNEL_BIN ?? join(dirname(SERVER), 'signalbox-tunnel');
/** What a share prints by default. Only the local tunnel server knows it by this name. */
const NAME = 'bore.pub';
const PORT = '40123';
/** A token in the picture is cut to this length. */
const TOKEN_LENGTH = 24;
const START_MS = 20_000;

/** Starts a program that ends with the test `t`, and returns its output so far. */
function start(t, command, args) {
  const child = spawn(command, args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  const exited = new Promise((done) => child.once('exit', done));
  t.after(async () => {
    child.kill('SIGINT');
    await exited;
  });
  return { child, output: () => output };
}

/** Splits the output into lines of text and of the QR code, which has ANSI colours. */
function toLines(output) {
  return output.split('\n').map((line) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences of a terminal begin with one.
    const text = line.replace('127.0.0.1:7835', `${NAME}:7835`).replace(/\x1b\[[0-9;]*m/g, '');
    return {
      text: text.replace(/eyJ[\w.-]+/g, (token) => `${token.slice(0, TOKEN_LENGTH)}…`),
      isCode: line.includes('\u001b'),
    };
  });
}

/** Draws a terminal. Runs in the page. */
function drawTerminal(lines) {
  document.body.innerHTML = '<pre></pre>';
  const style = new CSSStyleSheet();
  style.replaceSync(`
    body { width: max-content; margin: 0; padding: 20px 24px; background: #12171f; color: #d5dde6; }
    pre { margin: 0; font: 14px/1.25 "DejaVu Sans Mono", monospace; }
    .command { color: #ffffff; font-weight: bold; }
    .step { color: #64b5f6; font-weight: bold; }
    canvas { display: block; margin: 4px 0 4px 16px; image-rendering: pixelated; }
  `);
  document.adoptedStyleSheets = [style];
  const pre = document.querySelector('pre');
  const code = lines.filter(({ isCode }) => isCode).map(({ text }) => text.slice(2));
  // The half blocks of a font leave seams. A canvas has none.
  const canvas = document.createElement('canvas');
  const scale = 5;
  canvas.width = Math.max(...code.map((line) => line.length), 1) * scale;
  canvas.height = code.length * 2 * scale;
  const context = canvas.getContext('2d');
  context.fillStyle = '#ffffff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = '#000000';
  for (const [y, line] of code.entries()) {
    for (const [x, char] of [...line].entries()) {
      const upper = char === '█' || char === '▀';
      const lower = char === '█' || char === '▄';
      if (upper) context.fillRect(x * scale, y * 2 * scale, scale, scale);
      if (lower) context.fillRect(x * scale, (y * 2 + 1) * scale, scale, scale);
    }
  }
  let drawn = false;
  for (const { text, isCode } of lines) {
    if (isCode && drawn) continue;
    const line = document.createElement('div');
    if (isCode) line.append(canvas);
    else line.textContent = text || ' ';
    drawn ||= isCode;
    if (text.startsWith('$')) line.className = 'command';
    if (text.startsWith('==>')) line.className = 'step';
    pre.append(line);
  }
}

/** Writes the picture, unless a program is missing. */
export async function takeShare(t, path) {
  const absent = [BORE, TUNNEL].filter((program) => !existsSync(program));
  if (absent.length > 0) {
    console.log(`skipped ${path}: missing ${absent.join(', ')}`);
    return;
  }
  const startTunnelServer = async () => {
    const bore = start(t, BORE, ['server', '--bind-addr', '127.0.0.1', '--min-port', PORT, '--max-port', PORT]);
    await until('the tunnel server', () => bore.output().includes('listening'), START_MS);
    return bore;
  };
  const bore = await startTunnelServer();
  const data = mkdtempSync(join(tmpdir(), 'signalbox-share-'));
  t.after(() => rmSync(data, { recursive: true, force: true }));
  const address = ['--to', '127.0.0.1', '--public-name', NAME, '--port', PORT];
  const share = start(t, TUNNEL, ['share', ...address, '--qr', 'always', '--data', data, '--signalbox', SERVER]);
  await until('the share', () => share.output().includes('sharing.md'), START_MS);
  bore.child.kill('SIGKILL');
  await until('the outage', () => share.output().includes('  lost'), START_MS);
  await startTunnelServer();
  await until('the end of the outage', () => share.output().includes('  back'), START_MS);
  const page = await openPage(t, { viewport: { width: 1280, height: 400 } });
  await page.evaluate(drawTerminal, toLines(`$ scripts/share.sh\n...\n\n==> Sharing\n${share.output().trimEnd()}`));
  await page.locator('body').screenshot({ path });
  console.log(path);
}
