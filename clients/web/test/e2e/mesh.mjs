// Members with the built library on an empty page, driven by functions that run in the page. `window.t` holds their
// state: mesh, lib, and the events so far.

/** Opens a page of the server with the library, without joining. */
export async function load(page, url) {
  await page.goto(`${url}/`);
  await page.evaluate(async () => {
    window.t = { lib: await import('/lib/index.js'), events: [], warnings: [] };
  });
  return page;
}

/** Joins a room with camera and microphone, or the tracks named in `kinds`. */
export function joinMesh(page, room, { kinds = ['audio', 'video'], ...options } = {}) {
  return page.evaluate(
    async ({ room, kinds, options }) => {
      const { t } = window;
      const wanted = { audio: kinds.includes('audio'), video: kinds.includes('video') };
      t.stream = kinds.length > 0 ? await navigator.mediaDevices.getUserMedia(wanted) : undefined;
      t.mesh = await t.lib.Mesh.join(room, { ...options, stream: t.stream });
      t.mesh.on('warning', ({ error }) => t.warnings.push(String(error)));
      for (const name of ['trackAdded', 'trackRemoved', 'trackMuted']) {
        t.mesh.on(name, ({ kind, label, muted }) => t.events.push(`${name} ${kind} ${label}${muted ? ' muted' : ''}`));
      }
      t.mesh.on('message', ({ data }) => t.events.push(`message ${typeof data === 'string' ? data : data.byteLength}`));
      t.peer = () => [...t.mesh.peers.values()][0];
      t.frames = async (peer = t.peer()) => {
        const stats = [...(await peer.connection.getStats()).values()];
        return stats
          .filter(({ type, kind }) => type === 'inbound-rtp' && kind === 'video')
          .map(({ framesDecoded = 0 }) => framesDecoded);
      };
    },
    { room, kinds, options },
  );
}

/** States of the peers in join order. */
export function peerStates(page) {
  return page.evaluate(() => [...window.t.mesh.peers.values()].map(({ state }) => state));
}
