// Takes docs/demo.png: the demo page in a call of two, 1280x800. Run with: npm run screenshot
import { mkdirSync } from 'node:fs';
import { allConnected, chatReaches, joinRoom, missing, openPage, startServer, videoFlows } from './harness.mjs';

const out = process.argv[2] ?? new URL('../../../../docs/demo.png', import.meta.url).pathname;
const viewport = { width: Number(process.env.WIDTH ?? 1280), height: Number(process.env.HEIGHT ?? 800) };

/** Replaces Chromium's green test pattern by a drawn person. */
function drawCamera([background, edge, shirt]) {
  const canvas = document.createElement('canvas');
  canvas.width = 1280;
  canvas.height = 720;
  const context = canvas.getContext('2d');
  const disc = (color, x, y, width, height) => {
    context.fillStyle = color;
    context.beginPath();
    context.ellipse(x, y, width, height, 0, 0, 7);
    context.fill();
  };
  setInterval(() => {
    const sway = 8 * Math.sin(Date.now() / 700);
    const light = context.createRadialGradient(640, 260, 80, 640, 360, 820);
    light.addColorStop(0, background);
    light.addColorStop(1, edge);
    context.fillStyle = light;
    context.fillRect(0, 0, 1280, 720);
    disc(shirt, 640 + sway / 2, 760, 330, 290);
    disc('#c98f6b', 640 + sway / 2, 480, 62, 90);
    disc('#3b2a20', 640 + sway, 318, 148, 172);
    disc('#e0a983', 640 + sway, 345, 124, 158);
    for (const side of [-46, 46]) disc('#2d211b', 640 + sway * 1.2 + side, 330, 9, 11);
    context.strokeStyle = '#9c5a43';
    context.lineWidth = 7;
    context.lineCap = 'round';
    context.beginPath();
    context.arc(640 + sway * 1.2, 390, 44, 0.25 * Math.PI, 0.75 * Math.PI);
    context.stroke();
  }, 50);
  const audio = new AudioContext().createMediaStreamDestination().stream.getAudioTracks();
  const stream = new MediaStream([...canvas.captureStream(20).getVideoTracks(), ...audio]);
  navigator.mediaDevices.getUserMedia = async () => stream;
}

const reason = missing();
if (reason) {
  console.log(`skipped: ${reason}`);
  process.exit(0);
}
const cleanups = [];
const t = { after: (cleanup) => cleanups.unshift(cleanup) };
try {
  const server = await startServer(t);
  const colorScheme = process.env.SCHEME ?? 'light';
  const [ann, ben] = [await openPage(t, { viewport, colorScheme }), await openPage(t)];
  await ann.addInitScript(drawCamera, ['#dfe9f5', '#7e9cc4', '#2f5d8c']);
  await ben.addInitScript(drawCamera, ['#f6e7d3', '#c79a6d', '#3f7a5e']);
  await joinRoom(ann, server.url, 'amber-harbor-k7q2m9xd4w', 'Ann');
  await joinRoom(ben, server.url, 'amber-harbor-k7q2m9xd4w', 'Ben Okafor');
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  await videoFlows(ann, 20);
  if (viewport.width > 860) {
    await chatReaches(ben, [ann], 'Morning! Can you see me?');
    await chatReaches(ann, [ben], 'Loud and clear. No server in between, by the way.');
    await chatReaches(ben, [ann], 'So this chat is peer to peer, too?');
    await chatReaches(ann, [ben], 'All of it. The server only introduced us.');
  }
  mkdirSync(new URL('../../../../docs', import.meta.url), { recursive: true });
  await ann.mouse.move(5, 5);
  await ann.screenshot({ path: out });
  console.log(out);
} finally {
  for (const cleanup of cleanups) await cleanup();
}
process.exit(0);
