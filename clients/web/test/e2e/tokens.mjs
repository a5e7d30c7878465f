// JSON Web Tokens as issued by an application's backend, and a server that requires them.

import { createHmac, randomBytes } from 'node:crypto';
import { startServer } from './harness.mjs';

const SECRET = randomBytes(32).toString('hex');

/** A token (RFC 7519, HS256) that is valid for `seconds`. */
export function mint(room, sub, seconds = 300, claims = {}) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const all = { sub, room, aud: 'signalbox', nbf: now, exp: now + seconds, ...claims };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(all)}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

/** Starts a server that requires the tokens of `mint`. */
export function startWithTokens(t, args = []) {
  return startServer(t, { args: ['--auth', 'jwt', '--jwt-secret', SECRET, ...args] });
}
