// Pages and a native member behind nginx and Caddy with TLS, configured by the files in docs/.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { allConnected, chatReaches, joinRoom, missing, openPage, startServer, until, videoFlows } from './harness.mjs';

const ROOT = new URL('../../../../', import.meta.url).pathname;
const NGINX = '/usr/sbin/nginx';
const CADDY = '/usr/bin/caddy';
const GRPCURL = process.env.GRPCURL ?? '/usr/bin/grpcurl';
const NAME = 'signal.test';
/** More than 1 MB, the default body limit of nginx. */
const DATA = { count: 24, bytes: 60_000 };

/** How to run each proxy. `adapt` fits its file in docs/ to this machine. */
const PROXIES = {
  nginx: {
    binary: NGINX,
    flags: [],
    file: 'nginx.conf',
    adapt: (text, folder, at) => `
      daemon off; master_process off; pid ${folder}/pid; error_log stderr error;
      events { worker_connections 512; }
      http {
        access_log off; client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder};
        uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
        ${text
          .replaceAll('listen 443 ssl', `listen 127.0.0.1:${at.port} ssl`)
          .replaceAll('/etc/ssl/signal.example.org/fullchain.pem', at.certificate)
          .replaceAll('/etc/ssl/signal.example.org/privkey.pem', at.key)}
      }`,
    args: (path, folder) => ['-p', folder, '-c', path],
  },
  Caddy: {
    binary: CADDY,
    flags: '--max-calls-per-second 10000 --call-burst 10000 --max-resets-per-second 1000 --reset-burst 1000'.split(' '),
    file: 'Caddyfile',
    adapt: (text, _folder, at) => `
      {
        admin off
        auto_https disable_redirects
        default_bind 127.0.0.1
        log {
          level ERROR
        }
      }
      ${text.replace('signal.example.org {', `https://signal.example.org:${at.port} {\ntls ${at.certificate} ${at.key}`)}`,
    args: (path) => ['run', '--adapter', 'caddyfile', '--config', path],
  },
};

/** Finds a free port for the proxy. */
const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Starts a proxy in front of the server at `serverPort`. */
async function startBehind(t, { binary, file, adapt, args }, serverPort) {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-behind-'));
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const subject = ['-subj', `/CN=${NAME}`, '-addext', `subjectAltName=DNS:${NAME}`];
  const files = ['-keyout', key, '-out', certificate];
  execFileSync('openssl', [...request, ...subject, ...files], { stdio: 'pipe' });
  const port = await freePort();
  const text = readFileSync(join(ROOT, 'docs', file), 'utf8');
  const path = join(folder, file);
  const adapted = adapt(text, folder, { port, certificate, key });
  writeFileSync(
    path,
    adapted.replaceAll('signal.example.org', NAME).replaceAll('127.0.0.1:50051', `127.0.0.1:${serverPort}`),
  );
  const child = spawn(binary, args(path, folder), {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
  });
  const exited = new Promise((done) => child.once('exit', done));
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  });
  await until('the proxy to listen', () => {
    if (child.exitCode !== null) throw new Error(`the proxy exited with ${child.exitCode}`);
    return new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port, servername: NAME, rejectUnauthorized: false });
      socket.once('secureConnect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('secureConnect', () => socket.destroy());
    });
  });
  return { url: `https://${NAME}:${port}`, port, certificate };
}

/** Starts a native member with grpcurl. */
function startNative(t, { port, certificate }) {
  const child = spawn(
    GRPCURL,
    [
      ...['-cacert', certificate, '-authority', `${NAME}:${port}`],
      ...['-import-path', join(ROOT, 'proto'), '-proto', 'signalbox/v1/signal.proto', '-max-msg-sz', '10000000'],
      ...['-d', '@', `127.0.0.1:${port}`, 'signalbox.v1.Signal/Exchange'],
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  return { send: (message) => child.stdin.write(`${JSON.stringify(message)}\n`), output: () => output };
}

for (const [name, proxy] of Object.entries(PROXIES)) {
  const skip = missing(proxy.binary, GRPCURL);

  test(`pages and a native member signal behind ${name}, with more than 1 MB on one stream`, {
    skip,
  }, async (t) => {
    const server = await startServer(t, { args: ['--allow-anonymous', '--public-name', `${NAME}:*`, ...proxy.flags] });
    const front = await startBehind(t, proxy, server.port);
    const args = [`--host-resolver-rules=MAP ${NAME} 127.0.0.1`, '--ignore-certificate-errors'];
    const [ann, ben] = await Promise.all([openPage(t, { args }), openPage(t, { args })]);
    await joinRoom(ann, front.url, 'behind', 'Ann');
    await joinRoom(ben, front.url, 'behind', 'Ben');
    await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
    await Promise.all([videoFlows(ann), videoFlows(ben)]);
    await chatReaches(ann, [ben], `behind ${name}`);
    assert.ok(await ann.evaluate(() => isSecureContext));

    const counts = await ann.evaluateHandle(() => {
      const counts = { bytes: 0, count: 0, left: null };
      const { session } = window.signalboxDemo;
      session.on('data', ({ payload }) => {
        counts.bytes += payload.length;
        counts.count += 1;
      });
      session.on('memberLeft', ({ reason }) => {
        counts.left = reason;
      });
      return counts;
    });
    const native = startNative(t, front);
    native.send({ join: { room: 'behind', display_name: 'Native' } });
    await until('the welcome', () => native.output().includes('"welcome"'));
    const payload = Buffer.alloc(DATA.bytes, 7).toString('base64');
    for (let count = 1; count <= DATA.count; count += 1) {
      native.send({
        to: await ann.evaluate(() => window.signalboxDemo.session.me.memberId),
        data: { topic: 't', payload },
      });
      await until(`data ${count}`, () => counts.evaluate((counts, count) => counts.count === count, count));
    }
    native.send({ leave: {} });
    await until('the member to leave', () => counts.evaluate((counts) => counts.left));
    const { bytes, count, left } = await counts.jsonValue();
    assert.deepEqual([bytes, count, left], [DATA.bytes * DATA.count, DATA.count, 'LEFT']);
    assert.deepEqual([...ann.errors, ...ben.errors], []);
  });
}
