import type { Mesh, Session } from '../src/index.js';
import { Call } from './call.js';
import { type JoinForm, Lobby } from './lobby.js';
import { LocalMedia } from './localMedia.js';
import { Publishing } from './publishing.js';
import { takeToken } from './token.js';

declare global {
  interface Window {
    /** The current call, for tests and the console. */
    signalboxDemo?: { readonly session: Session; readonly mesh: Mesh };
  }
}

const media = new LocalMedia();
const lobby = new Lobby(media, enter);
let token = takeToken();
let call: Call | undefined;

async function enter(form: JoinForm, signal: AbortSignal): Promise<void> {
  const { room, displayName, passcode } = form;
  const options = { displayName, passcode, signal, ...(token ? { token } : {}) };
  const publishing = await Publishing.join(room, options, media);
  const { mesh } = publishing;
  const url = `${location.pathname}?room=${room}`;
  if (url !== location.pathname + location.search) history.pushState(null, '', url);
  document.title = `${room} – Signalbox`;
  window.signalboxDemo = { session: mesh.session, mesh };
  call = new Call(publishing, media, { token, passcode }, ended);
}

function ended(text: string | undefined): void {
  call = undefined;
  delete window.signalboxDemo;
  media.close();
  history.replaceState(null, '', location.pathname);
  lobby.show(text);
}

// A link with a new token was opened in the same tab.
window.addEventListener('hashchange', () => {
  token = takeToken();
});
// The Back button leaves the room.
window.addEventListener('popstate', () => call?.leave());

lobby.show();
