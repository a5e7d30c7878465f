// A room member with werift and grpc-js, for tests. It uses nothing of the project except signal.proto.
//
//   node werift_member.mjs HOST:PORT ROOM [--no-numbers]
//
// It connects to the only other member. README.md lists the commands on stdin and the events on stdout.

import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';
import { MediaStreamTrack, PictureLossIndication, RTCPeerConnection } from 'werift';

const PROTO = fileURLToPath(new URL('../../proto', import.meta.url));
const definition = protoLoader.loadSync('signalbox/v1/signal.proto', {
  includeDirs: [PROTO],
  longs: Number,
  oneofs: true,
});
const { Signal } = grpc.loadPackageDefinition(definition).signalbox.v1;

const PACKETS_PER_EVENT = 10;

const emit = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);

/** A session on Exchange. It does not resume: the tests keep its stream open. */
class Session {
  #client;
  #stream;
  #lastSent = 0;
  #lastSeen = 0;

  constructor(address, onMessage, onEnd) {
    this.#client = new Signal(address, grpc.credentials.createInsecure());
    this.#stream = this.#client.Exchange();
    this.#stream.on('data', (message) => {
      this.#lastSeen = Math.max(this.#lastSeen, message.seq ?? 0);
      if (message.body === 'heartbeat') this.#beat();
      else if (message.body) onMessage(message);
    });
    this.#stream.on('error', ({ message }) => emit('error', { text: message }));
    this.#stream.on('status', () => {
      this.#client.close();
      onEnd();
    });
  }

  join(room) {
    this.#stream.write({ join: { room, displayName: 'werift', attributes: { stack: 'werift' } } });
  }

  send(fields) {
    if (this.#stream.writableEnded) return;
    this.#lastSent += 1;
    this.#stream.write({ seq: this.#lastSent, ack: this.#lastSeen, ...fields });
  }

  #beat() {
    if (!this.#stream.writableEnded) this.#stream.write({ ack: this.#lastSeen, heartbeat: {} });
  }

  leave() {
    this.send({ leave: {} });
    this.#stream.end();
  }
}

/** Negotiation numbers: odd on the impolite side, even on the polite side, above all that were used. */
class Numbers {
  #polite;
  #enabled;
  #highest = 0;

  constructor(polite, enabled) {
    this.#polite = polite;
    this.#enabled = enabled;
  }

  next() {
    if (!this.#enabled) return 0;
    this.#highest += 1;
    if (this.#highest % 2 === (this.#polite ? 1 : 0)) this.#highest += 1;
    return this.#highest;
  }

  observe(number) {
    this.#highest = Math.max(this.#highest, number);
  }
}

const fingerprints = (sdp) => [...sdp.matchAll(/^a=fingerprint:(.*?)\s*$/gm)].map(([, value]) => value.toUpperCase());

const ufrag = (sdp) => /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1];

/** The session id, unless it is a timestamp that repeats as the version. */
function sessionId(sdp) {
  const [, id, version] = /^o=\S+ (\S+) (\S+)/m.exec(sdp) ?? [];
  return id === version ? undefined : id;
}

/** Whether two descriptions come from the same RTCPeerConnection: see docs/native-members.md. */
function isSameConnection(old, sdp) {
  if (ufrag(old) === ufrag(sdp)) return true;
  if (!fingerprints(old).some((value) => fingerprints(sdp).includes(value))) return false;
  const hasSameId = sessionId(sdp) !== undefined && sessionId(old) === sessionId(sdp);
  return hasSameId || !sdp.includes('a=setup:actpass');
}

/**
 * Whether a candidate belongs to the transport of the BUNDLE group, which is the one of the first m-line. Firefox
 * gathers for the other m-lines too, and closes those sockets.
 */
function isOfBundle(sdp, mid, index) {
  if (mid) return mid === /^a=mid:(\S+)/m.exec(sdp)?.[1];
  return !index;
}

/** What the tests check in a description. */
const facts = (sdp) => ({
  setup: [...sdp.matchAll(/^a=setup:(\w+)/gm)].map(([, role]) => role),
  ufrag: ufrag(sdp),
  mLines: sdp.match(/^m=/gm).length,
});

/** The connection to the other member. It sends the media that it receives back, because werift has no encoder. */
class Peer {
  #session;
  #member;
  #polite;
  #numbers;
  #current = 0;
  #offered;
  #held;
  // The last description that was received.
  #remote;
  #connection;
  #capitalizesFingerprints = false;
  #channel;

  constructor(session, member, polite, numbered) {
    this.#session = session;
    this.#member = member;
    this.#polite = polite;
    this.#numbers = new Numbers(polite, numbered);
    this.#open();
  }

