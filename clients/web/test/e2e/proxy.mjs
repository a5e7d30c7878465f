// A TCP proxy in front of a local port that can interrupt connections.

import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Starts a proxy that stops at the end of the test `t`. */
export async function startProxy(t, port) {
  const pairs = new Set();
  // Handling of new connections: 'pass', 'swallow' or 'refuse'.
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
  const disconnect = ({ client, server }) => {
    client.unpipe(server);
    server.unpipe(client);
    server.pause();
  };
  const swallow = (pair) => {
    disconnect(pair);
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
    /** Closes all connections and refuses new ones until `restore`. */
    cut() {
      mode = 'refuse';
      cut();
    },
    restore() {
      mode = 'pass';
    },
    /** Closes all connections and accepts new ones. */
    break: cut,
    /** Keeps connections open but forwards nothing, like a lost network. */
    freeze() {
      for (const pair of pairs) {
        disconnect(pair);
        pair.client.pause();
      }
    },
    /** Delays data from the server on current connections by `ms`, without loss. */
    async stall(ms) {
      const stalled = [...pairs];
      for (const { client, server } of stalled) server.unpipe(client);
      await sleep(ms);
      for (const { client, server } of stalled) if (!client.destroyed) server.pipe(client);
    },
    /** Reads and drops all further data from clients. Resolves when some was dropped. */
    swallow() {
      mode = 'swallow';
      const dropped = new Promise((resolve) => {
        swallowed = resolve;
      });
      for (const pair of pairs) swallow(pair);
      return dropped;
    },
  };
}
