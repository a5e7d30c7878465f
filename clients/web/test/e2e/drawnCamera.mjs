// Drawn people in place of Chromium's green test pattern, for screenshots.

/** Members with the colours of their pictures. */
export const PEOPLE = [
  { name: 'Ann', wall: '#dfe9f5', edge: '#7e9cc4', shirt: '#2f5d8c', hair: '#3b2a20', skin: '#e0a983' },
  { name: 'Ben Okafor', wall: '#f6e7d3', edge: '#c79a6d', shirt: '#3f7a5e', hair: '#1d1512', skin: '#8d5a3c' },
  { name: 'Chiara', wall: '#efe3f2', edge: '#a98bb8', shirt: '#8c3f5d', hair: '#7a4a1e', skin: '#eec1a0' },
  { name: 'Dev', wall: '#e2efe4', edge: '#86ad8f', shirt: '#4a4a7c', hair: '#2a2a2e', skin: '#b97d56' },
];

/** Replaces the camera by a drawn person. Runs in the page. */
export function drawCamera({ wall, edge, shirt, hair, skin }) {
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
  const draw = () => {
    const sway = 8 * Math.sin(Date.now() / 700);
    const light = context.createRadialGradient(640, 260, 80, 640, 360, 820);
    light.addColorStop(0, wall);
    light.addColorStop(1, edge);
    context.fillStyle = light;
    context.fillRect(0, 0, 1280, 720);
    disc(shirt, 640 + sway / 2, 760, 330, 290);
    disc(skin, 640 + sway / 2, 480, 62, 90);
    disc(hair, 640 + sway, 318, 148, 172);
    disc(skin, 640 + sway, 345, 124, 158);
    for (const side of [-46, 46]) disc('#2d211b', 640 + sway * 1.2 + side, 330, 9, 11);
    context.strokeStyle = '#7c3f30';
    context.lineWidth = 7;
    context.lineCap = 'round';
    context.beginPath();
    context.arc(640 + sway * 1.2, 390, 44, 0.25 * Math.PI, 0.75 * Math.PI);
    context.stroke();
  };
  draw();
  setInterval(draw, 50);
  const open = (kinds) => {
    const video = kinds.video ? canvas.captureStream(20).getVideoTracks() : [];
    const audio = kinds.audio ? new AudioContext().createMediaStreamDestination().stream.getAudioTracks() : [];
    return new MediaStream([...video, ...audio]);
  };
  navigator.mediaDevices.getUserMedia = async (constraints) => open(constraints);
}