  #open(certificates) {
    const connection = new RTCPeerConnection({ iceServers: [], ...(certificates ? { certificates } : {}) });
    this.#connection = connection;
    this.#offered = undefined;
    this.#remote = undefined;
    const echoes = {};
    for (const kind of ['audio', 'video']) {
      const track = new MediaStreamTrack({ kind });
      echoes[kind] = { track, sender: connection.addTransceiver(track, { direction: 'sendrecv' }).sender };
    }
    this.#channel = connection.createDataChannel('signalbox', { negotiated: true, id: 0 });
    this.#channel.onopen = () => emit('channelOpen');
    this.#channel.onMessage.subscribe((data) => emit('message', { text: data.toString() }));
    connection.onTrack.subscribe((track) => this.#echo(connection, track, echoes[track.kind]));
    connection.connectionStateChange.subscribe((state) => emit('state', { state }));
    connection.onIceCandidate.subscribe((candidate) => {
      if (connection !== this.#connection) return;
      const { candidate: text = '', sdpMid, sdpMLineIndex } = candidate?.toJSON() ?? {};
      const optional = candidate ? { sdpMid, sdpMLineIndex } : {};
      this.#send(this.#current, { candidate: { candidate: text, ...optional } });
    });
  }

  #echo(connection, track, echo) {
    // werift reports a track again after a renegotiation.
    if (echo.source) return;
    echo.source = track;
    let count = 0;
    let ssrc;
    track.onReceiveRtp.subscribe((packet) => {
      ssrc = packet.header.ssrc;
      count += 1;
      if (count % PACKETS_PER_EVENT === 0) emit('frames', { kind: track.kind, count });
      // Serialized, because the sender changes the header.
      echo.track.writeRtp(packet.serialize());
    });
    const receiver = connection.getReceivers().find((receiver) => receiver.tracks.includes(track));
    const forwardKeyFrameRequest = ({ feedback }) => {
      if (feedback instanceof PictureLossIndication && ssrc) receiver?.sendRtcpPLI(ssrc);
    };
    // Firefox names the SSRC of its own sender in requests, and werift reports such a request at the receiver.
    echo.sender.onRtcp.subscribe(forwardKeyFrameRequest);
    receiver?.onRtcp.subscribe(forwardKeyFrameRequest);
  }

  #send(number, body) {
    this.#session.send({ to: this.#member, negotiation: number, ...body });
  }

  /** A description to send. */
  #encode({ sdp }) {
    if (!this.#capitalizesFingerprints) return { sdp };
    return { sdp: sdp.replace(/^(a=fingerprint:)(.*)/gm, (_, name, value) => name + value.toUpperCase()) };
  }

  async offer() {
    const offer = await this.#connection.createOffer();
    const number = this.#numbers.next();
    this.#sendOffer({ offer, number });
    await this.#applyOffer({ offer, number });
  }

