// A network that can be cut: a TCP proxy in front of a port of this machine.

import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Starts one. `t` is the test it belongs to, which stops it. */
export async function startProxy(t, port) {
  const pairs = new Set();
  // What becomes of new connections: 'pass', 'swallow' or 'refuse'.
  let mode = 'pass';
  let swallowed = () => {};
  const listener = net.createServer((client) => {
    if (mode === 'refuse') return client.destroy();
    const server = net.connect(port, '127.0.0.1');
    const pair = { client, server };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on('error', end).on('close', end);
    if (mode === 'swallow') return swallow(pair);
    client.pipe(server);
    server.pipe(client);
  });
  const part = ({ client, server }) => {
    client.unpipe(server);
    server.unpipe(client);
    server.pause();
  };
  const swallow = (pair) => {
    part(pair);
    pair.client.on('data', () => swallowed()).resume();
  };
  const cut = () => {
    for (const { client, server } of pairs) {
      client.destroy();
      server.destroy();
    }
  };
  await new Promise((done) => listener.listen(0, '127.0.0.1', done));
  t.after(() => {
    cut();
    listener.close();
  });
  return {
    url: `http://127.0.0.1:${listener.address().port}`,
    /** Breaks all connections, and lets no new one through until `restore`. */
    cut() {
      mode = 'refuse';
      cut();
    },
    restore() {
      mode = 'pass';
    },
    /** Breaks all connections; new ones are fine. */
    break: cut,
    /** Leaves connections open and passes nothing on any more, as a network does that just went away. */
    freeze() {
      for (const pair of pairs) {
        part(pair);
        pair.client.pause();
      }
    },
    /** Holds back what the server sends on the present connections, for this time. Nothing is lost. */
    async stall(ms) {
      const held = [...pairs];
      for (const { client, server } of held) server.unpipe(client);
      await sleep(ms);
      for (const { client, server } of held) if (!client.destroyed) server.pipe(client);
    },
    /** From now on what clients say goes nowhere, though they get rid of it. Resolves when that happened to something. */
    swallow() {
      mode = 'swallow';
      const happened = new Promise((resolve) => {
        swallowed = resolve;
      });
      for (const pair of pairs) swallow(pair);
      return happened;
    },
  };
}