  #sendOffer({ offer, number }) {
    this.#send(number, { offer: this.#encode(offer) });
    emit('offerSent', { negotiation: number, ...facts(offer.sdp) });
  }

  async #applyOffer({ offer, number }) {
    this.#current = number;
    this.#offered = number;
    await this.#connection.setLocalDescription(offer);
  }

  async handleOffer(sdp, number) {
    if (this.#held) {
      this.#sendOffer(this.#held);
      await this.#applyOffer(this.#held);
      this.#held = undefined;
    }
    this.#numbers.observe(number);
    const collision = this.#connection.signalingState === 'have-local-offer';
    if (collision && !this.#polite) {
      emit('offerIgnored', { negotiation: number, ...facts(sdp) });
      return;
    }
    const isClosed = this.#connection.signalingState === 'closed';
    const newConnection = this.#remote !== undefined && (isClosed || !isSameConnection(this.#remote, sdp));
    if (newConnection) {
      await this.#connection.close();
      this.#open();
    } else if (collision) {
      await this.#connection.setLocalDescription({ type: 'rollback' });
    }
    emit('offer', { negotiation: number, newConnection, ...facts(sdp) });
    this.#offered = undefined;
    try {
      await this.#answer(sdp, number);
    } catch {
      // werift loses a transceiver of its own offer. An offer that cannot be used is answered from a new connection.
      await this.#connection.close();
      this.#open();
      await this.#answer(sdp, number);
    }
  }

  async #answer(sdp, number) {
    const restartsIce = this.#acceptRemote(sdp);
    await this.#connection.setRemoteDescription({ type: 'offer', sdp });
    const answer = await this.#connection.createAnswer();
    this.#current = number;
    this.#send(number, { answer: this.#encode(answer) });
    emit('answerSent', { negotiation: number, ...facts(answer.sdp) });
    await this.#connection.setLocalDescription(answer);
    if (restartsIce) this.#startChecks();
  }

  async handleAnswer(sdp, number) {
    if (this.#offered === undefined || number !== this.#offered) return;
    this.#offered = undefined;
    const newConnection = this.#remote !== undefined && !isSameConnection(this.#remote, sdp);
    emit('answer', { negotiation: number, newConnection, ...facts(sdp) });
    if (newConnection) {
      // The offer belongs to the connection that the remote peer closed.
      await this.#connection.close();
      this.#open();
      await this.offer();
      return;
    }
    const restartsIce = this.#acceptRemote(sdp);
    await this.#connection.setRemoteDescription({ type: 'answer', sdp });
    if (restartsIce) this.#startChecks();
  }

  /** Remembers a description, and returns whether it restarts ICE. */
  #acceptRemote(sdp) {
    const restartsIce = this.#remote !== undefined && ufrag(this.#remote) !== ufrag(sdp);
    this.#remote = sdp;
    return restartsIce;
  }

  /** werift does not start the connectivity checks of an ICE restart while DTLS is connected. */
  #startChecks() {
    for (const transport of this.#connection.iceTransports) {
      transport.start().catch((error) => emit('error', { text: String(error) }));
    }
  }

  async handleCandidate({ candidate = '', sdpMid, sdpMLineIndex }, number) {
    emit('candidate', { negotiation: number, end: candidate === '' });
    if (this.#connection.signalingState === 'closed' || !this.#remote) return;
    if (!isOfBundle(this.#remote, sdpMid, sdpMLineIndex)) return;
    await this.#connection.addIceCandidate(candidate === '' ? null : { candidate, sdpMid, sdpMLineIndex });
  }

  async renegotiate() {
    this.#connection.addTransceiver('audio', { direction: 'recvonly' });
    await this.offer();
  }

  async collide() {
    this.#connection.addTransceiver('audio', { direction: 'recvonly' });
    this.#held = { offer: await this.#connection.createOffer(), number: this.#numbers.next() };
    emit('offerHeld');
  }

  capitalizeFingerprints() {
    this.#capitalizesFingerprints = true;
  }

  async restartIce() {
    this.#connection.restartIce();
    await this.offer();
  }

  async recreate(keepCertificate = false) {
    const { certificates } = this.#connection.getConfiguration();
    await this.#connection.close();
    this.#open(keepCertificate ? certificates : undefined);
    await this.offer();
  }

  send(text) {
    this.#channel.send(text);
  }

  async close() {
    await this.#connection.close();
  }
}

class Member {
  #session;
  #room;
  #numbered;
  #me;
  #peer;
  // Messages and commands are handled one at a time, so that no two negotiations interleave.
  #queue = Promise.resolve();

  constructor(address, room, numbered) {
    this.#room = room;
    this.#numbered = numbered;
    const end = () => process.exit(0);
    this.#session = new Session(address, (message) => this.#enqueue(() => this.#handle(message)), end);
  }

  run() {
    this.#session.join(this.#room);
    const lines = createInterface({ input: process.stdin });
    lines.on('line', (line) => this.#enqueue(() => this.#runCommand(line)));
    lines.on('close', () => this.#enqueue(() => this.#runCommand('leave')));
  }

  #enqueue(work) {
    this.#queue = this.#queue.then(work).catch((error) => emit('error', { text: String(error) }));
  }

  async #handle({ body, from, negotiation = 0, [body]: content }) {
    if (body === 'welcome') {
      this.#me = content.you;
      const members = content.members ?? [];
      for (const member of members) this.#connect(member);
      emit('joined', { memberId: this.#me.memberId, members: members.length });
    } else if (body === 'memberJoined') {
      this.#connect(content.member);
      await this.#peer.offer();
    } else if (body === 'memberLeft') {
      await this.#peer?.close();
      this.#peer = undefined;
      emit('memberLeft');
    } else if (body === 'undelivered') {
      emit('error', { text: `undelivered: ${content.reason}` });
    } else if (from && body === 'offer') {
      await this.#peer?.handleOffer(content.sdp, negotiation);
    } else if (from && body === 'answer') {
      await this.#peer?.handleAnswer(content.sdp, negotiation);
    } else if (from && body === 'candidate') {
      await this.#peer?.handleCandidate(content, negotiation);
    }
  }

  #connect(member) {
    const polite = this.#me.joinOrder > member.joinOrder;
    this.#peer = new Peer(this.#session, member.memberId, polite, this.#numbered);
  }

  async #runCommand(line) {
    const [command] = line.split(' ', 1);
    if (command === 'leave') {
      await this.#peer?.close();
      this.#session.leave();
    } else if (command === 'send') this.#peer.send(line.slice('send '.length));
    else if (command === 'renegotiate') await this.#peer.renegotiate();
    else if (command === 'restart-ice') await this.#peer.restartIce();
    else if (command === 'capital-fingerprints') this.#peer.capitalizeFingerprints();
    else if (command === 'collide') await this.#peer.collide();
    else if (command === 'recreate') await this.#peer.recreate();
    else if (command === 'recreate-same-cert') await this.#peer.recreate(true);
    else emit('error', { text: `unknown command ${command}` });
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { 'no-numbers': { type: 'boolean', default: false } },
});
const [address, room] = positionals;
new Member(address, room, !values['no-numbers']).run();
